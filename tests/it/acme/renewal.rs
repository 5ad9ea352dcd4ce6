//! Renewals, restarts, and certificates that come and go with the configuration.

use super::authority::{Ca, Wishes, records, state_files};
use crate::harness::{Origin, Proxy};

/// Seconds of an hour.
const HOUR: u64 = 3600;

fn app(ca: &Ca, origin: &Origin, more: &str) -> Proxy {
    ca.proxy(more)
        .route("terminate", "app.test", origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .start()
}

#[test]
fn a_renewal_replaces_the_certificate_and_no_connection_notices() {
    let mut ca = Ca::prepare(Wishes {
        life: HOUR,
        ..Wishes::default()
    });
    ca.names_lead_here(&["app.test"]);
    ca.run();
    let origin = Origin::echo();
    // Due some seconds after it was issued.
    let proxy = app(&ca, &origin, ", renew: 3597s");
    let first = ca.wait_for_certificate(&proxy, "app.test");
    let before = ca.connect(proxy.listen_addr("edge"), "app.test").unwrap();
    before.must_echo(b"before");
    let second = ca.wait_for_another(&proxy, "app.test", &first);
    before.must_echo(b"between");
    ca.wait_for_another(&proxy, "app.test", &second);
    before.must_echo(b"after");
    // Every handshake after the first certificate found one.
    let mut records = records(&proxy).into_iter();
    records.find(|record| record.reason() == "ok");
    let late: Vec<_> = records
        .filter(|record| record.reason() == "certificate_pending")
        .collect();
    assert!(late.is_empty(), "{late:?}");
}

#[test]
fn account_and_certificate_are_used_again_by_a_later_process_without_the_ca() {
    let mut ca = Ca::start(&["app.test"]);
    let origin = Origin::echo();
    let proxy = app(&ca, &origin, "");
    let first = ca.wait_for_certificate(&proxy, "app.test");
    let config = ca.client_config();
    ca.stop();
    let proxy = proxy.restarted();
    let client = crate::harness::Client::new(proxy.listen_addr("edge"), "app.test");
    let stream = client.connect_with(&config, "app.test").unwrap();
    assert_eq!(stream.peer_certificate().unwrap(), first);
    let accounts = state_files(&proxy)
        .iter()
        .filter(|name| name.contains("account"))
        .count();
    assert_eq!(accounts, 1);
    assert!(
        !proxy
            .log()
            .iter()
            .any(|line| line.contains("could not be had"))
    );
}

#[test]
fn a_reload_adds_a_certificate_and_forgets_one_after_it_was_told() {
    let ca = Ca::start(&["app.test", "new.test"]);
    let origin = Origin::echo();
    let proxy = app(&ca, &origin, "");
    ca.wait_for_certificate(&proxy, "app.test");
    let text = proxy.text().replace("app.test", "new.test");
    proxy.reload(&text);
    ca.wait_for_certificate(&proxy, "new.test");
    proxy.log_line(|line| {
        line.contains("a certificate is not kept any more") && line.contains("app.test")
    });
    let kept = state_files(&proxy)
        .iter()
        .filter(|name| name.ends_with(".pem"))
        .count();
    assert_eq!(kept, 2, "its file stays, in case that it comes back");
}

#[test]
fn a_certificate_that_vanishes_from_the_state_is_served_until_there_is_another_one() {
    let ca = Ca::start(&["app.test"]);
    let origin = Origin::echo();
    let proxy = app(&ca, &origin, "");
    let first = ca.wait_for_certificate(&proxy, "app.test");
    let state = proxy.directory().join("state");
    let pem = state_files(&proxy)
        .into_iter()
        .find(|name| name.ends_with(".pem"))
        .unwrap();
    let account = state_files(&proxy)
        .into_iter()
        .find(|name| name.contains("account"))
        .unwrap();
    let account = state.join(account);
    let key = std::fs::read(&account).unwrap();
    std::fs::remove_file(state.join(&pem)).unwrap();
    proxy.reloads(|| proxy.signal(rustix::process::Signal::HUP));
    let served = ca.connect(proxy.listen_addr("edge"), "app.test").unwrap();
    assert_eq!(served.peer_certificate().unwrap(), first);
    drop(served);
    // A later process orders again.
    let proxy = proxy.restarted();
    ca.wait_for_another(&proxy, "app.test", &first);
    assert!(state_files(&proxy).contains(&pem));
    let account = proxy
        .directory()
        .join("state")
        .join(account.file_name().unwrap());
    assert_eq!(std::fs::read(account).unwrap(), key, "by the same account");
}
