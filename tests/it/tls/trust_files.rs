//! Files of certificates, keys and CRLs in the forms of other programs: read in full, or refused with file,
//! line and a fix that works.

use std::process::Command;

use crate::harness::{
    ConfigCheck, Directory, End, Leaf, List, Origin, Proxy, command, finish, output, pki,
};

const REVOKED: u64 = 4712;

fn checked(certificate: &str, client_auth: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "endpoints:
  - name: edge
    listen: 127.0.0.1:4430
    tls:
      certificates: [{certificate}]
    routes:
      - name: a
        match: {{ sni: a.test }}
        mode: terminate
        upstream: up
        client_auth: {client_auth}
upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"] }} }}
"
    ))
}

fn joined(first: &str, second: &str) -> String {
    format!("{}{second}", first.trim_end())
}

#[test]
fn a_file_that_was_joined_on_one_line_is_refused_with_that_line() {
    let (own, edge) = (pki().clients.pem(), pki().edge.pem());
    let line = own.trim_end().lines().count();
    checked(
        "{ cert: good.pem, key: good.key }",
        "{ mode: required, ca: [edge-ca.pem, joined.pem] }",
    )
    .with_file("joined.pem", joined(&own, &edge), 0o644)
    .must_report("joined.pem", &[&format!("joined.pem:{line}: "), "glued"]);

    let lists = joined(
        &List::of(&[1]).pem(&pki().clients),
        &List::of(&[REVOKED]).pem(&pki().edge),
    );
    checked(
        "{ cert: good.pem, key: good.key }",
        "{ mode: required, ca: client-ca.pem, crl: joined.crl, crl_unknown: allow }",
    )
    .with_file("joined.crl", lists, 0o644)
    .must_report("joined.crl", &["joined.crl:", "glued"]);
}

#[test]
fn a_list_with_a_byte_order_mark_or_the_old_label_revokes() {
    let origin = Origin::echo();
    let list = List::of(&[REVOKED]).pem(&pki().clients);
    let mallory = pki()
        .clients
        .issue(&Leaf::client("mallory").serial(REVOKED));
    for text in [
        format!("\u{feff}{list}"),
        list.replace("X509 CRL", "CRL"),
        list.replace('\n', "\r"),
        format!("last Monday's\n    {}", list.replace('\n', "\n    ")),
    ] {
        let proxy = Proxy::builder()
            .terminate("a.test", &origin)
            .on_route(
                "client_auth: { mode: required, ca: client-ca.pem, crl: clients.crl, crl_unknown: allow }",
            )
            .file("clients.crl", text)
            .start();
        const CERTIFICATE_REVOKED: u8 = 44;
        let client = proxy.client("a.test").certificate(&mallory);
        assert_eq!(client.refusal(), End::Alert(CERTIFICATE_REVOKED));
        proxy.outcome().must_be("client_cert_revoked");
    }
}

/// Runs an openssl command in a directory.
fn openssl(directory: &Directory, arguments: &str) {
    let mut openssl = command("openssl");
    openssl
        .args(arguments.split(' '))
        .current_dir(directory.path());
    finish(openssl, b"").must_exit_with(0);
}

/// The command that is suggested for this file, with the names replaced.
fn suggested_command(checked: &ConfigCheck, file: &str, new: &str) -> String {
    let suggestion = checked.check(&[]);
    suggestion.must_exit_with(1);
    let text = suggestion.text();
    let starts = |line: &'static str| text.find(line);
    let at = starts("openssl ").or_else(|| starts("iconv "));
    let at = at.unwrap_or_else(|| panic!("{file}: no command in {text}"));
    let command = text[at..].lines().next().unwrap();
    let command = command.split(", and ").next().unwrap();
    let shown = checked.path().with_file_name("bad.file");
    let shown = shown.display().to_string();
    for ending in [".pem", ".plain", ".key"] {
        let name = format!("{shown}{ending}");
        if command.contains(&name) {
            return command.replace(&name, new).replace(&shown, file);
        }
    }
    panic!("{file}: the command makes no file: {command}")
}

