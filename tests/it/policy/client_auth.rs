//! Client certificates: which clients are admitted, and the alert and reason for the others.

use crate::harness::{Client, End, Identity, Leaf, Origin, Proxy, Record, pki};

const CERTIFICATE_EXPIRED: u8 = 45;
const UNSUPPORTED_CERTIFICATE: u8 = 43;
const UNKNOWN_CA: u8 = 48;
const CERTIFICATE_REQUIRED: u8 = 116;

const REQUIRED: &str = "client_auth: { mode: required, ca: client-ca.pem }";
const OPTIONAL: &str = "client_auth: { mode: optional, ca: client-ca.pem }";

/// Each kind of bad certificate, its reason and its alert.
fn bad_certificates() -> Vec<(Identity, &'static str, u8)> {
    let clients = &pki().clients;
    let alice = || Leaf::client("alice");
    vec![
        (
            clients.issue(&alice().expired()),
            "client_cert_expired",
            CERTIFICATE_EXPIRED,
        ),
        (
            clients.issue(&alice().early()),
            "client_cert_not_yet_valid",
            CERTIFICATE_EXPIRED,
        ),
        (
            clients.issue(&alice().for_servers()),
            "client_cert_wrong_usage",
            UNSUPPORTED_CERTIFICATE,
        ),
        (
            pki().stranger.issue(&alice()),
            "client_cert_unknown_ca",
            UNKNOWN_CA,
        ),
    ]
}

fn both_versions(proxy: &Proxy, sni: &str) -> [Client; 2] {
    [proxy.client(sni).tls12(), proxy.client(sni).tls13()]
}

#[track_caller]
fn must_admit(proxy: &Proxy, client: &Client) -> Record {
    let stream = client.connect();
    stream.must_echo(b"let in");
    stream.end();
    assert_eq!(stream.receive_to_end(), (vec![], End::Clean));
    let record = proxy.outcome_of(&stream);
    record.must_be("ok");
    record
}

#[test]
fn required_admits_a_certificate_of_the_ca_and_records_its_subject() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls(REQUIRED)
        .start();
    let alice = pki().client("alice");
    for client in both_versions(&proxy, "a.test") {
        let record = must_admit(&proxy, &client.certificate(&alice));
        let cert = &record["client_cert"];
        assert_eq!(cert["subject"], "CN=alice");
        assert_eq!(cert["issuer"], "CN=Client CA");
        assert!(
            cert["sans"].to_string().contains("alice.clients.test"),
            "{cert}"
        );
        assert_eq!(cert["sha256"].as_str().map(str::len), Some(64), "{cert}");
        assert!(
            cert["serial"]
                .as_str()
                .is_some_and(|serial| !serial.is_empty()),
            "{cert}"
        );
        assert!(
            cert["not_after"]
                .as_str()
                .is_some_and(|date| date.ends_with('Z')),
            "{cert}"
        );
    }
}

#[test]
fn required_rejects_a_client_without_a_certificate_before_the_origin_is_dialled() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls(REQUIRED)
        .start();
    for client in both_versions(&proxy, "a.test") {
        assert_eq!(client.refusal(), End::Alert(CERTIFICATE_REQUIRED));
        let record = proxy.outcome();
        record
            .must_be("client_cert_missing")
            .must_have("stage", "client_tls")
            .must_have("fault", "client");
        assert!(
            !record.has("client_cert") && !record.has("origin"),
            "{record:?}"
        );
    }
    assert_eq!(origin.accepts(), 0);
}

#[track_caller]
fn must_reject_every_bad_certificate(policy: &str) {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls(policy)
        .start();
    for (identity, reason, alert) in bad_certificates() {
        for client in both_versions(&proxy, "a.test") {
            assert_eq!(
                client.certificate(&identity).refusal(),
                End::Alert(alert),
                "{reason}"
            );
            let record = proxy.outcome();
            record
                .must_be(reason)
                .must_have("stage", "client_tls")
                .must_have("fault", "client");
            assert_eq!(
                record["client_cert"]["subject"], "CN=alice",
                "the log names the subject"
            );
            assert!(!record.has("origin"), "{record:?}");
        }
    }
    assert_eq!((origin.accepts(), origin.bytes()), (0, 0));
}

#[test]
fn promise_1_required_rejects_every_bad_certificate_before_the_origin_is_dialled() {
    must_reject_every_bad_certificate(REQUIRED);
}

#[test]
fn promise_1_optional_rejects_a_bad_certificate() {
    must_reject_every_bad_certificate(OPTIONAL);
}

#[test]
fn promise_1_data_sent_before_verification_never_reaches_the_origin() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls(REQUIRED)
        .start();
    let expired = pki().clients.issue(&Leaf::client("alice").expired());
    for client in [
        proxy.client("a.test"),
        proxy.client("a.test").certificate(&expired),
    ] {
        // In TLS 1.3 the client may send before the server has verified it.
        let stream = client.tls13().connect();
        let _ = stream.try_send(b"GET /secret HTTP/1.1\r\n\r\n");
        assert!(matches!(stream.receive_to_end().1, End::Alert(_)));
        assert_eq!(proxy.outcome().number("bytes_up"), 0);
    }
    assert_eq!((origin.accepts(), origin.bytes()), (0, 0));
}

