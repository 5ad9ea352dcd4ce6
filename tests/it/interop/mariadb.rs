//! MariaDB. It sends the salt of the password before TLS, so a proxy cannot end its TLS: the bytes pass as
//! they are. It locks out a host whose connections end before a login.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::pypi::{python, run};
use super::services::with_certificate;
use crate::harness::{
    Directory, Finished, Proxy, Service, command, command_as, eventually, give_to, output,
};

/// Reseal's address: the server counts no errors of 127.0.0.1.
const OWN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server that locks out a host after one error, with a user that has no password; with TLS if there are
/// files for it.
fn mariadb(directory: &Directory) -> Service {
    let [data, own] = ["data", "tmp"].map(|name| directory.join(name));
    std::fs::create_dir(&data).unwrap();
    std::fs::create_dir(&own).unwrap();
    // A server that starts removes the temporary tables of all others from the directory that they share.
    let own_directory = format!("--tmpdir={}", own.display());
    let path = |name: &str| data.join(name).display().to_string();
    let mut install = command("mariadb-install-db");
    install.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
    install.args(["--skip-test-db", "--skip-name-resolve"]);
    install.arg(format!("--datadir={}", data.display()));
    install.arg(&own_directory);
    let made = install.output().unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stdout)
    );
    let init = directory.write_with_mode("init.sql", "CREATE USER app@'127.%';\n", 0o644);
    let pair = ["origin.pem", "origin.key"];
    let with_tls = pair
        .map(|name| directory.join(name))
        .iter()
        .all(|file| file.exists());
    for name in pair.iter().filter(|_| with_tls) {
        std::fs::copy(directory.join(name), data.join(name)).unwrap();
    }
    give_to("mysql", &data);
    give_to("mysql", &own);
    Service::start(|port| {
        let mut command: Command = command_as("mysql", "mariadbd");
        let tls = ["cert", "key"].into_iter().zip(pair).filter(|_| with_tls);
        let tls = tls.map(|(what, name)| format!("--ssl-{what}={}", path(name)));
        let tls: Vec<_> = tls.collect();
        command
            .args([
                "--no-defaults",
                "--bind-address=127.0.0.1",
                "--max-connect-errors=1",
            ])
            .args(["--skip-innodb", "--default-storage-engine=Aria"])
            .arg(format!("--port={port}"))
            .arg(format!("--datadir={}", data.display()))
            .arg(&own_directory)
            .arg(format!("--socket={}", path("socket")))
            .arg(format!("--init-file={}", init.display()))
            .args(tls);
        command
    })
}

fn query(port: u16) -> Finished {
    let port = port.to_string();
    let to = [
        "--no-defaults",
        "--protocol=tcp",
        "-h",
        "127.0.0.1",
        "-P",
        &port,
        "-u",
        "app",
    ];
    output(
        "mariadb",
        &[&to[..], &["-N", "-e", "SELECT 41 + 1"]].concat(),
        "",
    )
}

#[test]
fn checks_never_lock_a_proxy_out_of_mariadb() {
    let directory = Directory::new();
    let origin = mariadb(&directory);
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_upstream(&format!("connect: {{ source_addresses: [{OWN}] }}"))
        .on_upstream("health: { check: tcp, interval: 10ms }")
        .admin()
        .start();
    proxy.ctl(&["log-level", "debug"]).must_exit_with(0);
    let port = proxy.listen_addr("forward").port();
    eventually("many checks were made", || {
        let log = proxy.log();
        let checks = log.iter().filter(|line| line.contains("\"health check\""));
        checks.filter(|line| line.contains("\"passed\"")).count() >= 40
    });
    query(port).must_exit_with(0).must_print("42");
    proxy.outcome().must_be("ok");
    // The server would lock it out for a connection that it sees and that ends before a login.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((OWN, 0)).into()).unwrap();
    socket.connect(&origin.listen_addr().tcp().into()).unwrap();
    let mut stranger = std::net::TcpStream::from(socket);
    stranger.write_all(b"no login").unwrap();
    let _ = stranger.read_to_end(&mut Vec::new());
    let refused = query(port);
    assert_ne!(refused.code, Some(0));
    refused.must_print("is blocked because of many connection errors");
}

/// TLS is between client and server, in both versions, and the certificate is the server's own.
#[test]
fn tls_of_mariadb_passes_through_forward() {
    const QUERY: &str = "import pymysql, sys\n\
        connection = pymysql.connect(host='localhost', port=int(sys.argv[1]), user='app', ssl_ca=sys.argv[2],\n\
        \x20   ssl_verify_cert=True, ssl_verify_identity=True, connect_timeout=20)\n\
        with connection.cursor() as cursor:\n\
        \x20   cursor.execute(\"SHOW STATUS LIKE 'Ssl_version'\")\n\
        \x20   print(cursor.fetchone()[1])\n\
        connection.close()\n";
    let directory = with_certificate();
    let origin = mariadb(&directory);
    let proxy = Proxy::builder().forward(&origin).start();
    let port = proxy.listen_addr("forward").port().to_string();
    let trust = directory.join("trust.pem").display().to_string();
    for version in ["TLSv1.2", "TLSv1.3"] {
        let ca = format!("--ssl-ca={trust}");
        let tls = format!("--tls-version={version}");
        let to = [
            "--no-defaults",
            "--protocol=tcp",
            "-h",
            "localhost",
            "-P",
            &port,
            "-u",
            "app",
        ];
        let how = [
            &ca,
            "--ssl-verify-server-cert",
            &tls,
            "-N",
            "-e",
            "SHOW STATUS LIKE 'Ssl_version'",
        ];
        let shown = output("mariadb", &[&to[..], &how].concat(), "");
        shown
            .must_exit_with(0)
            .must_print(&format!("Ssl_version\t{version}"));
        proxy.outcome().must_be("ok");
    }
    if let Some(python) = python("psycopg") {
        let shown = run(&python, QUERY, &[&port, &trust]);
        shown.must_exit_with(0);
        assert_eq!(shown.stdout, "TLSv1.3");
        proxy.outcome().must_have("stage", "relay");
    }
}
