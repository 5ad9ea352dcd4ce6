//! Who answers a validation: this process, its successor, or the owner of a name that is passed through.

use super::authority::{Ca, Wishes, records, state_files};
use crate::harness::{Client, Origin, Port, Proxy, eventually, pki};

const PROTOCOL: &str = "acme-tls/1";

#[test]
fn the_owner_of_a_name_that_is_passed_through_gets_its_certificate_through_us() {
    let ca = Ca::start(&["app.test", "inner.test"]);
    let origin = Origin::echo();
    let port = Port::reserve();
    let outer = ca
        .proxy("")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .passthrough("inner.test", &port.address())
        .start();
    // It has an account and a state of its own, and the CA reaches it through the first one alone.
    let inner = Proxy::builder()
        .top(&ca.issuer(""))
        .admin()
        .endpoint("edge", "tls")
        .listen(&port.address().to_string())
        .route("terminate", "inner.test", &origin)
        .with_certificate("{ acme: pebble, names: [inner.test] }")
        .start();
    for name in ["inner.test", "app.test"] {
        ca.wait_for_certificate(&outer, name);
        let stream = ca.connect(outer.listen_addr("edge"), name).unwrap();
        stream.must_echo(b"through");
    }
    let validated = |proxy: &Proxy, name: &str| {
        let records = records(proxy).into_iter();
        let of = records.filter(|record| record.reason() == "acme_validated");
        of.filter(|record| record.text("sni") == name).count()
    };
    eventually("each has answered for its own name", || {
        validated(&outer, "app.test") > 0 && validated(&inner, "inner.test") > 0
    });
    assert_eq!(validated(&outer, "inner.test"), 0);
    assert_eq!(validated(&inner, "app.test"), 0);
}

#[test]
fn a_pending_validation_of_ours_comes_before_the_owner_of_the_name_who_has_all_the_others() {
    let ca = Ca::start(&["shared.test"]);
    let owner = Origin::tls(&pki().origin(&["shared.test"]))
        .alpn(&[PROTOCOL])
        .echo();
    let origin = Origin::echo();
    // The CA connects to an endpoint where the name is passed through to somebody else.
    let proxy = Proxy::builder()
        .top(&ca.issuer(""))
        .admin()
        .endpoint("front", "tls")
        .listen(&format!("127.0.0.1:{}", ca.answers()))
        .passthrough("shared.test", &owner)
        .endpoint("edge", "tls")
        .route("terminate", "shared.test", &origin)
        .with_certificate("{ acme: pebble, names: [shared.test] }")
        .start();
    ca.wait_for_certificate(&proxy, "shared.test");
    assert_eq!(owner.accepts(), 0);
    let stream = Client::new(proxy.listen_addr("front"), "shared.test")
        .alpn(&[PROTOCOL])
        .connect();
    assert_eq!(stream.alpn().as_deref(), Some(PROTOCOL));
    stream.must_echo(b"to the owner");
}

#[test]
fn a_process_that_takes_over_serves_the_certificate_and_renews_it() {
    let mut ca = Ca::prepare(Wishes {
        life: 3600,
        ..Wishes::default()
    });
    ca.names_lead_here(&["app.test"]);
    ca.run();
    let origin = Origin::echo();
    // Due some seconds after it was issued.
    let old = ca
        .proxy(", renew: 1h")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .start();
    ca.wait_for_certificate(&old, "app.test");
    let mut new = old.successor(old.text());
    old.log_line(|line| line.contains("a new process has taken over"));
    let served = ca.connect(new.listen_addr("edge"), "app.test").unwrap();
    let before = served.peer_certificate().unwrap();
    new.log_line(|line| line.contains("a certificate was issued"));
    ca.wait_for_another(&new, "app.test", &before);
    let accounts = state_files(&old);
    let is_account = |name: &&String| name.contains("account");
    assert_eq!(accounts.iter().filter(is_account).count(), 1);
    assert!(new.is_running());
}
