//! Each documented alert fires for its fault and no other alert does.

use std::collections::BTreeSet;
use std::slice::from_ref;

use time::OffsetDateTime;

use crate::harness::{
    Authority, End, Identity, Leaf, List, Origin, Proxy, Stream, at_once, blackhole, dead_address,
    eventually, firing, noise, output, pki,
};

/// Runs promtool in packaging/prometheus.
#[track_caller]
fn promtool(arguments: &[&str]) {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/prometheus/");
    let path = |argument: &&str| match argument.ends_with(".yml") {
        true => format!("{directory}{argument}"),
        false => (*argument).to_owned(),
    };
    let arguments: Vec<_> = arguments.iter().map(path).collect();
    output("promtool", &arguments, "").must_exit_with(0);
}

#[test]
fn prometheus_accepts_the_rules_and_their_tests_pass() {
    promtool(&["check", "rules", "--lint-fatal", "reseal.rules.yml"]);
    promtool(&[
        "test",
        "rules",
        "tests/alerts.yml",
        "tests/good_traffic.yml",
    ]);
}

/// Two scrapes, with the failure three times in between.
#[track_caller]
fn fires(proxy: &Proxy, what: &str, fails: impl Fn()) -> BTreeSet<String> {
    let mut scrapes = vec![proxy.metrics_at_rest()];
    assert!(
        firing(&scrapes).is_empty(),
        "{what}: before anything failed"
    );
    for _ in 0..2 {
        for _ in 0..2 {
            fails();
        }
        scrapes.push(proxy.metrics_at_rest());
    }
    firing(&scrapes)
}

#[track_caller]
fn fires_alone(proxy: &Proxy, alert: &str, what: &str, fails: impl Fn()) {
    let fired = fires(proxy, what, fails);
    assert_eq!(fired, BTreeSet::from([alert.to_owned()]), "{what}");
}

/// Sends a request as a client and reads to the end.
fn request(proxy: &Proxy) -> (Stream, End) {
    let client = proxy.client("a.test").connect();
    let _ = client.try_send(b"go");
    let end = client.receive_to_end().1;
    (client, end)
}

#[test]
fn unreachable_origins_fire_their_alert() {
    let (dead, _port) = dead_address();
    let (hole, _sockets) = blackhole();
    let stranger = pki().stranger.issue(&Leaf::server(&["origin.test"]));
    let (untrusted, mute) = (Origin::tls(&stranger).echo(), Origin::plain().silent());
    let proxies = [
        ("refused", Proxy::builder().terminate("a.test", &dead)),
        (
            "no answer",
            Proxy::builder()
                .terminate("a.test", &hole)
                .on_upstream("connect: { timeout: 100ms, attempts: 1 }"),
        ),
        (
            "untrusted",
            Proxy::builder().reencrypt("a.test", &untrusted),
        ),
        (
            "no handshake",
            Proxy::builder()
                .reencrypt("a.test", &mute)
                .on_upstream("connect: { timeout: 100ms, attempts: 1 }"),
        ),
    ];
    at_once(proxies, |(what, draft)| {
        let proxy = draft.admin().start();
        fires_alone(&proxy, "ResealOriginsFail", what, || {
            assert_eq!(request(&proxy).1, End::Reset, "{what}");
        });
    });
}

#[test]
fn one_failing_origin_among_good_ones_fires_an_alert_though_no_client_fails() {
    let origin = Origin::echo();
    let (dead, _port) = dead_address();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .origins(&format!("[\"{origin}\", \"{dead}\"]"))
        .admin()
        .start();
    fires_alone(&proxy, "ResealOriginFails", "one of two refuses", || {
        // In turn, so that one of two connections meets the dead one first.
        for _ in 0..2 {
            let client = proxy.client("a.test").connect();
            client.must_echo(b"x");
            client.end();
            client.receive_to_end();
            proxy.outcome().must_be("ok");
        }
    });
}

#[test]
fn origins_that_reset_fire_their_alert() {
    let reset = Origin::with_tls().serve(|stream| {
        stream.receive(2);
        stream.send(b"half an ans");
        stream.reset();
    });
    let truncated = Origin::with_tls().serve(|stream| {
        stream.receive(2);
        stream.send(b"half an ans");
        stream.fin();
        stream.receive_to_end();
    });
    for (what, origin) in [("reset", &reset), ("truncated", &truncated)] {
        let proxy = Proxy::builder().reencrypt("a.test", origin).admin().start();
        fires_alone(&proxy, "ResealOriginsBreakOff", what, || {
            assert_eq!(request(&proxy).1, End::Reset, "{what}");
        });
    }
}

