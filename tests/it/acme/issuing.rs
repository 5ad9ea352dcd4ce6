//! The first certificate, and what is there before it.

use std::os::unix::fs::PermissionsExt;

use super::authority::{Ca, Wishes, records, state_files};
use crate::harness::{Client, End, Origin, Proxy, curl, eventually};

/// The alert `internal_error`.
const INTERNAL_ERROR: u8 = 80;

#[test]
fn a_certificate_is_issued_on_the_endpoint_itself_and_served() {
    let ca = Ca::start(&["app.test"]);
    let origin = Origin::echo();
    let proxy = ca
        .proxy("")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .start();
    ca.wait_for_certificate(&proxy, "app.test");
    let stream = ca.connect(proxy.listen_addr("edge"), "app.test").unwrap();
    stream.must_echo(b"through");
    drop(stream);
    // The CA was answered, and reached no route and no origin.
    let mut validations = Vec::new();
    eventually("the validation has its record", || {
        validations = records(&proxy);
        validations.retain(|record| record.reason() == "acme_validated");
        !validations.is_empty()
    });
    for record in &validations {
        record
            .must_have("sni", "app.test")
            .must_have("stage", "client_tls");
        for key in ["route", "upstream", "origin", "fault"] {
            assert!(!record.has(key), "{key}: {record:?}");
        }
    }
    let files = state_files(&proxy);
    assert!(
        files.iter().any(|name| name.starts_with("pebble-account-")),
        "{files:?}"
    );
    let pem = files
        .iter()
        .find(|name| name.starts_with("pebble-app.test-") && name.ends_with(".pem"));
    let state = proxy.directory().join("state");
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    assert_eq!(mode(&state.join(pem.unwrap())), 0o600);
    let listed = proxy.ctl_json(&["certificates"]);
    assert_eq!(listed["managed"][0]["state"], "served", "{listed}");
    assert_eq!(listed["managed"][0]["issuer"], "pebble");
    assert_eq!(listed["certificates"][0]["name"], "app.test");
    assert!(listed["managed"][0]["next_order"].is_string(), "{listed}");
    assert_eq!(proxy.probe("/readyz").must_be(200).body.trim(), "serving");
}

#[test]
fn before_the_first_certificate_its_route_refuses_and_says_why_and_others_serve() {
    let mut ca = Ca::prepare(Wishes::default());
    let origin = Origin::echo();
    let proxy = ca
        .proxy("")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ name: mine, acme: pebble, names: [app.test] }")
        .terminate("other.test", &origin)
        .start();
    let end = Client::new(proxy.listen_addr("edge"), "app.test").refusal();
    assert_eq!(end, End::Alert(INTERNAL_ERROR));
    proxy
        .outcome()
        .must_be("certificate_pending")
        .must_have("fault", "proxy")
        .must_have("route", "app.test");
    proxy.client("other.test").connect().must_echo(b"served");
    // The reason is the CA's silence.
    eventually("/readyz says why", || {
        let answer = proxy.probe("/readyz");
        answer.must_be(200);
        answer
            .body
            .contains("certificate_pending: edge/mine: 127.0.0.1:")
            && answer.body.contains("cannot connect to")
    });
    let listed = proxy.ctl(&["certificates"]);
    listed
        .must_exit_with(0)
        .must_print("certificate_pending")
        .must_print("cannot connect to");
    let of_issuer = |name: &str| proxy.metrics().count(name, &[("issuer", "pebble")]);
    assert_eq!(of_issuer("reseal_acme_certificates_pending"), 1.0);
    assert_eq!(of_issuer("reseal_acme_certificates_failing"), 1.0);
    let orders = |result: &str| {
        let labels = [("issuer", "pebble"), ("result", result)];
        proxy.metrics().count("reseal_acme_orders_total", &labels)
    };
    assert!(orders("unreachable") >= 1.0);
    assert_eq!(orders("issued"), 0.0);
    // It comes back, and no hand is needed.
    ca.names_lead_here(&["app.test"]);
    ca.run();
    ca.wait_for_certificate(&proxy, "app.test");
    eventually("nothing is pending", || {
        proxy.probe("/readyz").body.trim() == "serving"
    });
    assert_eq!(of_issuer("reseal_acme_certificates_pending"), 0.0);
    assert_eq!(of_issuer("reseal_acme_certificates_failing"), 0.0);
    assert_eq!(orders("issued"), 1.0);
    let end = of_issuer("reseal_acme_certificate_expiry_timestamp_seconds");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    assert!(end > now.as_secs_f64() + 80.0 * 86400.0, "{end}");
}

#[test]
fn a_process_that_waits_for_certificates_is_ready_with_the_last_of_them() {
    let mut ca = Ca::prepare(Wishes::default());
    let origin = Origin::echo();
    let proxy = ca
        .proxy("")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .argument("--wait-certificates")
        .start();
    let answer = proxy.probe("/readyz");
    answer.must_be(503);
    assert!(
        answer.body.contains("certificate_pending: edge/app.test"),
        "{}",
        answer.body
    );
    ca.names_lead_here(&["app.test"]);
    ca.run();
    proxy.log_line(|line| line.contains("every certificate is there"));
    proxy.probe("/readyz").must_be(200);
}

