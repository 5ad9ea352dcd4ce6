//! Live connections, tickets and new handshakes follow the current policy.

use std::sync::Arc;

use rcgen::{CertificateRevocationListParams, RevokedCertParams, SerialNumber};
use rustls::ClientConfig;
use rustls::client::ClientSessionMemoryCache;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::harness::{Client, End, Identity, Origin, Proxy, Stream, pki};

const CERTIFICATE_REVOKED: u8 = 44;
const UNKNOWN_CA: u8 = 48;
const ACCESS_DENIED: u8 = 49;

/// A revocation list of the client CA with these certificates.
fn revoking(number: u64, revoked: &[&Identity]) -> String {
    let now = time::OffsetDateTime::now_utc();
    let serial = |identity: &&Identity| {
        let chain: Vec<CertificateDer<'_>> = identity.chain();
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        SerialNumber::from_slice(leaf.raw_serial())
    };
    let params = CertificateRevocationListParams {
        this_update: now - time::Duration::hours(1),
        next_update: now + time::Duration::days(7),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: revoked
            .iter()
            .map(|identity| RevokedCertParams {
                serial_number: serial(identity),
                revocation_time: now,
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    pki().clients.revocation_list(params)
}

/// A client with its certificate and its sessions.
struct Caller {
    client: Client,
    config: Arc<ClientConfig>,
}

impl Caller {
    fn of(proxy: &Proxy, identity: &Identity) -> Self {
        let client = proxy
            .client("a.test")
            .certificate(identity)
            .sessions(Arc::new(ClientSessionMemoryCache::new(8)));
        let config = client.config();
        Self { client, config }
    }

    fn connect(&self) -> Stream {
        let stream = self.client.connect_with(&self.config, "a.test").unwrap();
        stream.must_echo(b"x");
        stream
    }

    fn refusal(&self) -> End {
        match self.client.connect_with(&self.config, "a.test") {
            Ok(stream) => stream.receive_to_end().1,
            Err(end) => end,
        }
    }

    #[track_caller]
    fn must_resume(&self) {
        let first = self.connect();
        first.end();
        first.receive_to_end();
        assert!(self.connect().is_resumed());
    }
}

struct Scene {
    proxy: Proxy,
    _origin: Origin,
    alice: Identity,
    bob: Identity,
}

fn scene(policy: &str) -> Scene {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_route(&format!(
            "client_auth: {{ mode: required, ca: client-ca.pem{policy} }}"
        ))
        .file("clients.crl", revoking(1, &[]))
        .start();
    Scene {
        proxy,
        _origin: origin,
        alice: pki().client("alice"),
        bob: pki().client("bob"),
    }
}

/// A connection from before a reload, with its client.
fn live(scene: &Scene, identity: &Identity) -> (Caller, Stream) {
    let caller = Caller::of(&scene.proxy, identity);
    caller.must_resume();
    let stream = caller.connect();
    (caller, stream)
}

#[test]
fn a_revoked_certificate_is_refused_on_every_path_and_others_are_untouched() {
    let scene = scene(", crl: clients.crl");
    let proxy = &scene.proxy;
    let (alice, revoked) = live(&scene, &scene.alice);
    let (bob, untouched) = live(&scene, &scene.bob);
    proxy
        .directory()
        .write("clients.crl", revoking(2, &[&scene.alice]));
    let text = proxy.text().to_owned();
    proxy.reload(&text);
    assert!(matches!(revoked.receive_to_end().1, End::Reset));
    proxy.outcome_of(&revoked).must_be("client_cert_revoked");
    // With its old ticket: a full handshake, whose alert gives the reason.
    assert_eq!(alice.refusal(), End::Alert(CERTIFICATE_REVOKED));
    let anew = Caller::of(proxy, &scene.alice);
    assert_eq!(anew.refusal(), End::Alert(CERTIFICATE_REVOKED));
    untouched.must_echo(b"x");
    assert!(bob.connect().is_resumed(), "a new list ends no sessions");
}

#[test]
fn a_changed_list_is_reloaded_automatically() {
    let scene = scene(", crl: clients.crl");
    let (alice, revoked) = live(&scene, &scene.alice);
    scene.proxy.reloads(|| {
        let list = revoking(2, &[&scene.alice]);
        scene.proxy.directory().write("clients.crl", list);
    });
    assert!(matches!(revoked.receive_to_end().1, End::Reset));
    assert_eq!(alice.refusal(), End::Alert(CERTIFICATE_REVOKED));
}

#[test]
fn changed_rules_apply_to_live_connections_and_tickets() {
    let scene = scene(", allow: { common_name: [alice, bob] }");
    let (alice, refused) = live(&scene, &scene.alice);
    let (_, untouched) = live(&scene, &scene.bob);
    let text = scene.proxy.text().replace("[alice, bob]", "[bob]");
    scene.proxy.reload(&text);
    assert!(matches!(refused.receive_to_end().1, End::Reset));
    scene
        .proxy
        .outcome_of(&refused)
        .must_be("client_cert_not_allowed");
    assert_eq!(alice.refusal(), End::Alert(ACCESS_DENIED));
    untouched.must_echo(b"x");
}

#[test]
fn a_removed_ca_admits_no_client() {
    let scene = scene("");
    let (alice, refused) = live(&scene, &scene.alice);
    let text = scene
        .proxy
        .text()
        .replace("client-ca.pem", "stranger-ca.pem");
    scene.proxy.reload(&text);
    assert!(matches!(refused.receive_to_end().1, End::Reset));
    scene
        .proxy
        .outcome_of(&refused)
        .must_be("client_cert_unknown_ca");
    assert_eq!(alice.refusal(), End::Alert(UNKNOWN_CA));
}

#[test]
fn recheck_log_keeps_the_connection() {
    let scene = scene(", crl: clients.crl, recheck: log");
    let (alice, stays) = live(&scene, &scene.alice);
    let list = revoking(2, &[&scene.alice]);
    scene.proxy.directory().write("clients.crl", list);
    let text = scene.proxy.text().to_owned();
    scene.proxy.reload(&text);
    scene.proxy.log_line(|line| {
        line.contains("no longer admitted") && line.contains("client_cert_revoked")
    });
    stays.must_echo(b"x");
    assert_eq!(alice.refusal(), End::Alert(CERTIFICATE_REVOKED));
}

#[test]
fn an_expired_certificate_hides_neither_a_revocation_nor_a_rule() {
    let scene = scene(", crl: clients.crl");
    let expires = |name: &str| {
        let leaf = crate::harness::Leaf::client(name).for_seconds(2);
        let identity = pki().clients.issue(&leaf);
        let connection = Caller::of(&scene.proxy, &identity).connect();
        (identity, connection)
    };
    let (bad, refused) = expires("soon");
    let (_, stays) = expires("soon");
    for client in [&refused, &stays] {
        let id = client.local().to_string();
        scene.proxy.log_line(|line| {
            line.contains("no longer admitted")
                && line.contains("client_cert_expired")
                && line.contains(&id)
        });
    }
    let list = revoking(2, &[&bad]);
    scene.proxy.directory().write("clients.crl", list);
    scene.proxy.reload(scene.proxy.text());
    assert!(matches!(refused.receive_to_end().1, End::Reset));
    scene
        .proxy
        .outcome_of(&refused)
        .must_be("client_cert_revoked");
    stays.must_echo(b"merely expired");
}

#[test]
fn at_expiry_close_ends_the_connection() {
    let scene = scene(", at_expiry: close");
    let soon = crate::harness::Leaf::client("soon").for_seconds(2);
    let soon = pki().clients.issue(&soon);
    let short = Caller::of(&scene.proxy, &soon).connect();
    let (_, untouched) = live(&scene, &scene.alice);
    assert!(matches!(short.receive_to_end().1, End::Reset));
    scene
        .proxy
        .outcome_of(&short)
        .must_be("client_cert_expired");
    untouched.must_echo(b"x");
}

#[test]
fn a_list_that_several_routes_use_is_one_series() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_route("client_auth: { mode: required, ca: client-ca.pem, crl: clients.crl }")
        .terminate("b.test", &origin)
        .on_route(
            "client_auth: { mode: required, ca: client-ca.pem, crl: [clients.crl, other.crl] }",
        )
        .file("clients.crl", revoking(1, &[]))
        .file("other.crl", revoking(1, &[]))
        .admin()
        .start();
    let metrics = proxy.metrics();
    let file = proxy.directory().join("clients.crl").display().to_string();
    assert!(
        metrics.count(
            "reseal_crl_next_update_timestamp_seconds",
            &[("file", &file)]
        ) > 0.0
    );
}
