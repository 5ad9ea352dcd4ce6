//! A state and a CA that are broken or mean harm.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::authority::{Ca, state_files};
use crate::harness::{Authority, Leaf, Origin, Proxy, TIMEOUT, becomes_true};

#[test]
fn a_state_that_cannot_be_used_is_told_of_and_replaced() {
    let ca = Ca::start(&["app.test"]);
    let origin = Origin::echo();
    let mut proxy = ca
        .proxy("")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .start();
    let mut before = ca.wait_for_certificate(&proxy, "app.test");
    let state = proxy.directory().join("state");
    let pem = state_files(&proxy)
        .into_iter()
        .find(|name| name.ends_with(".pem"))
        .unwrap();
    let pem = state.join(pem);
    let stranger = Authority::new("Stranger").issue(&Leaf::server(&["other.test"]));
    let broken: [(&str, &dyn Fn()); 4] = [
        ("certificate", &|| {
            fs::write(&pem, "not a certificate").unwrap()
        }),
        ("is not for app.test", &|| {
            fs::write(&pem, stranger.key.clone() + &stranger.cert).unwrap();
        }),
        ("chmod 0600", &|| {
            fs::set_permissions(&pem, fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("not a regular file", &|| {
            fs::remove_file(&pem).unwrap();
            fs::create_dir(&pem).unwrap();
            fs::remove_dir(&pem).unwrap();
            rustix::fs::mknodat(
                rustix::fs::CWD,
                &pem,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
                0,
            )
            .unwrap();
        }),
    ];
    for (why, harm) in broken {
        harm();
        proxy = proxy.restarted();
        proxy.log_line(|line| line.contains(why));
        before = ca.wait_for_another(&proxy, "app.test", &before);
        let mode = fs::metadata(&pem).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{why}");
    }
}

#[test]
fn an_account_that_others_may_read_is_not_used() {
    let ca = Ca::start(&["app.test"]);
    let origin = Origin::echo();
    let proxy = ca
        .proxy("")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .start();
    ca.wait_for_certificate(&proxy, "app.test");
    let state = proxy.directory().join("state");
    let files = state_files(&proxy);
    let account = files.iter().find(|name| name.contains("account")).unwrap();
    fs::set_permissions(state.join(account), fs::Permissions::from_mode(0o640)).unwrap();
    let pem = files.iter().find(|name| name.ends_with(".pem")).unwrap();
    fs::remove_file(state.join(pem)).unwrap();
    let proxy = proxy.restarted();
    proxy.log_line(|line| {
        line.contains("a certificate could not be had") && line.contains("chmod 0600")
    });
}

/// What a CA does that is none.
#[derive(Clone, Copy)]
enum Answer {
    Bytes(&'static [u8]),
    /// This body.
    Json(&'static str),
    /// A body without an end.
    Endless,
}

#[test]
fn a_directory_that_answers_with_anything_else_is_told_of_and_costs_nothing() {
    let cases = [
        (Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), "not ACME"),
        (
            Answer::Bytes(b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"),
            "redirects to another URL, which is not followed",
        ),
        (Answer::Bytes(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"), "503 Service Unavailable"),
        (Answer::Bytes(b"220 mail ESMTP\r\n\r\n"), "no HTTP"),
        (Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"), "more than 1048576 bytes"),
        (Answer::Endless, "more than 1048576 bytes"),
        (
            Answer::Json(
                "{\"newNonce\":\"http://127.0.0.1:1/nonce\",\"newAccount\":\"http://127.0.0.1:1/\",\
                 \"newOrder\":\"file:///etc/passwd\",\"meta\":{}}",
            ),
            "not https",
        ),
    ];
    crate::harness::at_once(cases, |(answer, why)| {
        let authority = Authority::new("CA of the directory");
        let ca =
            Origin::tls(&authority.issue(&Leaf::server(&["127.0.0.1"]))).serve(move |stream| {
                let _ = stream.read();
                match answer {
                    Answer::Bytes(bytes) => stream.send(bytes),
                    Answer::Json(text) => {
                        let len = text.len();
                        stream.send(format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n{text}"
                        ));
                    }
                    Answer::Endless => {
                        let mut text =
                            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
                        while stream.try_send(&text).is_ok() {
                            text.clear();
                            write!(text, "1000\r\n{}\r\n", "x".repeat(4096)).unwrap();
                        }
                    }
                }
                // It keeps the connection.
                while stream.read().is_ok_and(|data| !data.is_empty()) {}
            });
        let origin = Origin::echo();
        let proxy = Proxy::builder()
            .file("directory-ca.pem", authority.pem())
            .top(&format!(
                "acme: {{ ca: {{ directory: \"https://{}/dir\", ca: directory-ca.pem, state: state }} }}",
                ca.listen_addr()
            ))
            .admin()
            .endpoint("edge", "tls")
            .route("terminate", "app.test", &origin)
            .with_certificate("{ acme: ca, names: [app.test] }")
            .start();
        let mut told = String::new();
        let is_told = becomes_true(TIMEOUT, || {
            told = proxy.probe("/readyz").body;
            told.contains(why)
        });
        assert!(is_told, "{why}: {told}");
        drop(proxy);
        drop(Arc::new(ca));
    });
}

#[test]
fn a_directory_that_nobody_vouches_for_gets_no_request() {
    let authority = Authority::new("CA of the directory");
    let ca = Origin::tls(&authority.issue(&Leaf::server(&["127.0.0.1"]))).echo();
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top(&format!(
            "acme: {{ ca: {{ directory: \"https://{}/dir\", state: state }} }}",
            ca.listen_addr()
        ))
        .endpoint("edge", "tls")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: ca, names: [app.test] }")
        .start();
    proxy.log_line(|line| line.contains("a certificate could not be had"));
    assert_eq!(ca.bytes(), 0);
    drop(proxy);
}
