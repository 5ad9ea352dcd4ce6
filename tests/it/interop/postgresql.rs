//! PostgreSQL 18 from npm, which takes TLS at once as well, with psql and psycopg as clients.

use std::path::{Path, PathBuf};

use super::negotiate::{edge, sealed};
use super::pypi::{python, run};
use super::services::{postgres_of, with_certificate};
use crate::harness::{
    Directory, Finished, Proxy, Service, at_once, command, command_as, finish, pki,
};

/// How clients begin TLS: by a request, or at once.
const NEGOTIATIONS: [&str; 2] = ["postgres", "direct"];

const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

/// PostgreSQL as `scripts/test.sh` installs it; without it, the test reports that it was skipped.
fn installed() -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/postgresql");
    let program = directory.join("bin/postgres");
    if !program.is_file() {
        println!(
            "skipped: {} is missing; scripts/test.sh installs it from npm",
            program.display()
        );
        return None;
    }
    let mut version = command_as("postgres", &program.display().to_string());
    let runs = version
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !runs {
        println!(
            "skipped: the user postgres cannot run {}",
            program.display()
        );
        return None;
    }
    Some(directory)
}

/// A server that asks for client certificates, and takes connections without.
fn server(installed: &Path, directory: &Directory) -> Service {
    directory.write("client-ca.pem", pki().clients.pem());
    for name in ["alice", "reseal"] {
        let identity = pki().client(name);
        directory.write(&format!("{name}.pem"), &identity.cert);
        directory.write(&format!("{name}.key"), &identity.key);
    }
    let settings = [
        "ssl=on",
        "ssl_cert_file=origin.pem",
        "ssl_key_file=origin.key",
        "ssl_ca_file=client-ca.pem",
    ];
    postgres_of(&installed.join("bin"), directory, &settings)
}

/// How a client connects.
fn place(proxy: &Proxy, directory: &Directory, more: &str) -> String {
    format!(
        "host=localhost hostaddr=127.0.0.1 port={} user=tester dbname=postgres sslmode=verify-full \
         sslrootcert={} connect_timeout=20 {more}",
        proxy.listen_addr("edge").port(),
        directory.join("trust.pem").display()
    )
}

/// Debian's psql with the library of the server, which begins with TLS at once if it is told to.
fn psql(installed: &Path, to: &str, query: &str) -> Finished {
    let mut psql: std::process::Command = command("psql");
    psql.args([
        "-X",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        to,
        "-c",
        query,
    ])
    .env("LD_LIBRARY_PATH", installed.join("lib"));
    finish(psql, b"")
}

/// The proxies in each mode, and whether the server sees TLS.
fn modes(origin: &Service) -> Vec<(&'static str, Proxy, bool)> {
    let at_once = "{ ca: origin-ca.pem, server_name: localhost, alpn: [postgresql] }";
    let reencrypt = || edge("postgres").reencrypt("localhost", origin);
    let passthrough = || edge("postgres").passthrough("localhost", origin);
    vec![
        (
            "terminate",
            edge("postgres").terminate("localhost", origin).start(),
            false,
        ),
        (
            "reencrypt",
            reencrypt().origin_tls(&sealed("postgres")).start(),
            true,
        ),
        (
            "reencrypt at once",
            reencrypt().origin_tls(at_once).start(),
            true,
        ),
        (
            "passthrough",
            passthrough().origin_tls(&sealed("postgres")).start(),
            true,
        ),
        ("passthrough at once", passthrough().start(), true),
    ]
}

