//! OCSP responses from files: stapled while they are valid.

use std::path::Path;

use rcgen::SerialNumber;
use time::OffsetDateTime;

use crate::harness::{
    Authority, ConfigCheck, Directory, Identity, Leaf, Origin, Proxy, at_once, command, eventually,
    finish, output, pki,
};

const SERIAL: u64 = 0x4d;

fn identity() -> Identity {
    pki().edge.issue(&Leaf::server(&["a.test"]).serial(SERIAL))
}

/// A response of our CA for a certificate with this serial number, valid for an hour.
fn response(serial: u64, state: &str) -> Vec<u8> {
    response_of(&pki().edge, serial, state)
}

/// The same from another CA.
fn response_of(authority: &Authority, serial: u64, state: &str) -> Vec<u8> {
    let directory = Directory::new();
    directory.write("ca.pem", authority.pem());
    directory.write("ca.key", authority.key_pem());
    let hex: String = SerialNumber::from(serial)
        .to_bytes()
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    let revoked = if state == "R" { "250101000000Z" } else { "" };
    let line = format!("{state}\t401231235959Z\t{revoked}\t{hex}\tunknown\t/CN=a.test\n");
    directory.write("index.txt", line);
    let run = |arguments: &[&str]| {
        let mut openssl = command("openssl");
        openssl
            .arg("ocsp")
            .args(arguments)
            .current_dir(directory.path());
        finish(openssl, b"").must_exit_with(0);
    };
    let number = format!("0x{hex}");
    run(&[
        "-issuer",
        "ca.pem",
        "-serial",
        &number,
        "-no_nonce",
        "-reqout",
        "request",
    ]);
    run(&[
        "-index",
        "index.txt",
        "-CA",
        "ca.pem",
        "-rsigner",
        "ca.pem",
        "-rkey",
        "ca.key",
        "-reqin",
        "request",
        "-respout",
        "response",
        "-nmin",
        "60",
    ]);
    std::fs::read(directory.join("response")).unwrap()
}

/// The same response with another end. Its signature becomes invalid, which only clients check.
fn ending_at(response: Vec<u8>, end: OffsetDateTime) -> Vec<u8> {
    const NEXT_UPDATE: [u8; 4] = [0xa0, 0x11, 0x18, 0x0f];
    let at = response
        .windows(4)
        .position(|window| window == NEXT_UPDATE)
        .unwrap();
    with_time(response, at + 4, end)
}

/// The same response with another start. The field is right before its end.
fn beginning_at(response: Vec<u8>, start: OffsetDateTime) -> Vec<u8> {
    const NEXT_UPDATE: [u8; 4] = [0xa0, 0x11, 0x18, 0x0f];
    let at = response
        .windows(4)
        .position(|window| window == NEXT_UPDATE)
        .unwrap();
    with_time(response, at - 15, start)
}

fn with_time(mut response: Vec<u8>, at: usize, end: OffsetDateTime) -> Vec<u8> {
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        end.year(),
        u8::from(end.month()),
        end.day(),
        end.hour(),
        end.minute(),
        end.second()
    );
    response[at..at + 15].copy_from_slice(text.as_bytes());
    response
}

fn start(origin: &Origin, response: &[u8]) -> Proxy {
    let identity = identity();
    Proxy::builder()
        .endpoint("edge", "tls")
        .route("terminate", "a.test", origin)
        .on_tls("resumption: off")
        .file("a.pem", &identity.cert)
        .file("a.key", &identity.key)
        .file("a.ocsp", response)
        .with_certificate("{ cert: a.pem, key: a.key, ocsp: a.ocsp }")
        .start()
}

fn seen(proxy: &Proxy, version: &str) -> String {
    let address = proxy.listen_addr("edge").to_string();
    let ca: &Path = &proxy.directory().join("edge-ca.pem");
    let ca = ca.display().to_string();
    let arguments = [
        "s_client",
        "-connect",
        &address,
        "-servername",
        "a.test",
        "-CAfile",
        &ca,
        "-status",
        version,
    ];
    output("openssl", &arguments, "").text()
}

#[test]
fn a_response_is_stapled_until_its_next_update() {
    let origin = Origin::echo();
    let good = response(SERIAL, "V");
    let proxy = start(&origin, &good);
    for version in ["-tls1_2", "-tls1_3"] {
        let seen = seen(&proxy, version);
        assert!(seen.contains("OCSP Response Status: successful"), "{seen}");
        assert!(
            seen.contains("Cert Status: good") && seen.contains("Verify return code: 0"),
            "{seen}"
        );
    }
    let brief = ending_at(good, OffsetDateTime::now_utc() + time::Duration::seconds(3));
    let proxy = start(&origin, &brief);
    assert!(seen(&proxy, "-tls1_3").contains("OCSP Response Status: successful"));
    eventually("it is no longer stapled", || {
        seen(&proxy, "-tls1_3").contains("OCSP response: no response sent")
    });
}

#[test]
fn an_unsuitable_response_is_reported_and_not_stapled() {
    let good = response(SERIAL, "V");
    let hour_ago = OffsetDateTime::now_utc() - time::Duration::hours(1);
    let soon = OffsetDateTime::now_utc() + time::Duration::minutes(30);
    let responses = [
        (response(SERIAL, "R"), "revoked"),
        (response(SERIAL + 1, "V"), "another certificate"),
        (
            response_of(&pki().stranger, SERIAL, "V"),
            "a certificate of another issuer",
        ),
        (ending_at(good.clone(), hour_ago), "expired on"),
        (beginning_at(good.clone(), soon), "not stapled before"),
    ];
    at_once(responses, |(response, words)| {
        let proxy = start(&Origin::echo(), &response);
        assert!(
            seen(&proxy, "-tls1_3").contains("no response sent"),
            "{words}"
        );
        checked(&response).must_warn("a.pem", &["a.ocsp", words]);
    });
    checked(&good).must_be_good();
}

#[test]
fn an_issuer_in_the_file_must_match_the_responder_by_key() {
    let response_of_namesake = response_of(&Authority::new("Edge CA"), SERIAL, "V");
    let with_issuer =
        |response: &[u8]| checked(response).with_identity("a", &identity().below(&[&pki().edge]));
    with_issuer(&response_of_namesake)
        .must_warn("a.pem", &["a.ocsp", "a certificate of another issuer"]);
    with_issuer(&response(SERIAL, "V")).must_be_good();
}

fn checked(response: &[u8]) -> ConfigCheck {
    ConfigCheck::new(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: { certificates: [{ cert: a.pem, key: a.key, ocsp: a.ocsp }] }\n\
         \x20   routes: [{ name: a, mode: terminate, upstream: up, match: { sni: a.test } }]\n\
         upstreams:\n\
         \x20 up: { origins: [\"127.0.0.1:9\"] }\n",
    )
    .with_identity("a", &identity())
    .with_file("a.ocsp", response, 0o644)
}
