//! Real clients and servers whose TLS begins inside their protocol, in every mode that applies.

use std::process::Command;

use super::services::{postgres, with_certificate};
use crate::harness::{Directory, Finished, Proxy, ProxyBuilder, Service, command, finish, output};

/// An edge that speaks `protocol` to clients, with a certificate for `localhost`.
pub fn edge(protocol: &str) -> ProxyBuilder {
    Proxy::builder()
        .endpoint("edge", "tls")
        .on_endpoint(&format!("negotiate: {protocol}"))
}

/// TLS to an origin whose certificate is that of [`with_certificate`].
pub fn sealed(protocol: &str) -> String {
    format!("{{ ca: origin-ca.pem, server_name: localhost, negotiate: {protocol} }}")
}

/// The three modes over an origin with TLS inside `protocol`.
pub fn with_tls(protocol: &str, origin: &Service) -> [(&'static str, Proxy); 2] {
    let reencrypt = edge(protocol)
        .reencrypt("localhost", origin)
        .origin_tls(&sealed(protocol));
    let passthrough = edge(protocol)
        .passthrough("localhost", origin)
        .origin_tls(&sealed(protocol));
    [
        ("reencrypt", reencrypt.start()),
        ("passthrough", passthrough.start()),
    ]
}

fn psql(directory: &Directory, port: u16, more: &str) -> Finished {
    let trust = directory.join("trust.pem").display().to_string();
    let to = format!(
        "host=localhost hostaddr=127.0.0.1 port={port} user=tester dbname=postgres \
         sslrootcert={trust} connect_timeout=10 {more}"
    );
    let query = "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    output("psql", &["-X", "-A", "-t", "-d", &to, "-c", query], "")
}

#[test]
fn psql_asks_for_tls_in_every_mode() {
    let directory = with_certificate();
    let origin = postgres(&directory, true);
    let versions = ["TLSv1.2", "TLSv1.3"];
    let terminate = edge("postgres").terminate("localhost", &origin).start();
    for version in versions {
        let more = format!("sslmode=verify-full ssl_max_protocol_version={version}");
        let port = terminate.listen_addr("edge").port();
        let finished = psql(&directory, port, &more);
        finished.must_exit_with(0);
        assert_eq!(finished.stdout.trim(), "f|", "the origin's leg is plain");
        terminate.outcome().must_have("tls_version", version);
    }
    for (mode, proxy) in with_tls("postgres", &origin) {
        for version in versions {
            let more = format!("sslmode=verify-full ssl_max_protocol_version={version}");
            let finished = psql(&directory, proxy.listen_addr("edge").port(), &more);
            finished.must_exit_with(0);
            assert!(
                finished.stdout.starts_with("t|TLS"),
                "{mode}: {}",
                finished.text()
            );
            proxy
                .outcome()
                .must_have("sni", "localhost")
                .must_have("stage", "relay");
        }
    }
    // Without TLS, the client is told so by an error of PostgreSQL.
    let refused = psql(
        &directory,
        terminate.listen_addr("edge").port(),
        "sslmode=disable",
    );
    assert!(
        refused.stderr.contains("FATAL:  TLS is required"),
        "{}",
        refused.text()
    );
    terminate.outcome().must_be("negotiate_refused");
}

#[test]
fn a_plain_client_of_postgresql_reaches_an_origin_over_tls() {
    let directory = with_certificate();
    let origin = postgres(&directory, true);
    let proxy = Proxy::builder()
        .originate(&origin)
        .origin_tls(&sealed("postgres"))
        .start();
    let port = proxy.listen_addr("originate").port();
    let finished = psql(&directory, port, "sslmode=disable");
    finished.must_exit_with(0);
    assert!(finished.stdout.starts_with("t|TLS"), "{}", finished.text());
}

#[test]
fn an_origin_without_tls_is_refused_and_told_by_its_checks() {
    let directory = with_certificate();
    let origin = postgres(&directory, false);
    let proxy = edge("postgres")
        .reencrypt("localhost", &origin)
        .origin_tls(&sealed("postgres"))
        .on_upstream("health: { check: tls, interval: 200ms, fall: 1 }")
        .start();
    proxy.log_line(|line| line.contains("origin_tls_refused"));
    let finished = psql(
        &directory,
        proxy.listen_addr("edge").port(),
        "sslmode=require",
    );
    assert_ne!(finished.code, Some(0));
    let record = proxy.outcome();
    assert!(
        ["origin_tls_refused", "no_origin"].contains(&record.reason()),
        "{record:?}"
    );
}

/// OpenLDAP with TLS by StartTLS and plain, over an empty database.
fn slapd(directory: &Directory) -> Service {
    let root = directory.path().display().to_string();
    let config = format!(
        "include /etc/ldap/schema/core.schema\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\n\
         TLSCertificateFile {root}/origin.pem\nTLSCertificateKeyFile {root}/origin.key\n\
         database mdb\nmaxsize 1048576\nsuffix dc=test\nrootdn cn=admin,dc=test\nrootpw secret\n\
         directory {root}\n"
    );
    let config = directory.write("slapd.conf", config);
    Service::start(|port| {
        let mut slapd: Command = command("slapd");
        slapd.arg("-f").arg(&config);
        slapd.args(["-h", &format!("ldap://127.0.0.1:{port}"), "-d", "0"]);
        slapd
    })
}

#[test]
fn ldapsearch_begins_tls_in_every_mode() {
    // An unbind, after which the server ends the connection.
    const UNBIND: &str = "\x30\x05\x02\x01\x01\x42\0";
    let directory = with_certificate();
    let origin = slapd(&directory);
    let terminate = edge("ldap").terminate("localhost", &origin).start();
    let proxies = [("terminate", terminate)]
        .into_iter()
        .chain(with_tls("ldap", &origin));
    for (mode, proxy) in proxies {
        let port = proxy.listen_addr("edge").port();
        let url = format!("ldap://localhost:{port}");
        let search = |more: &[&str]| {
            let mut command: Command = command("ldapsearch");
            command.args(["-H", &url, "-x", "-b", "", "-s", "base", "namingContexts"]);
            command
                .args(["-D", "cn=admin,dc=test", "-w", "secret"])
                .args(more);
            // libldap verifies `localhost` under the name of the machine, which no certificate here has.
            command.env("LDAPTLS_REQCERT", "never");
            finish(command, b"")
        };
        let finished = search(&["-ZZ"]);
        finished.must_exit_with(0);
        assert!(
            finished.stdout.contains("dc=test"),
            "{mode}: {}",
            finished.text()
        );
        proxy.outcome().must_have("stage", "relay");
        for version in ["-tls1_2", "-tls1_3"] {
            let connected = s_client(&proxy, &directory, &["ldap"], version, UNBIND);
            assert!(
                connected.stderr.contains("verify return:1"),
                "{mode}: {}",
                connected.text()
            );
            proxy.outcome().must_have("stage", "relay");
        }
        // Result 13: confidentiality required.
        let refused = search(&[]);
        assert_eq!(refused.code, Some(13), "{mode}: {}", refused.text());
        proxy.outcome().must_be("negotiate_refused");
    }
    // A client that knows no TLS.
    let plain = Proxy::builder()
        .originate(&origin)
        .origin_tls(&sealed("ldap"))
        .start();
    let url = format!("ldap://localhost:{}", plain.listen_addr("originate").port());
    let search = ["-H", &url, "-x", "-b", "", "-s", "base", "namingContexts"];
    let login = ["-D", "cn=admin,dc=test", "-w", "secret"];
    let finished = output("ldapsearch", &[&search[..], &login].concat(), "");
    finished.must_exit_with(0).must_print("dc=test");
}

/// Connects as a client of `starttls`, sends `script` inside TLS, and returns the answers.
pub fn s_client(
    proxy: &Proxy,
    directory: &Directory,
    starttls: &[&str],
    version: &str,
    script: &str,
) -> Finished {
    let trust = directory.join("trust.pem").display().to_string();
    let to = format!("127.0.0.1:{}", proxy.listen_addr("edge").port());
    let mut arguments = vec!["s_client", "-connect", &to, "-servername", "localhost"];
    arguments.extend(["-quiet", "-verify_return_error", "-CAfile", &trust]);
    arguments.extend([version, "-starttls"]);
    arguments.extend(starttls);
    output("openssl", &arguments, script)
}