#[test]
fn psql_and_psycopg_reach_postgresql_18_in_every_mode() {
    const SESSION: &str =
        "SELECT concat_ws('|', ssl, version) FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    const QUERY: &str = "import psycopg, sys\n\
        for to in sys.argv[2:]:\n\
        \x20   with psycopg.connect(to) as connection:\n\
        \x20       print(connection.execute(sys.argv[1]).fetchone()[0])\n\
        \x20       large = connection.execute(\"SELECT repeat('x', 3000000)\").fetchone()[0]\n\
        \x20       assert len(large) == 3000000\n";
    let Some(installed) = installed() else {
        return;
    };
    let directory = with_certificate();
    let origin = server(&installed, &directory);
    let python = python("psycopg");
    at_once(modes(&origin), |(mode, proxy, sees_tls)| {
        let mut places = Vec::new();
        for version in VERSIONS {
            for negotiation in NEGOTIATIONS {
                let more = format!(
                    "sslnegotiation={negotiation} ssl_min_protocol_version={version} \
                     ssl_max_protocol_version={version}"
                );
                places.push((version, place(&proxy, &directory, &more)));
            }
        }
        let must_be = |session: &str, version: &str| {
            // Behind `reencrypt` the server's version is Reseal's choice.
            let expected = match sees_tls {
                true if mode.starts_with("passthrough") => format!("t|{version}"),
                true => "t|TLSv1.3".to_owned(),
                false => "f".to_owned(),
            };
            assert_eq!(session, expected, "{mode}");
            let record = proxy.outcome();
            record
                .must_have("sni", "localhost")
                .must_have("stage", "relay");
            if !mode.starts_with("passthrough") {
                record.must_have("tls_version", version);
            }
        };
        for (version, to) in &places {
            let finished = psql(&installed, to, SESSION);
            finished.must_exit_with(0);
            must_be(finished.stdout.trim(), version);
        }
        let Some(python) = &python else {
            return;
        };
        let arguments = [SESSION]
            .into_iter()
            .chain(places.iter().map(|(_, to)| to.as_str()));
        let arguments: Vec<_> = arguments.collect();
        let finished = run(python, QUERY, &arguments);
        finished.must_exit_with(0);
        assert_eq!(finished.stdout.lines().count(), places.len());
        for (session, (version, _)) in finished.stdout.lines().zip(&places) {
            must_be(session, version);
        }
    });
}

#[test]
fn client_certificates_are_seen_by_who_ends_tls() {
    const SUBJECT: &str = "SELECT client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let Some(installed) = installed() else {
        return;
    };
    let directory = with_certificate();
    let origin = server(&installed, &directory);
    let own = pki().client("reseal");
    let asks = "client_auth: { mode: required, ca: client-ca.pem }";
    let shows = "{ ca: origin-ca.pem, server_name: localhost, negotiate: postgres, \
                 client_certificate: { cert: reseal.pem, key: reseal.key } }";
    let reencrypt = edge("postgres")
        .reencrypt("localhost", &origin)
        .on_route(asks)
        .origin_tls(shows)
        .file("reseal.pem", own.cert)
        .file("reseal.key", own.key);
    let passthrough = edge("postgres")
        .passthrough("localhost", &origin)
        .origin_tls(&sealed("postgres"));
    let terminate = edge("postgres")
        .terminate("localhost", &origin)
        .on_route(asks);
    for (mode, proxy, seen) in [
        ("terminate", terminate.start(), ""),
        ("reencrypt", reencrypt.start(), "/CN=reseal"),
        ("passthrough", passthrough.start(), "/CN=alice"),
    ] {
        for negotiation in NEGOTIATIONS {
            let pair = format!(
                "sslnegotiation={negotiation} sslcert={} sslkey={}",
                directory.join("alice.pem").display(),
                directory.join("alice.key").display()
            );
            let finished = psql(&installed, &place(&proxy, &directory, &pair), SUBJECT);
            finished.must_exit_with(0);
            assert_eq!(finished.stdout.trim(), seen, "{mode}");
            let record = proxy.outcome();
            if mode != "passthrough" {
                assert_eq!(record["client_cert"]["subject"], "CN=alice", "{record:?}");
                let bare = format!("sslnegotiation={negotiation}");
                let refused = psql(&installed, &place(&proxy, &directory, &bare), SUBJECT);
                assert_eq!(refused.code, Some(2), "{}", refused.text());
                proxy.outcome().must_be("client_cert_missing");
            }
        }
    }
}

/// Cancels a query once the server says that it runs. The old way asks in clear.
const CANCEL: &str = "import psycopg, sys, threading\n\
    BUSY = \"SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid = %s AND query = 'SELECT pg_sleep(90)'\"\n\
    connect = lambda: psycopg.connect(sys.argv[1], autocommit=True)\n\
    with connect() as connection, connect() as watcher:\n\
    \x20   pid = connection.info.backend_pid\n\
    \x20   def cancel():\n\
    \x20       while not watcher.execute(BUSY, [pid]).fetchone()[0]: pass\n\
    \x20       if sys.argv[2] == 'in TLS':\n\
    \x20           connection.cancel_safe(timeout=30)\n\
    \x20       else:\n\
    \x20           connection.cancel()\n\
    \x20           assert watcher.execute(BUSY, [pid]).fetchone()[0], 'it was cancelled'\n\
    \x20           watcher.execute('SELECT pg_cancel_backend(%s)', [pid])\n\
    \x20   thread = threading.Thread(target=cancel)\n\
    \x20   thread.start()\n\
    \x20   try:\n\
    \x20       connection.execute('SELECT pg_sleep(90)')\n\
    \x20   except psycopg.errors.QueryCanceled:\n\
    \x20       print('cancelled')\n\
    \x20   thread.join()\n";

#[test]
fn a_query_is_cancelled_inside_tls_in_every_mode() {
    let (Some(installed), Some(python)) = (installed(), python("psycopg")) else {
        return;
    };
    let directory = with_certificate();
    let origin = server(&installed, &directory);
    at_once(modes(&origin), |(mode, proxy, _)| {
        for negotiation in NEGOTIATIONS {
            let to = place(&proxy, &directory, &format!("sslnegotiation={negotiation}"));
            let finished = run(&python, CANCEL, &[&to, "in TLS"]);
            finished.must_exit_with(0);
            assert_eq!(finished.stdout, "cancelled", "{mode}: {}", finished.text());
            for record in proxy.outcomes(3) {
                record.must_have("stage", "relay");
            }
        }
    });
}

#[test]
fn a_request_to_cancel_in_clear_is_refused_and_the_query_goes_on() {
    let (Some(installed), Some(python)) = (installed(), python("psycopg")) else {
        return;
    };
    let directory = with_certificate();
    let origin = server(&installed, &directory);
    let proxy = edge("postgres").terminate("localhost", &origin).start();
    let finished = run(
        &python,
        CANCEL,
        &[&place(&proxy, &directory, ""), "in clear"],
    );
    finished.must_exit_with(0);
    assert_eq!(finished.stdout, "cancelled", "{}", finished.text());
    let records = proxy.outcomes(3);
    let refused = records
        .iter()
        .filter(|record| record.reason() == "negotiate_refused");
    assert_eq!(refused.count(), 1, "{records:?}");
}
