//! Upstreams over a reload: balancing and checks continue if their definition is unchanged.

use std::fs;

use rustix::process::Signal;

use crate::harness::{LetterOrigin, Origin, Proxy, eventually, pki};

/// Three origins in round robin, checked once an hour, behind a certificate that is watched.
struct Scene {
    proxy: Proxy,
    /// Kept while the proxy uses them.
    _origins: [LetterOrigin; 3],
    checked: Origin,
}

impl Scene {
    fn new() -> Self {
        let origins = ['a', 'b', 'c'].map(LetterOrigin::new);
        // An origin does not see a check of TCP alone.
        let checked = Origin::plain().serve(|stream| {
            if stream.read().is_ok() {
                let _ = stream.try_send(b"HTTP/1.1 204 Good\r\nContent-Length: 0\r\n\r\n");
            }
            stream.end();
        });
        let draft = Proxy::builder();
        let identity = pki().edge(&["a.test"]);
        fs::write(
            draft.path("pair.pem"),
            format!("{}{}", identity.cert, identity.key),
        )
        .unwrap();
        let [a, b, c] = &origins;
        let proxy = draft
            .yaml(&format!(
                "process: {{ reload: {{ debounce: 50ms }}, key_permissions: warn }}
log: {{ format: json }}
endpoints:
  - name: forward
    listen: 127.0.0.1:0
    protocol: tcp
    routes: [{{ name: forward, mode: forward, upstream: turns }}]
  - name: edge
    listen: 127.0.0.1:0
    tls: {{ certificates: [{{ cert: pair.pem }}] }}
    routes: [{{ name: tls, match: {{ sni: a.test }}, mode: terminate, upstream: checked }}]
upstreams:
  turns: {{ origins: [\"{a}\", \"{b}\", \"{c}\"] }}
  checked:
    origins: [\"{checked}\"]
    health: {{ check: {{ http: {{ path: / }} }}, interval: 1h }}
"
            ))
            .start();
        Self {
            proxy,
            _origins: origins,
            checked,
        }
    }

    /// Waits for the first check, which comes soon after the start.
    fn first_check(&self) -> usize {
        eventually("the origin is checked", || self.checked.accepts() > 0);
        self.checked.accepts()
    }

    /// Round robin continues over a reload, and the reload makes no check at once. (That none comes early
    /// is a test of `health`, on a fake clock.)
    fn must_keep_balancing_and_checks(&self, cause: impl FnOnce()) {
        let checks = self.first_check();
        assert_eq!(self.proxy.letters(2), "ab");
        let lines = self.proxy.reloads(cause);
        assert!(lines.join("\n").contains("reloaded"), "{lines:?}");
        assert_eq!(self.proxy.letters(2), "ca");
        assert_eq!(self.checked.accepts(), checks, "a check came early");
    }
}

#[test]
fn an_unchanged_file_keeps_balancing_and_checks() {
    let scene = Scene::new();
    scene.must_keep_balancing_and_checks(|| scene.proxy.signal(Signal::HUP));
}

#[test]
fn a_renewed_certificate_keeps_balancing_and_checks() {
    let scene = Scene::new();
    let renewed = pki().edge(&["a.test"]);
    scene.must_keep_balancing_and_checks(|| {
        let path = scene.proxy.directory().join("pair.pem");
        fs::write(path, format!("{}{}", renewed.cert, renewed.key)).unwrap();
    });
    let client = scene.proxy.client("a.test").connect();
    assert_eq!(
        client.peer_certificate().unwrap(),
        renewed.chain()[0].to_vec()
    );
}

#[test]
fn a_change_of_another_upstream_keeps_balancing_and_checks() {
    let scene = Scene::new();
    let other = Origin::echo();
    let text = scene.proxy.text().replace(
        "upstreams:\n",
        &format!("upstreams:\n  other: {{ origins: [\"{other}\"] }}\n"),
    );
    scene.must_keep_balancing_and_checks(|| {
        fs::write(scene.proxy.directory().join("config.yaml"), &text).unwrap();
        scene.proxy.signal(Signal::HUP);
    });
}