#[test]
fn the_suggested_command_converts_another_format() {
    let made = Directory::new();
    let good = pki().edge(&["a.test", "*.wild.test"]);
    made.write("good.pem", &good.cert);
    made.write("good.key", &good.key);
    for arguments in [
        "pkey -in good.key -outform der -out key.der",
        "x509 -in good.pem -outform der -out cert.der",
        "pkcs12 -export -inkey good.key -in good.pem -passout pass: -out both.p12",
        "crl2pkcs7 -nocrl -certfile good.pem -out cert.p7b",
        "crl2pkcs7 -nocrl -certfile good.pem -outform der -out cert.p7c",
        "x509 -in good.pem -addtrust clientAuth -trustout -out trusted.pem",
    ] {
        openssl(&made, arguments);
    }
    let utf16: Vec<_> = "\u{feff}"
        .chars()
        .chain(good.cert.chars())
        .flat_map(|c| (c as u16).to_le_bytes())
        .collect();
    made.write("wide.pem", utf16);
    for (file, is_key) in [
        ("key.der", true),
        ("both.p12", true),
        ("cert.der", false),
        ("both.p12", false),
        ("cert.p7b", false),
        ("cert.p7c", false),
        ("trusted.pem", false),
        ("wide.pem", false),
    ] {
        let configuration = |name: &str| {
            let certificate = if is_key {
                format!("{{ cert: good.pem, key: {name} }}")
            } else {
                format!("{{ cert: {name}, key: good.key }}")
            };
            checked(&certificate, "{ mode: off }").with_identity("good", &good)
        };
        let bytes = std::fs::read(made.join(file)).unwrap();
        let bad = configuration("bad.file").with_file("bad.file", &bytes, 0o600);
        bad.must_report("bad.file", &["bad.file"]);
        let suggestion = suggested_command(&bad, file, "new.pem");
        // openssl prompts for a password, which is empty.
        let suggestion = suggestion.replace("pkcs12 ", "pkcs12 -passin pass: ");
        let mut shell = Command::new("sh");
        shell.args(["-c", &suggestion]).current_dir(made.path());
        finish(shell, b"").must_exit_with(0);
        let bytes = std::fs::read(made.join("new.pem")).unwrap();
        configuration("new.pem")
            .with_file("new.pem", bytes, 0o600)
            .must_be_good();
    }
}

#[test]
fn an_openssh_key_has_its_own_message() {
    let directory = Directory::new();
    let path = directory.join("ssh.key").display().to_string();
    output(
        "ssh-keygen",
        &["-q", "-t", "ecdsa", "-N", "", "-f", &path],
        "",
    )
    .must_exit_with(0);
    let bytes = std::fs::read(&path).unwrap();
    checked("{ cert: good.pem, key: ssh.key }", "{ mode: off }")
        .with_file("ssh.key", bytes, 0o600)
        .must_report(
            "ssh.key",
            &["ssh.key:1: ", "OPENSSH PRIVATE KEY", "ssh-keygen -p -m PEM"],
        );
}

#[test]
fn a_damaged_or_unsupported_key_is_reported_where_it_is_configured() {
    let key = pki().edge(&["a.test"]).key;
    let lines: Vec<_> = key.lines().collect();
    let ed448 = Directory::new();
    openssl(&ed448, "genpkey -algorithm ed448 -out ed448.key");
    let ed448 = std::fs::read_to_string(ed448.join("ed448.key")).unwrap();
    for (text, words) in [
        (key.replacen(&lines[1][..5], "@@@@@", 1), "bad.key:2: "),
        (lines[..2].join("\n"), "has no END line"),
        (format!("{key}{key}"), "a second private key"),
        (ed448, "of a kind that cannot be used"),
    ] {
        checked("{ cert: good.pem, key: bad.key }", "{ mode: off }")
            .with_file("bad.key", text, 0o600)
            .must_report("bad.key", &["bad.key:", words]);
    }
}

#[test]
fn a_world_readable_private_key_is_reported_in_a_chain_file_too() {
    let good = pki().edge(&["a.test"]);
    checked("{ cert: both.pem, key: own.key }", "{ mode: off }")
        .with_file("both.pem", format!("{}{}", good.cert, good.key), 0o644)
        .with_file("own.key", &good.key, 0o600)
        .must_report("both.pem", &["every user may read this private key"]);
}

#[test]
fn a_chain_with_anything_but_certificates_in_it_is_not_presented() {
    let good = pki().edge(&["a.test"]);
    let broken = "-----BEGIN CERTIFICATE-----\nAAAABBBBCCCC\n-----END CERTIFICATE-----\n";
    let line = good.cert.lines().count() + 1;
    checked("{ cert: chain.pem, key: own.key }", "{ mode: off }")
        .with_file("chain.pem", format!("{}{broken}", good.cert), 0o644)
        .with_file("own.key", &good.key, 0o600)
        .must_report("chain.pem", &[&format!("chain.pem:{line}: "), "damaged"]);
}

#[test]
fn a_pem_ocsp_response_has_its_own_message() {
    let good = pki().edge(&["a.test"]);
    let response = "-----BEGIN OCSP RESPONSE-----\nMAA=\n-----END OCSP RESPONSE-----\n";
    checked(
        "{ cert: own.pem, key: own.key, ocsp: own.ocsp }",
        "{ mode: off }",
    )
    .with_identity("own", &good)
    .with_file("own.ocsp", response, 0o644)
    .must_report("own.ocsp", &["own.ocsp: is PEM", "DER"]);
}

#[test]
fn explain_reports_the_defect_of_the_given_certificate() {
    let checked = checked(
        "{ cert: good.pem, key: good.key }",
        "{ mode: required, ca: client-ca.pem }",
    );
    let alice = pki().client("alice").cert;
    let directory = checked.path().parent().unwrap().to_owned();
    let path = directory.join("alice.pem");
    std::fs::write(&path, joined(&alice, &alice)).unwrap();
    let config = checked.path().display().to_string();
    let path = path.display().to_string();
    let explained = crate::harness::reseal(&[
        "explain",
        "--config",
        &config,
        "--endpoint",
        "edge",
        "--sni",
        "a.test",
        "--client-cert",
        &path,
    ]);
    explained.must_exit_with(2);
    explained
        .must_print("alice.pem:")
        .must_print("glued")
        .must_print("awk 1");
}
