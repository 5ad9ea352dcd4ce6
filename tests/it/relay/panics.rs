//! Promise 6: a panic resets both sides of its connection and affects no other, in every mode.

use crate::harness::{End, Origin, Proxy, Stream, noise, pki};

/// Makes a direction panic once it has moved this many bytes; only debug builds have this hook.
const PANICS_AFTER: &str = "RESEAL_TEST_PANIC_AFTER=100000";

/// Sends what makes the relay panic. The kernel reports the reset once: to the write if that comes first.
#[track_caller]
fn must_be_reset(client: &Stream, mode: &str) {
    let sent = client.try_send(noise(300_000, 1));
    let is_reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
    let end = client.receive_to_end().1;
    assert!(
        end == End::Reset || sent.as_ref().is_err_and(is_reset),
        "{mode}: {sent:?}, {end:?}"
    );
}

/// A connection whose relay panics is reset, and another one continues.
#[track_caller]
fn a_panic_resets(proxy: &Proxy, mode: &str, connect: impl Fn() -> Stream) {
    let other = connect();
    other.must_echo(b"before");
    let broken = connect();
    broken.must_echo(b"before");
    must_be_reset(&broken, mode);
    proxy
        .outcome_of(&broken)
        .must_be("internal_panic")
        .must_have("mode", mode)
        .must_have("stage", "relay")
        .must_have("fault", "proxy");
    other.must_echo(b"after");
    other.end();
    assert_eq!(other.receive_to_end(), (vec![], End::Clean), "{mode}");
    proxy.outcome_of(&other).must_be("ok");
}

#[cfg_attr(
    not(debug_assertions),
    ignore = "release builds have no hook that panics"
)]
#[test]
fn promise_6_a_panic_in_the_relay_of_any_mode_resets_its_connection_and_no_other() {
    let plain = Origin::echo();
    let tls = Origin::with_tls().echo();
    let passed = Origin::tls(&pki().origin(&["c.test"])).echo();
    let mut proxy = Proxy::builder()
        .terminate("a.test", &plain)
        .reencrypt("b.test", &tls)
        .passthrough("c.test", &passed)
        .forward(&plain)
        .originate(&tls)
        .top("process: { workers: 1 }")
        .under(&["env", PANICS_AFTER])
        .start();
    for (sni, mode) in [
        ("a.test", "terminate"),
        ("b.test", "reencrypt"),
        ("c.test", "passthrough"),
    ] {
        a_panic_resets(&proxy, mode, || proxy.client(sni).connect());
    }
    for mode in ["forward", "originate"] {
        a_panic_resets(&proxy, mode, || proxy.dial(mode));
    }
    assert!(proxy.is_running());
}

#[cfg_attr(
    not(debug_assertions),
    ignore = "release builds have no hook that panics"
)]
#[test]
fn the_origin_sees_a_reset_when_the_relay_panics() {
    let (origin, reports) = Origin::plain().reporting();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .under(&["env", PANICS_AFTER])
        .start();
    let client = proxy.client("a.test").connect();
    must_be_reset(&client, "terminate");
    let report = reports.recv_timeout(crate::harness::TIMEOUT).unwrap();
    assert_eq!(report.end, End::Reset);
}

#[cfg_attr(
    not(debug_assertions),
    ignore = "release builds have no hook that panics"
)]
#[test]
fn very_many_panics_leave_no_permit_and_no_gauge_behind() {
    const PANICS: usize = 300;
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("limits: { connections: 20, per_source: 20, new_per_source: 100000/s }")
        .on_route("limits: { connections: 20 }")
        .top("access_log: { output: none }")
        .admin()
        .under(&["env", PANICS_AFTER])
        .start();
    for _ in 0..PANICS {
        let client = proxy.dial("forward");
        must_be_reset(&client, "forward");
    }
    let metrics = proxy.metrics_at_rest();
    let panics = [("reason", "internal_panic")];
    assert_eq!(
        metrics.count("reseal_outcomes_total", &panics),
        PANICS as f64
    );
    crate::harness::eventually("every permit is free", || {
        let metrics = proxy.metrics();
        metrics.count("reseal_admission_limit_used", &[]) == 0.0
            && metrics.count("reseal_limit_used", &[("limit", "connections")]) == 0.0
            && metrics.count("reseal_origin_connections_live", &[]) == 0.0
            && metrics.count("reseal_sources_tracked", &[]) == 0.0
    });
    assert!(proxy.is_running());
}
