//! What systemd, or another service manager, is told (sd_notify(3)).

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};

use crate::harness::{NotifySocket, Origin, Proxy};

/// A proxy whose service manager listens in its directory.
fn notifying(origin: &Origin, environment: &[(&str, &str)]) -> (Proxy, NotifySocket) {
    let builder = Proxy::builder().forward(origin);
    let manager = NotifySocket::at(builder.path("notify").as_ref());
    let builder = builder.admin().environment("NOTIFY_SOCKET", manager.name());
    let builder = environment.iter().fold(builder, |builder, (name, value)| {
        builder.environment(name, value)
    });
    (builder.start(), manager)
}

fn monotonic_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1_000).unwrap()
}

#[test]
fn readiness_reloads_and_the_stop_are_told() {
    let origin = Origin::echo();
    let (mut proxy, manager) = notifying(&origin, &[]);
    assert_eq!(manager.next(), ["READY=1", "STATUS=serving, generation 1"]);
    let before = monotonic_micros();
    proxy.ctl(&["reload"]).must_exit_with(0);
    let reloading = manager.next();
    assert_eq!(reloading[0], "RELOADING=1");
    let at = reloading[1].strip_prefix("MONOTONIC_USEC=").unwrap();
    assert!((before..=monotonic_micros()).contains(&at.parse().unwrap()));
    assert_eq!(manager.next(), ["READY=1", "STATUS=serving, generation 2"]);
    proxy.signal(Signal::TERM);
    assert_eq!(manager.next()[0], "STOPPING=1");
    assert_eq!(manager.next(), ["STATUS=draining"]);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn a_refused_reload_ends_as_ready_with_its_reason_and_ctl_reports_it() {
    let origin = Origin::echo();
    let (proxy, manager) = notifying(&origin, &[]);
    manager.next();
    proxy.directory().write("config.yaml", "endpoints: 7\n");
    proxy.ctl(&["reload"]).must_exit_with(1);
    assert_eq!(manager.next()[0], "RELOADING=1");
    let ready = manager.next();
    assert_eq!(ready[0], "READY=1");
    assert!(
        ready[1].starts_with("STATUS=serving, generation 1; the last reload was refused: "),
        "{ready:?}"
    );
    assert_eq!(ready.len(), 2);
    proxy.dial("forward").must_echo(b"still serving");
}

#[test]
fn a_service_manager_with_an_abstract_socket_is_told() {
    let origin = Origin::echo();
    let name = format!("reseal-test-{}", std::process::id());
    let manager = NotifySocket::hidden(&name);
    let _proxy = Proxy::builder()
        .forward(&origin)
        .environment("NOTIFY_SOCKET", manager.name())
        .start();
    assert_eq!(manager.next()[0], "READY=1");
}

#[test]
fn a_notify_socket_that_cannot_be_used_is_a_warning() {
    let origin = Origin::echo();
    for (value, message) in [
        ("vsock:2:1", "NOTIFY_SOCKET cannot be used"),
        ("/nowhere/notify", "the service manager cannot be notified"),
    ] {
        let proxy = Proxy::builder()
            .forward(&origin)
            .environment("NOTIFY_SOCKET", value)
            .start();
        proxy.log_line(|line| line.contains(message));
        proxy.dial("forward").must_echo(b"all the same");
    }
}

#[test]
fn the_watchdog_is_served_by_the_process_that_it_names() {
    let origin = Origin::echo();
    let (proxy, manager) = notifying(&origin, &[("WATCHDOG_USEC", "200000")]);
    assert_eq!(manager.next()[0], "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
    }
    drop(proxy);
    let others = [("WATCHDOG_USEC", "2"), ("WATCHDOG_PID", "1")];
    let (proxy, manager) = notifying(&origin, &others);
    assert_eq!(manager.next()[0], "READY=1");
    proxy.ctl(&["reload"]).must_exit_with(0);
    assert_eq!(manager.next()[0], "RELOADING=1");
}