#[test]
fn one_order_serves_every_endpoint_that_names_the_same_hosts() {
    let ca = Ca::start(&["a.test", "b.test"]);
    let origin = Origin::echo();
    let proxy = ca
        .proxy("")
        .route("terminate", "a.test", &origin)
        .with_certificate("{ acme: pebble, names: [a.test, b.test] }")
        .endpoint("second", "tls")
        .route("terminate", "b.test", &origin)
        .with_certificate("{ acme: pebble, names: [b.test, a.test] }")
        .start();
    let first = ca.wait_for_certificate(&proxy, "a.test");
    let stream = ca.connect(proxy.listen_addr("second"), "b.test").unwrap();
    assert_eq!(stream.peer_certificate().unwrap(), first);
    let issued = |line: &&String| line.contains("a certificate was issued");
    assert_eq!(proxy.log().iter().filter(issued).count(), 1);
}

#[test]
fn a_certificate_for_an_address_is_served_by_the_default_route() {
    let ca = Ca::start(&[]);
    let origin = Origin::echo();
    let proxy = ca
        .proxy("")
        .on_endpoint("default_route: { route: app, certificate: \"127.0.0.1\" }")
        .route("terminate", "app.test", &origin)
        .named("app")
        .certificate_for(&["app.test"])
        .with_certificate("{ acme: pebble, names: [127.0.0.1] }")
        .start();
    ca.wait_for_certificate(&proxy, "127.0.0.1");
    ca.connect(proxy.listen_addr("edge"), "127.0.0.1")
        .unwrap()
        .must_echo(b"by address");
}

#[test]
fn an_account_is_bound_to_one_outside_of_acme() {
    const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let mut ca = Ca::prepare(Wishes {
        external: Some(("kid-1", KEY)),
        ..Wishes::default()
    });
    ca.names_lead_here(&["app.test"]);
    ca.run();
    let origin = Origin::echo();
    let eab = ", eab: { key_id: kid-1, key_file: eab.key }";
    let proxy = |key: &str| -> Proxy {
        ca.proxy(eab)
            .file("eab.key", key)
            .route("terminate", "app.test", &origin)
            .with_certificate("{ acme: pebble, names: [app.test] }")
            .start()
    };
    let refused = proxy("d3Jvbmc");
    refused.log_line(|line| {
        line.contains("a certificate could not be had") && line.contains("the CA says")
    });
    assert!(!refused.log().iter().any(|line| line.contains("d3Jvbmc")));
    drop(refused);
    let proxy = proxy(&format!("{KEY}\n"));
    ca.wait_for_certificate(&proxy, "app.test");
}

#[test]
fn an_order_can_be_tried_and_nothing_is_installed() {
    let mut ca = Ca::prepare(Wishes::single());
    ca.names_lead_here(&["app.test"]);
    ca.run();
    let origin = Origin::echo();
    let proxy = ca
        .proxy("")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ name: mine, acme: pebble, names: [app.test] }")
        .start();
    let served = ca.wait_for_certificate(&proxy, "app.test");
    let files = state_files(&proxy);
    let tried = |name: &str| {
        let place = format!("unix:{}", proxy.admin_socket());
        crate::harness::reseal(&["acme", "--admin", &place, "try", name])
    };
    for name in ["mine", "app.test"] {
        tried(name)
            .must_exit_with(0)
            .must_print("the CA issued a certificate, which was not installed");
    }
    tried("other.test")
        .must_exit_with(1)
        .must_print("no issuer keeps a certificate of this name");
    let now = ca.connect(proxy.listen_addr("edge"), "app.test").unwrap();
    assert_eq!(now.peer_certificate().unwrap(), served);
    assert_eq!(state_files(&proxy), files);
    ca.stop();
    tried("mine")
        .must_exit_with(1)
        .must_print("cannot connect to");
}

#[test]
fn keys_are_of_the_kind_that_the_issuer_says() {
    for (kind, bits) in [("p384", "384 bit"), ("rsa2048", "2048 bit")] {
        let ca = Ca::start(&["app.test"]);
        let origin = Origin::echo();
        let proxy = ca
            .proxy(&format!(", key: {kind}"))
            .route("terminate", "app.test", &origin)
            .with_certificate("{ acme: pebble, names: [app.test] }")
            .start();
        let certificate = ca.wait_for_certificate(&proxy, "app.test");
        let file = proxy.directory().write("leaf.der", certificate);
        let file = file.display().to_string();
        let arguments = ["x509", "-inform", "DER", "-in", &file, "-noout", "-text"];
        let text = crate::harness::output("openssl", &arguments, "");
        text.must_exit_with(0).must_print(bits);
    }
}

#[test]
fn names_are_validated_by_http_on_the_listener_of_the_file() {
    let ca = Ca::start(&["app.test"]);
    let origin = Origin::echo();
    let place = ca.plain();
    let proxy = ca
        .proxy(&format!(", challenge: http-01, http: \"{place}\""))
        .top("process: { sandbox: required }")
        .listen("127.0.0.1:0")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .start();
    ca.wait_for_certificate(&proxy, "app.test");
    // Nothing else is there, nor is the token any more.
    let paths = [
        "/",
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge/unknown",
        "/metrics",
    ];
    for path in paths {
        for method in ["GET", "POST", "DELETE"] {
            let answer = curl(&["-X", method, &format!("http://{place}{path}")]);
            assert_eq!((answer.status, &*answer.body), (404, ""), "{method} {path}");
        }
    }
}

#[test]
fn orders_work_in_a_sandbox_that_is_required() {
    let ca = Ca::start(&["app.test"]);
    let origin = Origin::echo();
    let proxy = ca
        .proxy("")
        .top("process: { sandbox: required }")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .start();
    ca.wait_for_certificate(&proxy, "app.test");
    ca.connect(proxy.listen_addr("edge"), "app.test")
        .unwrap()
        .must_echo(b"sealed");
}
