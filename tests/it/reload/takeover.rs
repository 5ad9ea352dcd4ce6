//! A new process takes over the sockets of the running one.

mod addresses;
mod failures;
mod load;
mod rights;
mod usr2;

use std::sync::Arc;

use rustix::process::Signal;
use rustls::client::ClientSessionMemoryCache;

use super::reloads::must_be_reloaded;
use crate::harness::{
    End, NotifySocket, Origin, Proxy, ProxyBuilder, Stream, TIMEOUT, becomes_true, eventually,
};

/// A configuration with an admin socket and a metrics listener, and the endpoint `forward`.
fn forwarding(origin: &Origin) -> ProxyBuilder {
    Proxy::builder().forward(origin).admin()
}

/// The pid of the process that answers at the admin socket.
#[track_caller]
fn served_by(proxy: &Proxy) -> u64 {
    proxy.ctl_json(&["status"])["pid"].as_u64().unwrap()
}

/// A client of the new process. Until its workers have left the sockets, the old one may accept, too.
#[track_caller]
fn accepted_by(new: &Proxy) -> Stream {
    let mut accepted = None;
    eventually("the new process accepts", || {
        let client = new.dial("forward");
        client.must_echo(b"to either");
        let is_here = new.metrics().count("reseal_connections_live", &[]) == 1.0;
        accepted = Some(client);
        is_here
    });
    accepted.unwrap()
}

#[test]
fn a_new_process_serves_new_connections_and_the_old_one_finishes_its_own() {
    let origin = Origin::echo();
    let mut old = forwarding(&origin).start();
    let address = old.listen_addr("forward").clone();
    let client = old.dial("forward");
    client.must_echo(b"before");
    let metrics = old.admin_listener("metrics");
    let mut new = old.successor(old.text());
    old.log_line(|line| line.contains("a new process has taken over"));
    assert_eq!(
        new.listen_addr("forward"),
        &address,
        "the chosen port stays"
    );
    assert_eq!(new.admin_listener("metrics"), metrics);
    new.probe("/readyz").must_be(200);
    assert_eq!(served_by(&new), u64::from(new.pid()));
    let fresh = accepted_by(&new);
    client.must_echo(b"through the old one");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    assert_eq!(old.exit_code(), 0);
    old.outcome_of(&client).must_be("ok");
    fresh.end();
    new.outcome_of(&fresh).must_be("ok");
    assert_eq!(
        served_by(&new),
        u64::from(new.pid()),
        "the admin socket stays"
    );
    new.signal(Signal::TERM);
    assert_eq!(new.exit_code(), 0);
    assert!(!new.directory().join("admin.sock").exists());
}

#[test]
fn connections_that_the_drain_cuts_are_told_by_the_exit_code() {
    let origin = Origin::echo();
    let mut old = forwarding(&origin)
        .top("process: { drain: { stop: 300ms, lame_duck: 1h } }")
        .start();
    let client = old.dial("forward");
    client.must_echo(b"before");
    let _new = old.successor(old.text());
    assert_eq!(client.receive_to_end().1, End::Reset);
    assert_eq!(old.exit_code(), 1);
    old.outcome_of(&client).must_be("drain");
}

#[test]
fn the_generation_goes_on() {
    let origin = Origin::echo();
    let old = forwarding(&origin).start();
    must_be_reloaded(&old.reloads(|| old.signal(Signal::HUP)));
    let new = old.successor(old.text());
    assert_eq!(new.ctl_json(&["status"])["generation"], 3);
    must_be_reloaded(&new.reloads(|| new.signal(Signal::HUP)));
    assert_eq!(new.ctl_json(&["status"])["generation"], 4);
}

#[test]
fn sessions_resume_across_where_the_processes_share_a_secret() {
    let origin = Origin::echo();
    for (shares, top) in [(true, "process: { ticket_secret: tickets }"), (false, "")] {
        let mut old = Proxy::builder()
            .terminate("a.test", &origin)
            .admin()
            .file("tickets", [7; 32])
            .top(top)
            .start();
        let memory = Arc::new(ClientSessionMemoryCache::new(8));
        let client = old.client("a.test").sessions(memory);
        let config = client.config();
        let first = client.connect_with(&config, "a.test").unwrap();
        first.must_echo(b"a ticket comes with the first bytes");
        drop(first);
        let _new = old.successor(old.text());
        // Until its workers have left the sockets, the old process may accept, too.
        assert_eq!(old.exit_code(), 0);
        let again = client.connect_with(&config, "a.test").unwrap();
        again.must_echo(b"again");
        assert_eq!(again.is_resumed(), shares);
    }
}

#[test]
fn both_processes_append_to_the_logs() {
    let origin = Origin::echo();
    let mut old = forwarding(&origin)
        .top("access_log: { output: access.log }")
        .start();
    let early = old.dial("forward");
    early.must_echo(b"old");
    let new = old.successor(old.text());
    let late = new.dial("forward");
    late.must_echo(b"new");
    drop(late);
    let lines = || {
        let text = std::fs::read_to_string(old.directory().join("access.log")).unwrap();
        text.lines().count()
    };
    assert!(becomes_true(TIMEOUT, || lines() == 1));
    drop(early);
    assert!(becomes_true(TIMEOUT, || lines() == 2));
    assert_eq!(old.exit_code(), 0);
}

#[test]
fn the_service_manager_is_told_the_main_process() {
    let origin = Origin::echo();
    let builder = forwarding(&origin);
    let manager = NotifySocket::at(builder.path("notify").as_ref());
    let mut old = builder.environment("NOTIFY_SOCKET", manager.name()).start();
    assert_eq!(manager.next()[0], "READY=1");
    let new = old.successor(old.text());
    // The new process was started by hand, so only the old one tells.
    assert_eq!(manager.next(), [format!("MAINPID={}", new.pid())]);
    assert_eq!(old.exit_code(), 0);
    manager.must_be_empty();
}

#[test]
fn nothing_is_left_open_and_no_child_would_inherit_a_descriptor() {
    let origin = Origin::echo();
    let first = forwarding(&origin).start();
    let text = first.text().to_owned();
    let before = first.usage_at_rest().descriptors;
    let mut proxies = vec![first];
    for _ in 0..3 {
        let last = proxies.last_mut().unwrap();
        let new = last.successor(&text);
        assert_eq!(last.exit_code(), 0);
        proxies.push(new);
    }
    let last = proxies.last().unwrap();
    // In a required sandbox the first process, which bound its sockets itself, has two more.
    let now = last.usage_at_rest().descriptors;
    assert!(now <= before, "{now} descriptors after {before}");
    let directory = format!("/proc/{}", last.pid());
    for entry in std::fs::read_dir(format!("{directory}/fd")).unwrap() {
        let number = entry.unwrap().file_name().into_string().unwrap();
        let link = std::fs::read_link(format!("{directory}/fd/{number}"));
        if !link.is_ok_and(|link| link.to_string_lossy().starts_with("socket:")) {
            continue;
        }
        let info = std::fs::read_to_string(format!("{directory}/fdinfo/{number}")).unwrap();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        let flags = u32::from_str_radix(flags.unwrap().trim(), 8).unwrap();
        assert!(
            flags & 0o2_000_000 != 0,
            "{number} has no O_CLOEXEC: {info}"
        );
    }
}
