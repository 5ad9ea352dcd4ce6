//! The admin listener on a TCP address: TLS, roles, the page of another site, and who asked for a change.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::harness::{
    ConfigCheck, Leaf, Origin, Proxy, ProxyBuilder, TIMEOUT, ctl, curl, eventually, pki,
};

const READ: &str = "0b5e1e0f6a7c49d2b1a8c3d4e5f60718";
const OPERATE: &str = "1b5e1e0f6a7c49d2b1a8c3d4e5f60718";
const BARE: &str = "2b5e1e0f6a7c49d2b1a8c3d4e5f60718";

/// A proxy with TLS on its admin listener, tokens of every role, and clients' certificates of `alice` and of
/// a stranger. `more` are further keys of `admin.tls`.
fn draft(origin: &Origin, more: &str) -> ProxyBuilder {
    let admin = pki().edge(&["admin.test", "127.0.0.1"]);
    let alice = pki().client("alice");
    let stranger = pki().stranger.issue(&Leaf::client("stranger"));
    let mut draft = Proxy::builder()
        .forward(origin)
        .file("token", format!("read:{READ}\noperate:{OPERATE}\n{BARE}\n"))
        .file("read-token", format!("read:{READ}\n"))
        .file("edge-ca.pem", pki().edge.pem())
        .file("admin.pem", &admin.cert)
        .file("admin.key", &admin.key);
    for (name, identity) in [("alice", alice), ("stranger", stranger)] {
        let both = format!("{}{}", identity.cert, identity.key);
        draft = draft.file(&format!("{name}.pem"), both);
    }
    draft.top(&format!(
        "admin: {{ listen: \"127.0.0.1:0\", token_file: token, tls: {{ cert: admin.pem, key: admin.key{more} }} }}"
    ))
}

const BOTH: &str = ", client_ca: client-ca.pem";

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn file(proxy: &Proxy, name: &str) -> String {
    proxy.directory().join(name).display().to_string()
}

/// The status of a request with these arguments of curl; 0 if the handshake fails.
fn status(proxy: &Proxy, path: &str, more: &[&str]) -> u16 {
    let url = format!("https://{}{path}", proxy.admin_listener("admin"));
    let ca = file(proxy, "edge-ca.pem");
    curl(&[&["--cacert", &ca], more, &[url.as_str()]].concat()).status
}

#[test]
fn with_a_client_ca_and_tokens_both_are_needed() {
    let origin = Origin::echo();
    let proxy = draft(&origin, BOTH).start();
    let alice = file(&proxy, "alice.pem");
    let stranger = file(&proxy, "stranger.pem");
    let (read, operate, bare) = (&bearer(READ), &bearer(OPERATE), &bearer(BARE));
    let wrong = &bearer("3b5e1e0f6a7c49d2b1a8c3d4e5f60718");
    let kill = ["-d", "{\"id\":\"1\"}"];
    let with_alice =
        |path: &str, more: &[&str]| status(&proxy, path, &[&["--cert", &alice], more].concat());
    assert_eq!(
        status(&proxy, "/status", &["-H", bare]),
        0,
        "no certificate"
    );
    let other = ["--cert", &stranger, "-H", bare];
    assert_eq!(status(&proxy, "/status", &other), 0, "another CA");
    assert_eq!(with_alice("/status", &[]), 401);
    assert_eq!(with_alice("/status", &["-H", wrong]), 401);
    assert_eq!(with_alice("/kill", &kill), 401);
    for (token, query, plan, change, stop) in [
        (read, 200, 200, 403, 403),
        (operate, 200, 200, 404, 403),
        (bare, 200, 200, 404, 200),
    ] {
        let request =
            |path: &str, more: &[&str]| with_alice(path, &[&["-H", token], more].concat());
        for path in [
            "/status",
            "/connections",
            "/origins",
            "/certificates",
            "/config",
            "/metrics",
        ] {
            assert_eq!(request(path, &[]), query, "{token} {path}");
        }
        let limits = ["-d", "{\"endpoint\":\"forward\"}"];
        assert_eq!(request("/limits", &limits), query, "{token}");
        assert_eq!(
            request("/reload", &["-d", "{\"plan\":true}"]),
            plan,
            "{token}"
        );
        assert_eq!(request("/kill", &kill), change, "{token}");
        assert_eq!(request("/stop", &["-d", ""]), stop, "{token}");
    }
}