#[test]
fn optional_admits_clients_without_and_with_a_good_certificate() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls(OPTIONAL)
        .start();
    for client in both_versions(&proxy, "a.test") {
        let record = must_admit(&proxy, &client);
        assert!(!record.has("client_cert"), "{record:?}");
        let record = must_admit(&proxy, &client.certificate(&pki().client("bob")));
        assert_eq!(record["client_cert"]["subject"], "CN=bob");
    }
}

#[test]
fn off_requests_no_certificate() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let stranger = pki().stranger.issue(&Leaf::client("mallory"));
    for client in both_versions(&proxy, "a.test") {
        let record = must_admit(&proxy, &client.certificate(&stranger));
        assert!(!record.has("client_cert"), "{record:?}");
    }
}

#[test]
fn the_client_auth_of_a_route_replaces_that_of_the_endpoint() {
    let origin = Origin::echo();
    let stranger_ca = "client_auth: { mode: required, ca: stranger-ca.pem }";
    let proxy = Proxy::builder()
        .terminate("strict.test", &origin)
        .terminate("open.test", &origin)
        .on_route("client_auth: { mode: off }")
        .terminate("other.test", &origin)
        .on_route(stranger_ca)
        .on_tls(REQUIRED)
        .start();
    let alice = pki().client("alice");
    let mallory = pki().stranger.issue(&Leaf::client("mallory"));
    assert_eq!(
        proxy.client("strict.test").refusal(),
        End::Alert(CERTIFICATE_REQUIRED)
    );
    proxy
        .outcome()
        .must_be("client_cert_missing")
        .must_have("route", "strict.test");
    must_admit(&proxy, &proxy.client("strict.test").certificate(&alice));
    must_admit(&proxy, &proxy.client("open.test"));
    must_admit(&proxy, &proxy.client("other.test").certificate(&mallory));
    let refusal = proxy.client("other.test").certificate(&alice).refusal();
    assert_eq!(refusal, End::Alert(UNKNOWN_CA));
    proxy
        .outcome()
        .must_be("client_cert_unknown_ca")
        .must_have("route", "other.test");
}

#[test]
fn the_client_auth_of_the_route_chosen_by_name_applies() {
    // The same certificate may be good for one name and bad for another on one port.
    let (inner, outer) = (Origin::echo(), Origin::echo());
    let proxy = Proxy::builder()
        .terminate("inner.test", &inner)
        .on_route(REQUIRED)
        .terminate("outer.test", &outer)
        .start();
    must_admit(&proxy, &proxy.client("outer.test"));
    assert_eq!(
        proxy.client("inner.test").refusal(),
        End::Alert(CERTIFICATE_REQUIRED)
    );
    assert_eq!((inner.accepts(), outer.accepts()), (0, 1));
}

#[test]
fn reencrypt_verifies_clients_like_terminate() {
    let origin = Origin::with_tls().echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_tls(REQUIRED)
        .start();
    for client in both_versions(&proxy, "a.test") {
        assert_eq!(client.refusal(), End::Alert(CERTIFICATE_REQUIRED));
        proxy.outcome().must_be("client_cert_missing");
        must_admit(&proxy, &client.certificate(&pki().client("alice")));
    }
    assert_eq!(origin.accepts(), 2);
}

#[test]
fn several_cas_may_sign_client_certificates() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: [client-ca.pem, stranger-ca.pem] }")
        .start();
    must_admit(
        &proxy,
        &proxy.client("a.test").certificate(&pki().client("alice")),
    );
    let mallory = pki().stranger.issue(&Leaf::client("mallory"));
    must_admit(&proxy, &proxy.client("a.test").certificate(&mallory));
}

#[test]
fn a_certificate_without_proof_of_its_key_is_rejected() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls(REQUIRED)
        .start();
    let alice = pki().client("alice");
    // A client must prove possession of the key. rustls checks that certificate and key match only for some
    // kinds of keys, so the proof is made with another key of the same kind.
    let config = client_with_wrong_key(&alice, &pki().client("eve"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = proxy.client("a.test").version(version);
        let mut own = (*client.config()).clone();
        own.client_auth_cert_resolver = std::sync::Arc::clone(&config);
        let end = match client.connect_with(&std::sync::Arc::new(own), "a.test") {
            Ok(stream) => stream.receive_to_end().1,
            Err(end) => end,
        };
        assert!(matches!(end, End::Alert(_)), "{end:?}");
        proxy.outcome().must_be("client_cert_invalid");
    }
    assert_eq!(origin.accepts(), 0);
}

fn client_with_wrong_key(
    sent: &Identity,
    signing: &Identity,
) -> std::sync::Arc<dyn rustls::client::ResolvesClientCert> {
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider
        .key_provider
        .load_private_key(signing.private_key())
        .unwrap();
    std::sync::Arc::new(SingleCertAndKey::from(CertifiedKey::new(sent.chain(), key)))
}
