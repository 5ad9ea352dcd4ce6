//! The admin socket over curl, and clients that misuse it.

mod abuse;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::{ConfigCheck, Directory, Origin, Proxy, curl, finish_under};

const TOKEN: &str = "0b5e1e0f6a7c49d2b1a8c3d4e5f60718";

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A proxy whose admin socket is a TCP address.
fn on_tcp(origin: &Origin) -> Proxy {
    Proxy::builder()
        .forward(origin)
        .file("token", format!("{TOKEN}\n"))
        .top("admin: { listen: \"127.0.0.1:0\", token_file: token }")
        .start()
}

#[test]
fn the_socket_is_private_and_removed_at_exit() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder().forward(&origin).admin().start();
    let socket = proxy.admin_socket();
    assert_eq!(mode(&socket), 0o600);
    proxy.admin("/healthz", &[]).must_be(200);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    assert!(!Path::new(&socket).exists());
}

#[test]
fn the_socket_has_the_permissions_that_are_configured() {
    let origin = Origin::echo();
    let admin = "admin: { listen: \"unix:admin.sock\", permissions: \"0660\" }";
    let proxy = Proxy::builder().forward(&origin).top(admin).start();
    assert_eq!(mode(&proxy.admin_socket()), 0o660);
}

#[test]
fn the_socket_is_in_the_runtime_directory_by_default() {
    let origin = Origin::echo();
    let directory = Directory::new();
    let variable = format!("RUNTIME_DIRECTORY={}", directory.path().display());
    let proxy = Proxy::builder()
        .forward(&origin)
        .under(&["env", &variable])
        .start();
    let socket = directory.join("admin.sock").display().to_string();
    proxy.log_line(|line| line.contains("\"listener\":\"admin\""));
    curl(&["--unix-socket", &socket, "http://localhost/status"]).must_be(200);
}

#[test]
fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
    let origin = Origin::echo();
    let draft = Proxy::builder().forward(&origin).admin();
    drop(UnixListener::bind(draft.path("admin.sock")).unwrap());
    let proxy = draft.start();
    let before = proxy.admin("/status", &[]).must_be(200).json();
    let config = proxy.directory().join("config.yaml");
    finish_under(&["env"], &config)
        .must_exit_with(3)
        .must_print("another process listens there")
        .must_print("admin.sock");
    let after = proxy.admin("/status", &[]).must_be(200).json();
    assert_eq!(before["pid"], after["pid"]);
}

#[test]
fn curl_gets_json() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    let client = proxy.client("a.test").connect();
    client.must_echo(b"live");
    let status = proxy.admin("/status", &[]).must_be(200).json();
    assert_eq!(status["phase"], "serving");
    assert_eq!(status["pid"], proxy.pid());
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["connections"], 1);
    assert_eq!(status["listening"][0]["endpoint"], "edge");
    let certificates = proxy.admin("/certificates", &[]).must_be(200).json();
    assert_eq!(certificates["certificates"][0]["name"], "identity-0");
    assert_eq!(certificates["certificates"][0]["names"][0], "a.test");
}

#[test]
fn tcp_requires_the_token_and_an_ip_address_in_host() {
    let origin = Origin::echo();
    let proxy = on_tcp(&origin);
    let url = format!("http://{}/status", proxy.admin_listener("admin"));
    let right = format!("Authorization: Bearer {TOKEN}");
    let shorter = format!("Authorization: Bearer {}", &TOKEN[1..]);
    let longer = format!("Authorization: Bearer {TOKEN}0");
    let basic = format!("Authorization: Basic {TOKEN}");
    let table: [(&[&str], u16); 12] = [
        (&[], 401),
        (&["-H", &shorter], 401),
        (&["-H", &longer], 401),
        (&["-H", &basic], 401),
        (&["-H", "Authorization: Bearer "], 401),
        (&["-H", &right, "-H", &right], 401),
        (&["-H", &right], 200),
        (&["-H", &right, "-H", "Host: localhost:1"], 200),
        (&["-H", &right, "-H", "Host: evil.test"], 403),
        (&["-H", &right, "-H", "Host: 127.0.0.1.evil.test"], 403),
        (&["-H", &right, "-H", "Origin: http://127.0.0.1"], 403),
        (&["-H", &right, "-H", "Host:"], 400),
    ];
    for (more, status) in table {
        let answer = curl(&[more, &[&url]].concat());
        assert_eq!(answer.status, status, "{more:?}: {}", answer.body);
    }
}

#[test]
fn the_token_never_appears_in_output() {
    let origin = Origin::echo();
    let proxy = on_tcp(&origin);
    let url = |path| format!("http://{}{path}", proxy.admin_listener("admin"));
    let right = format!("Authorization: Bearer {TOKEN}");
    curl(&[
        "-H",
        &right,
        "-d",
        "{\"level\":\"trace\"}",
        &url("/log-level"),
    ])
    .must_be(200);
    let config = curl(&["-H", &right, &url("/config")]);
    config.must_be(200);
    let refused = curl(&["-H", "Authorization: Bearer wrong", &url("/config")]);
    for text in [config.body, refused.body, proxy.log().join("\n")] {
        assert!(!text.contains(TOKEN), "{text}");
    }
}

#[test]
fn a_weak_token_is_refused() {
    let config = |admin: &str| {
        ConfigCheck::new(&format!(
            "admin: {admin}\n\
             endpoints:\n  - {{ name: e, listen: \"127.0.0.1:0\", protocol: tcp, routes: [{{ name: r, \
             mode: forward, upstream: o }}] }}\n\
             upstreams: {{ o: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
        ))
    };
    let tcp = "{ listen: \"127.0.0.1:0\", token_file: token }";
    config("{ listen: \"127.0.0.1:0\" }").must_report("\"127.0.0.1:0\"", &["token_file"]);
    config(tcp).must_report("token }", &["cannot be read"]);
    config(tcp)
        .with_file("token", TOKEN, 0o644)
        .must_report("token }", &["every user may read"]);
    config(tcp)
        .with_file("token", "short", 0o600)
        .must_report("token }", &["at least 16"]);
    config(tcp).with_file("token", TOKEN, 0o600).must_be_good();
    config("{ listen: \"unix:a.sock\", token_file: token }").must_warn("token }", &["no effect"]);
    config("{ listen: \"*:9090\" }").must_report("\"*:9090\"", &["0.0.0.0:9090"]);
    config("{ tls: {} }").must_report("{}", &["cert"]);
}

#[test]
fn the_level_of_the_log_changes_while_it_runs() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let set = |level: &str| {
        let body = format!("{{\"level\":\"{level}\"}}");
        proxy
            .admin("/log-level", &["-d", &body])
            .must_be(200)
            .json()
    };
    let says = |word: &str| {
        let said = proxy.log();
        said.iter().filter(|line| line.contains(word)).count()
    };
    assert_eq!(set("error")["level"], "error");
    // The reload logs a warning, the change of level an event of level info.
    proxy.signal(Signal::HUP);
    assert_eq!(set("info")["level"], "info");
    proxy.log_line(|line| line.contains("level was changed"));
    assert_eq!(
        says("level was changed"),
        1,
        "only what is logged is logged"
    );
    let level: Value = proxy.admin("/log-level", &[]).json();
    assert_eq!(level["level"], "info");
}
