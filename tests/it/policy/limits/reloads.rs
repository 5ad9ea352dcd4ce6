//! Limits that a reload changes.

use super::{end, establish, forward, must_be_reset};
use crate::harness::{Origin, Proxy, Stream};

#[test]
fn a_reload_changes_limits_and_keeps_what_is_counted() {
    let origin = Origin::echo();
    let proxy = forward("per_source: 2, new_per_source: 5/m", &origin);
    let place = proxy.listen_addr("forward");
    let held = [establish("127.0.0.8", place), establish("127.0.0.8", place)];
    for (limits, is_admitted) in [
        ("per_source: 3, new_per_source: 5/m", true),
        ("per_source: 2, new_per_source: 5/m", false),
        ("per_source: 9, new_per_source: 4/m", true),
        ("per_source: 9, new_per_source: 4/m", false),
        ("per_source: 9", true),
    ] {
        let text = proxy
            .text()
            .replace("per_source: 2, new_per_source: 5/m", limits);
        proxy.reload(&text);
        let client = Stream::dial_from("127.0.0.8", place);
        match is_admitted {
            true => {
                client.must_echo(b"x");
                end(&proxy, client);
            }
            false => must_be_reset(&client),
        }
    }
    held.iter().for_each(|client| client.must_echo(b"x"));
}

#[test]
fn a_reload_that_raises_the_limit_serves_who_waits() {
    let origin = Origin::echo();
    // One worker accepts in the order of arrival.
    let proxy = Proxy::builder()
        .top("process: { workers: 1 }")
        .forward(&origin)
        .on_endpoint("limits: { connections: 1 }")
        .start();
    let first = establish("127.0.0.1", proxy.listen_addr("forward"));
    let waiting = [proxy.dial("forward"), proxy.dial("forward")];
    proxy.log_line(|line| line.contains("clients wait"));
    proxy.reload(&proxy.text().replace("connections: 1", "connections: 2"));
    waiting[0].must_echo(b"served");
    proxy.reload(
        &proxy
            .text()
            .replace("limits: { connections: 1 }", "backlog: 100"),
    );
    waiting[1].must_echo(b"served");
    first.must_echo(b"and still here");
}
