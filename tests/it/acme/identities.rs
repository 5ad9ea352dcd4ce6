//! Certificates for origins that an issuer keeps.

use std::sync::Arc;

use super::authority::{Ca, Wishes};
use crate::harness::{Origin, ProxyBuilder, eventually};

/// A route to an origin that is shown a certificate of this CA.
fn proxy(ca: &Ca, origin: &Origin) -> ProxyBuilder {
    ca.proxy("").reencrypt("a.test", origin).origin_tls(
        "{ ca: origin-ca.pem, server_name: origin.test, \
         client_certificate: { acme: pebble, names: [proxy.test] } }",
    )
}

#[test]
fn an_origin_is_shown_a_certificate_that_the_ca_has_issued() {
    let ca = Ca::start(&["proxy.test"]);
    let origin = Origin::with_tls()
        .requiring_certificate_of(Arc::new(ca.roots()))
        .echo();
    let proxy = proxy(&ca, &origin).argument("--wait-certificates").start();
    eventually("it is ready", || proxy.probe("/readyz").status == 200);
    proxy.client("a.test").connect().must_echo(b"shown");
    assert_eq!(origin.failed_handshakes(), 0);
    let listed = proxy.ctl_json(&["certificates"]);
    assert_eq!(listed["managed"][0]["state"], "served", "{listed}");
    assert_eq!(listed["client_certificates"][0]["upstream"], "upstream-0");
}

#[test]
fn no_handshake_with_an_origin_begins_before_its_certificate_is_there() {
    // The CA does not run.
    let ca = Ca::prepare(Wishes::default());
    let origin = Origin::with_tls().echo();
    let proxy = proxy(&ca, &origin).start();
    let client = proxy.client("a.test").connect();
    let _ = client.try_send(b"x");
    client.receive_to_end();
    proxy
        .outcome()
        .must_be("certificate_pending")
        .must_have("fault", "proxy")
        .must_have("upstream", "upstream-0");
    assert_eq!(origin.bytes(), 0);
    eventually("/readyz says why", || {
        let ready = proxy.probe("/readyz").body;
        ready.contains("certificate_pending: upstream-0: 127.0.0.1:")
    });
}
