//! Lists before their start, after their end, and while the process runs.

use super::{
    CERTIFICATE_REVOKED, REVOKED, UNKNOWN_CA, alice, checked, must_admit, must_reject, requiring,
    revoked,
};
use crate::harness::{End, List, Origin, pki};

#[test]
fn an_expired_crl_denies_all_clients_unless_configured_otherwise() {
    let origin = Origin::echo();
    let list = List::of(&[REVOKED]).expired().pem(&pki().clients);
    let proxy = requiring(&origin, "ca: client-ca.pem, crl: old.crl")
        .file("old.crl", &list)
        .start();
    let record = must_reject(&proxy, &alice(), "client_cert_crl_expired", UNKNOWN_CA);
    record.must_have("fault", "proxy");
    let proxy = requiring(
        &origin,
        "ca: client-ca.pem, crl: old.crl, crl_expired: allow",
    )
    .file("old.crl", &list)
    .start();
    must_admit(&proxy, &alice());
    must_reject(
        &proxy,
        &revoked(),
        "client_cert_revoked",
        CERTIFICATE_REVOKED,
    );
}

#[test]
fn a_crl_that_expires_while_the_process_runs_denies_clients_it_admitted() {
    let origin = Origin::echo();
    let list = List::of(&[]).next_in_seconds(2).pem(&pki().clients);
    let proxy = requiring(&origin, "ca: client-ca.pem, crl: a.crl")
        .file("a.crl", list)
        .start();
    must_admit(&proxy, &alice());
    crate::harness::eventually("the list ends", || {
        let end = proxy
            .client("a.test")
            .tls12()
            .certificate(&alice())
            .try_connect();
        let reason = match end {
            Ok(stream) => {
                stream.end();
                "ok"
            }
            Err(end) => {
                assert_eq!(end, End::Alert(UNKNOWN_CA));
                "client_cert_crl_expired"
            }
        };
        proxy.outcome().must_be(reason);
        reason != "ok"
    });
}

/// A day in seconds.
const DAY: i64 = 24 * 3600;

#[test]
fn a_future_crl_counts_from_its_start_and_hides_no_current_one() {
    let origin = Origin::echo();
    let today = List::of(&[REVOKED]).pem(&pki().clients);
    let future = List::of(&[]).made_in_seconds(400 * DAY).number(99);
    let future = future.pem(&pki().clients);
    let proxy = requiring(&origin, "ca: client-ca.pem, crl: [today.crl, future.crl]")
        .file("today.crl", &today)
        .file("future.crl", &future)
        .start();
    must_reject(
        &proxy,
        &revoked(),
        "client_cert_revoked",
        CERTIFICATE_REVOKED,
    );
    must_admit(&proxy, &alice());
    // Alone it denies, even with `crl_unknown: allow`, because a CRL of the issuer is known.
    for unknown in ["deny", "allow"] {
        let policy = format!("ca: client-ca.pem, crl: future.crl, crl_unknown: {unknown}");
        let proxy = requiring(&origin, &policy)
            .file("future.crl", &future)
            .start();
        must_reject(&proxy, &alice(), "client_cert_crl_unknown", UNKNOWN_CA);
        checked(&policy)
            .with_file("future.crl", &future, 0o644)
            .must_warn("future.crl", &["not valid yet", "it is used from"]);
    }
}

#[test]
fn a_crl_that_becomes_valid_while_the_process_runs_is_used_from_then_on() {
    let origin = Origin::echo();
    let proxy = requiring(&origin, "ca: client-ca.pem, crl: [today.crl, soon.crl]")
        .file("today.crl", List::of(&[]).pem(&pki().clients))
        .file(
            "soon.crl",
            List::of(&[REVOKED]).made_in_seconds(2).pem(&pki().clients),
        )
        .start();
    crate::harness::eventually("the list begins", || {
        let client = proxy.client("a.test").tls12().certificate(&revoked());
        match client.try_connect() {
            Ok(stream) => {
                stream.end();
                proxy.outcome().must_be("ok");
                false
            }
            Err(end) => {
                assert_eq!(end, End::Alert(CERTIFICATE_REVOKED));
                true
            }
        }
    });
}