#[test]
fn clients_that_reset_fire_their_alert() {
    let origin = Origin::plain().serve(|stream| {
        stream.receive(2);
        stream.send(b"on");
        stream.receive_to_end();
    });
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    fires_alone(&proxy, "ResealClientsBreakOff", "mid-upload", || {
        let client = proxy.client("a.test").connect();
        client.send(b"go");
        client.receive(2);
        client.send(noise(100_000, 1));
        client.reset();
        proxy.outcome().must_be("client_reset");
    });
}

#[test]
fn rejected_clients_fire_their_alert_and_scanners_fire_none() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .admin()
        .start();
    fires_alone(&proxy, "ResealClientsFail", "no certificate", || {
        proxy.client("a.test").refusal();
        proxy.outcome().must_be("client_cert_missing");
    });
    let fired = fires(&proxy, "strangers", || {
        proxy.client("scan.test").refusal();
        proxy
            .dial("edge")
            .write_raw(b"GET / HTTP/1.1\r\n\r\n")
            .unwrap();
        drop(proxy.dial("edge"));
        proxy.outcomes(3);
    });
    assert!(fired.is_empty(), "{fired:?}");
}

#[test]
fn a_full_upstream_fires_its_alert() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .origins(&format!("[{{ address: \"{origin}\", connections: 1 }}]"))
        .on_upstream("connect: { queue: 1, queue_timeout: 100ms }")
        .admin()
        .start();
    fires_alone(&proxy, "ResealTurnsAway", "full", || {
        let established = proxy.client("a.test").connect();
        established.must_echo(b"x");
        assert_eq!(request(&proxy).1, End::Reset);
        established.end();
        established.receive_to_end();
        proxy.outcomes(2);
    });
}

#[test]
fn a_proxy_fault_fires_on_its_first_event() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem, crl: old.crl }")
        .file("old.crl", List::of(&[1]).expired().pem(&pki().clients))
        .admin()
        .start();
    let before = proxy.metrics();
    assert_eq!(firing(from_ref(&before)), alone("ResealCrlEnded"));
    let alice = pki().client("alice");
    proxy.client("a.test").certificate(&alice).refusal();
    proxy.outcome().must_have("fault", "proxy");
    let mut fired = firing(&[before, proxy.metrics()]);
    assert!(fired.remove("ResealFault"), "{fired:?}");
    assert_eq!(fired, alone("ResealCrlEnded"));
}

fn alone(alert: &str) -> BTreeSet<String> {
    BTreeSet::from([alert.to_owned()])
}

#[test]
fn each_process_problem_fires_its_own_alert() {
    let origin = Origin::echo();
    let soon = pki()
        .edge
        .issue(&Leaf::server(&["a.test"]).since_days(87).for_days(3));
    let proxy = Proxy::builder()
        .endpoint("edge", "tls")
        .route("terminate", "a.test", &origin)
        .identity(&soon)
        .admin()
        .start();
    assert_eq!(
        firing(&[proxy.metrics()]),
        alone("ResealCertificateExpires")
    );

    let proxy = Proxy::builder()
        .forward(&origin)
        .top("process: { limits: { connections: 2 } }")
        .admin()
        .start();
    let clients = [proxy.dial("forward"), proxy.dial("forward")];
    for client in &clients {
        client.must_echo(b"x");
    }
    assert_eq!(firing(&[proxy.metrics()]), alone("ResealLimitNear"));

    let proxy = Proxy::builder()
        .forward(&origin)
        .top("access_log: { output: /dev/full }")
        .admin()
        .start();
    let before = proxy.metrics();
    eventually("lines are lost", || {
        for _ in 0..100 {
            proxy.dial("forward").reset();
        }
        firing(&[before.clone(), proxy.metrics()]) == alone("ResealLogLost")
    });

    let (dead, _port) = dead_address();
    let proxy = Proxy::builder()
        .forward(&dead)
        .on_upstream("health: { check: tcp, interval: 50ms }")
        .admin()
        .start();
    eventually("the upstream is down", || {
        firing(&[proxy.metrics()]) == alone("ResealUpstreamDown")
    });
}