#[test]
fn a_read_token_is_refused_on_every_change_and_none_is_made() {
    let origin = Origin::echo();
    let proxy = draft(&origin, "").start();
    let client = proxy.dial("forward");
    let read = bearer(READ);
    for (path, body) in [
        ("/kill", "{\"id\":\"1\"}"),
        ("/reload", ""),
        ("/drain", "{\"endpoint\":\"forward\"}"),
        ("/stop", ""),
        ("/log-level", "{\"level\":\"trace\"}"),
        (
            "/origin",
            "{\"upstream\":\"upstream-0\",\"origin\":\"127.0.0.1\",\"action\":\"disable\"}",
        ),
    ] {
        assert_eq!(
            status(&proxy, path, &["-H", &read, "-d", body]),
            403,
            "{path}"
        );
        let line = proxy.log_line(|line| line.contains(&format!("\"change\":\"{path}")));
        assert!(
            line.contains("is refused") && line.contains("\"by\":\"token read\""),
            "{line}"
        );
    }
    assert_eq!(status(&proxy, "/healthz", &["-H", &read]), 200);
    client.must_echo(b"still here");
}

#[test]
fn every_change_is_logged_with_who_asked() {
    let origin = Origin::echo();
    let proxy = draft(&origin, BOTH).start();
    let (alice, operate) = (file(&proxy, "alice.pem"), bearer(OPERATE));
    let level = ["-d", "{\"level\":\"debug\"}"];
    let more = ["--cert", &alice, "-H", &operate];
    assert_eq!(
        status(&proxy, "/log-level", &[&more[..], &level].concat()),
        200
    );
    let line = proxy.log_line(|line| line.contains("\"change\":\"/log-level"));
    for part in [
        "\"by\":\"certificate CN=alice, token operate\"",
        "\"from\":\"127.0.0.1:",
        "\"status\":200",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(status(&proxy, "/status", &more), 200);
    assert!(
        !proxy
            .log()
            .iter()
            .any(|line| line.contains("\"change\":\"/status"))
    );

    let local = Proxy::builder().forward(&origin).admin().start();
    local.ctl(&["log-level", "debug"]).must_exit_with(0);
    let line = local.log_line(|line| line.contains("\"change\":\"/log-level"));
    let uid = rustix::process::geteuid().as_raw();
    assert!(line.contains(&format!("\"by\":\"uid {uid}\"")), "{line}");
}

/// Whoever guesses tokens is in the log, which such requests cannot fill.
#[test]
fn wrong_tokens_and_other_pages_are_one_line_a_minute() {
    let origin = Origin::echo();
    let proxy = draft(&origin, "").start();
    let wrong = bearer("3b5e1e0f6a7c49d2b1a8c3d4e5f60718");
    // A browser asks for the page first, and then its user.
    assert_eq!(status(&proxy, "/dashboard", &[]), 401);
    assert_eq!(status(&proxy, "/kill", &["-H", &wrong, "-d", "{}"]), 401);
    let is_told = |line: &str| line.contains("a request to a listener of `admin` is refused");
    let line = proxy.log_line(is_told);
    for part in [
        "\"listener\":\"admin\"",
        "\"why\":\"the token is missing or wrong\"",
        "\"from\":\"127.0.0.1:",
        "\"times\":1",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("3b5e1e0f"), "{line}");
    for headers in [&wrong, "Origin: https://evil.test", "Host: evil.test"] {
        assert!(status(&proxy, "/status", &["-H", headers]) >= 401);
    }
    // What follows it in the log was written after them.
    let level = ["-H", &bearer(OPERATE), "-d", "{\"level\":\"info\"}"];
    assert_eq!(status(&proxy, "/log-level", &level), 200);
    proxy.log_line(|line| line.contains("\"change\":\"/log-level"));
    let told = proxy.log().into_iter().filter(|line| is_told(line));
    assert_eq!(told.count(), 1);
}

#[test]
fn a_hostile_name_in_a_certificate_stays_on_its_line() {
    let origin = Origin::echo();
    let name = "x\",\"by\":\"root\n\u{202e}<img src=x>";
    let hostile = pki().clients.issue(&Leaf::client("x").common_name(name));
    let proxy = draft(&origin, BOTH)
        .file("hostile.pem", format!("{}{}", hostile.cert, hostile.key))
        .start();
    let (cert, token) = (file(&proxy, "hostile.pem"), bearer(OPERATE));
    let level = ["--cert", &cert, "-H", &token, "-d", "{\"level\":\"debug\"}"];
    assert_eq!(status(&proxy, "/log-level", &level), 200);
    let line = proxy.log_line(|line| line.contains("\"change\":\"/log-level"));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let by = line["by"].as_str().unwrap();
    assert!(
        by.starts_with("certificate CN=x\\") && by.ends_with(", token operate"),
        "{by}"
    );
    assert!(!by.contains(['\n', '\u{202e}']), "{by}");
}

#[test]
fn ctl_speaks_tls_with_what_flags_or_the_configuration_name() {
    let origin = Origin::echo();
    let proxy = draft(&origin, BOTH).start();
    let place = format!("https://{}", proxy.admin_listener("admin"));
    let name = |name: &str| file(&proxy, name);
    let (ca, alice, token) = (name("edge-ca.pem"), name("alice.pem"), name("token"));
    let flags = ["--ca", &ca, "--cert", &alice, "--token-file", &token];
    ctl(&[&["status", "--admin", &place][..], &flags].concat(), &[]).must_exit_with(0);
    let by_variable = [("RESEAL_ADMIN", place.as_str())];
    ctl(&[&["status"][..], &flags].concat(), &by_variable).must_exit_with(0);

    // The token of most rights is taken from a file with several.
    ctl(
        &[&["log-level", "debug"][..], &flags].concat(),
        &by_variable,
    )
    .must_exit_with(0);
    let read = name("read-token");
    let reading = ["--ca", &ca, "--cert", &alice, "--token-file", &read];
    ctl(&[&["status"][..], &reading].concat(), &by_variable).must_exit_with(0);
    ctl(
        &[&["log-level", "debug"][..], &reading].concat(),
        &by_variable,
    )
    .must_exit_with(1)
    .must_print("may only query");

    // The configuration names the very certificate, so no CA and no name is needed.
    let text = proxy.text().replace(
        "127.0.0.1:0\", token_file",
        &format!("{}\", token_file", proxy.admin_listener("admin")),
    );
    let config = proxy
        .directory()
        .write("running.yaml", text)
        .display()
        .to_string();
    ctl(&["status", "--config", &config, "--cert", &alice], &[]).must_exit_with(0);

    let wrong_ca = name("stranger-ca.pem");
    let refused = [
        "status",
        "--ca",
        &wrong_ca,
        "--cert",
        &alice,
        "--token-file",
        &token,
    ];
    ctl(&refused, &by_variable)
        .must_exit_with(1)
        .must_print("--ca FILE");
    ctl(
        &["status", "--cert", &alice, "--token-file", &token],
        &by_variable,
    )
    .must_exit_with(1)
    .must_print("--ca FILE");
    ctl(
        &["status", "--ca", &ca, "--token-file", &token],
        &by_variable,
    )
    .must_exit_with(1)
    .must_print("--cert FILE");
    ctl(&["status", "--ca", &ca, "--cert", &alice], &by_variable)
        .must_exit_with(1)
        .must_print("token");
    let by_other_name = place.replace("127.0.0.1", "localhost");
    let refused = [&["status", "--admin", &by_other_name][..], &flags].concat();
    ctl(&refused, &[])
        .must_exit_with(1)
        .must_print("not valid for");
}

#[test]
fn a_client_ca_alone_lets_its_certificates_do_everything() {
    let origin = Origin::echo();
    let admin = pki().edge(&["127.0.0.1"]);
    let alice = pki().client("alice");
    let proxy = Proxy::builder()
        .forward(&origin)
        .file("edge-ca.pem", pki().edge.pem())
        .file("admin.pem", format!("{}{}", admin.cert, admin.key))
        .file("alice.pem", format!("{}{}", alice.cert, alice.key))
        .top("admin: { listen: \"127.0.0.1:0\", tls: { cert: admin.pem, client_ca: client-ca.pem } }")
        .start();
    let alice = file(&proxy, "alice.pem");
    assert_eq!(status(&proxy, "/status", &[]), 0);
    assert_eq!(status(&proxy, "/status", &["--cert", &alice]), 200);
    assert_eq!(status(&proxy, "/stop", &["--cert", &alice, "-d", ""]), 200);
}

#[test]
fn renewed_certificates_and_tokens_are_in_force_without_a_restart() {
    let origin = Origin::echo();
    let proxy = draft(&origin, "").start();
    let fingerprint = || {
        let place = proxy.admin_listener("admin").to_string();
        let shown = crate::harness::output("openssl", &["s_client", "-connect", &place], "");
        let begin = shown.stdout.find("-----BEGIN")?;
        let end = shown.stdout.find("-----END")?;
        Some(shown.stdout[begin..end].to_owned())
    };
    let before = fingerprint();
    assert!(before.is_some());
    let renewed = pki().edge(&["admin.test", "127.0.0.1"]);
    proxy.directory().write("admin.pem", &renewed.cert);
    proxy.directory().write("admin.key", &renewed.key);
    eventually("the new certificate is presented", || {
        fingerprint() != before
    });

    let (old, new) = (bearer(BARE), bearer("3b5e1e0f6a7c49d2b1a8c3d4e5f60718"));
    proxy
        .directory()
        .write("token", "3b5e1e0f6a7c49d2b1a8c3d4e5f60718\n");
    eventually("the new token is taken", || {
        status(&proxy, "/status", &["-H", &new]) == 200
    });
    assert_eq!(status(&proxy, "/status", &["-H", &old]), 401);

    // A file that holds no token keeps the tokens in force.
    proxy
        .directory()
        .write("token", "reed:4b5e1e0f6a7c49d2b1a8c3d4e5f60718\n");
    proxy.log_line(|line| line.contains("is no role"));
    assert_eq!(status(&proxy, "/status", &["-H", &new]), 200);
}

#[test]
fn a_reload_changes_tokens_and_tls_and_the_address_needs_a_restart() {
    let origin = Origin::echo();
    let proxy = draft(&origin, "")
        .file("other", format!("{READ}x\n"))
        .start();
    let token = bearer(&format!("{READ}x"));
    proxy.reload(
        &proxy
            .text()
            .replace("token_file: token", "token_file: other"),
    );
    assert_eq!(status(&proxy, "/status", &["-H", &token]), 200);
    assert_eq!(status(&proxy, "/status", &["-H", &bearer(BARE)]), 401);
    let url = format!("https://{}/config", proxy.admin_listener("admin"));
    let config = curl(&["-k", "-H", &token, &url]).must_be(200).json();
    assert!(
        config["yaml"]
            .as_str()
            .unwrap()
            .contains("token_file: other"),
        "{config}"
    );

    let moved = proxy.text().replace(
        "listen: \"127.0.0.1:0\", token",
        "listen: \"127.0.0.2:0\", token",
    );
    let lines = proxy.reload(&moved);
    assert!(
        lines.iter().any(|line| line.contains("restart needed")),
        "{lines:?}"
    );
    assert_eq!(status(&proxy, "/status", &["-H", &token]), 200, "as before");
}

#[test]
fn pages_of_other_sites_can_neither_query_nor_change() {
    let origin = Origin::echo();
    let proxy = draft(&origin, "").start();
    let address = proxy.admin_listener("admin");
    let ours = format!("Origin: https://{address}");
    let token = bearer(OPERATE);
    let basic = "Authorization: Basic OjFiNWUxZTBmNmE3YzQ5ZDJiMWE4YzNkNGU1ZjYwNzE4";
    let level = ["-d", "{\"level\":\"info\"}"];
    let with = |more: &[&str], extra: &[&str]| {
        let path = if extra.is_empty() {
            "/status"
        } else {
            "/log-level"
        };
        status(&proxy, path, &[more, extra].concat())
    };
    for (headers, get, post) in [
        (&[ours.as_str()][..], 200, 200),
        (&[&ours, "Sec-Fetch-Site: same-origin"], 200, 200),
        (&["Origin: https://evil.test"], 403, 403),
        (&["Origin: null"], 403, 403),
        (&["Origin: http://127.0.0.1"], 403, 403),
        (&[&ours, "Origin: https://evil.test"], 403, 403),
        (&["Sec-Fetch-Site: cross-site"], 403, 403),
        (&["Sec-Fetch-Site: same-site"], 403, 403),
        (&[&ours, "Sec-Fetch-Site: cross-site"], 403, 403),
        (&["Sec-Fetch-Site: none"], 200, 403),
        (&["Host: evil.test"], 403, 403),
        (&["Host: localhost"], 200, 200),
        (&["Host: admin.test"], 200, 200),
        (&["Host: admin.test.evil.test"], 403, 403),
    ] {
        let mut more = vec!["-H", token.as_str()];
        for header in headers {
            more.extend(["-H", header]);
        }
        assert_eq!(with(&more, &[]), get, "GET {headers:?}");
        assert_eq!(with(&more, &level), post, "POST {headers:?}");
    }
    // A browser adds this to requests of any page, so those that change something must name theirs.
    assert_eq!(with(&["-H", basic], &[]), 200);
    assert_eq!(with(&["-H", basic], &level), 403);
    assert_eq!(with(&["-H", basic, "-H", &ours], &level), 200);
}

#[test]
fn a_client_that_speaks_plain_http_is_told_to_use_tls() {
    let origin = Origin::echo();
    let proxy = draft(&origin, "").start();
    let answer = curl(&[format!("http://{}/status", proxy.admin_listener("admin"))]);
    answer.must_be(400);
    assert!(answer.body.contains("https://"), "{}", answer.body);
}

/// Clients that have sent `begun` and nothing more.
fn stalled(address: SocketAddr, begun: &[u8], count: usize) -> Vec<TcpStream> {
    let clients = (0..count).map(|_| {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(begun);
        stream
    });
    clients.collect()
}

#[test]
fn stalled_handshakes_block_nobody_and_end_at_their_deadline() {
    let origin = Origin::echo();
    let proxy = draft(&origin, "").start();
    let address = proxy.admin_listener("admin");
    let bare = bearer(BARE);
    // One crowd after the other: a newer connection takes the place of the oldest without a request.
    let crowds = [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\x16",
        b"\x16\x03\x01\xff\xff",
    ];
    let crowds = crowds.map(|begun| {
        let clients = stalled(address, begun, 60);
        assert_eq!(status(&proxy, "/status", &["-H", &bare]), 200, "{begun:?}");
        clients
    });
    for mut last in crowds.into_iter().filter_map(|mut clients| clients.pop()) {
        last.set_read_timeout(Some(TIMEOUT)).unwrap();
        // Closed or reset, perhaps after an alert.
        let _ = last.read_to_end(&mut Vec::new());
    }
    let garbage = stalled(address, b"\x16\x03\x01\x00\x05hello", 60);
    assert_eq!(status(&proxy, "/status", &["-H", &bare]), 200);
    drop(garbage);
}

#[test]
fn what_is_wrong_about_tls_and_tokens_is_said_before_the_start() {
    let config = |admin: &str| {
        ConfigCheck::new(&format!(
            "admin: {admin}\n\
             endpoints:\n  - {{ name: e, listen: \"127.0.0.1:0\", protocol: tcp, routes: [{{ name: r, \
             mode: forward, upstream: o }}] }}\n\
             upstreams: {{ o: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
        ))
        .with_identity("a", &pki().edge(&["admin.test"]))
        .with_file("ca.pem", pki().clients.pem(), 0o644)
    };
    let tls = "tls: { cert: a.pem, key: a.key }";
    config(&format!("{{ listen: \"127.0.0.1:0\", {tls} }}"))
        .must_report("\"127.0.0.1:0\"", &["needs `token_file`", "client_ca"]);
    config("{ listen: \"127.0.0.1:0\", tls: { cert: a.pem, key: a.key, client_ca: ca.pem } }")
        .must_be_good();
    config(&format!("{{ listen: \"unix:a.sock\", {tls} }}"))
        .must_warn("{ cert: a.pem, key: a.key }", &["`tls` has no effect"]);
    config("{ listen: \"127.0.0.1:0\", tls: { cert: a.pem, key: none.key, client_ca: ca.pem } }")
        .must_report("none.key", &["cannot be read"]);
    config("{ listen: \"127.0.0.1:0\", tls: { cert: a.pem, key: a.key, client_ca: [] } }")
        .must_report("[]", &["an empty list"]);
    config("{ listen: \"0.0.0.0:0\", token_file: token }")
        .with_file("token", BARE, 0o600)
        .must_warn("\"0.0.0.0:0\"", &["clear text"]);
    for (token, why) in [
        (format!("reed:{READ}"), "no role"),
        ("read:short".to_owned(), "at least 16"),
        (format!("{READ}\nread:{READ}"), "twice"),
        ("\n".to_owned(), "no token"),
    ] {
        config("{ listen: \"127.0.0.1:0\", token_file: token }")
            .with_file("token", token, 0o600)
            .must_report("token }", &[why]);
    }
    let expired = pki().edge.issue(&Leaf::server(&["admin.test"]).expired());
    config("{ listen: \"127.0.0.1:0\", tls: { cert: old.pem, key: old.key, client_ca: ca.pem } }")
        .with_identity("old", &expired)
        .must_warn("old.pem", &["expired"]);
}

#[test]
fn the_certificate_of_the_admin_listener_is_listed() {
    let origin = Origin::echo();
    let proxy = draft(&origin, "").start();
    let url = format!("https://{}/certificates", proxy.admin_listener("admin"));
    let ca = file(&proxy, "edge-ca.pem");
    let listed = curl(&["--cacert", &ca, "-H", &bearer(READ), &url])
        .must_be(200)
        .json();
    let admin = &listed["admin_certificates"][0];
    assert_eq!(admin["names"][0], "admin.test");
    assert!(admin["seconds_left"].as_i64().unwrap() > 0);
}
