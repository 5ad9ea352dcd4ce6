//! Many live connections: a look at them costs little, and is bounded.

use serde_json::json;

use super::post;
use crate::harness::{Origin, Proxy, Usage};

/// As many as fit under the descriptor limit of a test machine; `scripts/overload.sh` has more.
const CONNECTIONS: usize = 400;

#[test]
fn a_look_at_many_connections_has_only_the_rows_that_are_asked_for() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let streams: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let stream = proxy.dial("forward");
            stream.must_echo(b"x");
            stream
        })
        .collect();
    let answer = post(
        &proxy,
        "/connections",
        &json!({ "limit": 10, "sort": "bytes" }),
    );
    assert_eq!(answer["matched"], CONNECTIONS);
    assert_eq!(answer["connections"].as_array().map(Vec::len), Some(10));
    let all = proxy.admin("/connections", &[]).must_be(200).json();
    assert_eq!(
        all["connections"].as_array().map(Vec::len),
        Some(CONNECTIONS)
    );
    // No thread stays behind, and no descriptor.
    let before = Usage::of(proxy.pid());
    for _ in 0..20 {
        post(&proxy, "/connections", &json!({ "limit": 10 }));
    }
    let after = Usage::of(proxy.pid());
    assert_eq!(after.threads, before.threads);
    assert_eq!(after.sockets, before.sockets);
    drop(streams);
}