/// One for clients, one for origins, one of a chain, a CA, a stapled response: each is told in time.
#[test]
fn whatever_ends_soon_fires_its_alert() {
    let origin = Origin::with_tls().serve(|_| {});
    let leaf = || Leaf::server(&["a.test"]);
    let soon = |leaf: Leaf| leaf.since_days(87).for_days(3);
    let good = pki().edge.issue(&leaf());
    let to_origins = pki().clients.issue(&soon(Leaf::client("reseal")));
    let old = Authority::shaped("an old CA", |params| {
        params.not_before = OffsetDateTime::now_utc() - time::Duration::days(3650);
        params.not_after = OffsetDateTime::now_utc() + time::Duration::days(10);
    });
    let proxy = |identity: &Identity, tls: &str| {
        Proxy::builder()
            .endpoint("edge", "tls")
            .route("reencrypt", "a.test", &origin)
            .identity(identity)
            .file("reseal.pem", &to_origins.cert)
            .file("reseal.key", &to_origins.key)
            .file("old.pem", old.pem())
            .origin_tls(tls)
            .admin()
            .start()
    };
    let trust = "{ ca: origin-ca.pem }";
    assert!(firing(&[proxy(&good, trust).metrics()]).is_empty());
    let with_own =
        "{ ca: origin-ca.pem, client_certificate: { cert: reseal.pem, key: reseal.key } }";
    for (what, identity, tls, alert) in [
        (
            "leaf",
            &pki().edge.issue(&soon(leaf())),
            trust,
            "ResealCertificateExpires",
        ),
        (
            "expired",
            &pki().edge.issue(&leaf().expired()),
            trust,
            "ResealCertificateExpires",
        ),
        (
            "chain",
            &good.clone().below(&[&old]),
            trust,
            "ResealCertificateExpires",
        ),
        ("to origins", &good, with_own, "ResealCertificateExpires"),
        (
            "CA",
            &good,
            "{ ca: [origin-ca.pem, old.pem] }",
            "ResealCaExpires",
        ),
    ] {
        let fired = firing(&[proxy(identity, tls).metrics()]);
        assert_eq!(fired, alone(alert), "{what}");
    }
}

#[test]
fn a_failed_reload_fires_its_alert_until_it_is_mended() {
    let origin = Origin::echo();
    let pair = || {
        let identity = pki().edge(&["a.test"]);
        identity.cert + &identity.key
    };
    let proxy = Proxy::builder()
        .endpoint("edge", "tls")
        .route("terminate", "a.test", &origin)
        .file("pair.pem", pair())
        .with_certificate("{ cert: pair.pem }")
        .admin()
        .start();
    let fires = |alerts: &[&str], what: &str| {
        let expected: BTreeSet<_> = alerts.iter().map(|alert| (*alert).to_owned()).collect();
        assert_eq!(firing(&[proxy.metrics()]), expected, "{what}");
    };
    let good = proxy.text().to_owned();
    fires(&[], "at the start");
    proxy.reload("nonsense: true\n");
    fires(&["ResealReloadFailed"], "a bad configuration");
    // Another reload that is done does not hide it.
    let renew = |text: &str| proxy.reloads(|| drop(proxy.directory().write("pair.pem", text)));
    renew(&pair());
    fires(
        &["ResealReloadFailed"],
        "a renewal beside a bad configuration",
    );
    proxy.reload(&good);
    fires(&[], "mended");
    renew("no certificate");
    fires(&["ResealReloadFailed"], "a bad renewal");
    renew(&pair());
    fires(&[], "a good renewal");
}

#[test]
fn clients_that_wait_for_an_origin_fire_an_alert() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .origins(&format!("[{{ address: \"{origin}\", connections: 1 }}]"))
        .on_upstream("connect: { queue: 1, queue_timeout: 60s }")
        .on_endpoint("timeouts: { origin: 60s }")
        .admin()
        .start();
    let established = proxy.client("a.test").connect();
    established.must_echo(b"x");
    let before = proxy.metrics();
    let _waits = proxy.client("a.test").connect();
    eventually("it waits", || {
        proxy.metrics().count("reseal_queue_waiting", &[]) > 0.0
    });
    let fired = firing(&[before, proxy.metrics(), proxy.metrics()]);
    assert_eq!(fired, alone("ResealClientsWait"));
}
