//! Services other than web servers, each with its own client: redis, mosquitto, PostgreSQL.

use std::path::Path;
use std::process::Command;

use crate::harness::{
    Directory, Proxy, Service, TIMEOUT, command, command_as, give_to, output, pki,
};

/// A directory with an origin's certificate and its client's CA.
pub fn with_certificate() -> Directory {
    let directory = Directory::new();
    let identity = pki().origin(&["origin.test", "localhost", "a.test"]);
    directory.write("origin.pem", &identity.cert);
    directory.write("origin.key", &identity.key);
    directory.write("trust.pem", pki().edge.pem() + &pki().origins.pem());
    directory
}

pub fn redis(directory: &Directory, with_tls: bool) -> Service {
    let file = |name: &str| directory.join(name).display().to_string();
    Service::start(|port| {
        let port = port.to_string();
        let mut command: Command = command("redis-server");
        command.args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ]);
        command.arg("--dir").arg(directory.path());
        match with_tls {
            true => command
                .args([
                    "--port",
                    "0",
                    "--tls-port",
                    &port,
                    "--tls-auth-clients",
                    "no",
                ])
                .args([
                    "--tls-cert-file",
                    &file("origin.pem"),
                    "--tls-key-file",
                    &file("origin.key"),
                    "--tls-ca-cert-file",
                    &file("trust.pem"),
                ]),
            false => command.args(["--port", &port]),
        };
        command
    })
}

#[track_caller]
fn redis_works(proxy: &Proxy, directory: &Directory) {
    let port = proxy.listen_addr("edge").port().to_string();
    let trust = directory.join("trust.pem").display().to_string();
    let mut commands = String::new();
    for n in 1..=200 {
        commands += &format!("SET key:{n} {}\n", "v".repeat(n * 10));
    }
    commands += "STRLEN key:200\nDBSIZE\n";
    let finished = output(
        "redis-cli",
        &[
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "--tls",
            "--sni",
            "a.test",
            "--cacert",
            &trust,
        ],
        &commands,
    );
    finished.must_exit_with(0);
    assert_eq!(
        finished.stdout.lines().filter(|line| *line == "OK").count(),
        200,
        "{}",
        finished.text()
    );
    assert!(
        finished.stdout.contains("2000") && finished.stdout.ends_with("200"),
        "{}",
        finished.text()
    );
    proxy
        .outcome()
        .must_have("sni", "a.test")
        .must_have("stage", "relay");
}

#[test]
fn redis_behind_terminate() {
    let directory = with_certificate();
    let origin = redis(&directory, false);
    redis_works(
        &Proxy::builder().terminate("a.test", &origin).start(),
        &directory,
    );
}

#[test]
fn redis_behind_reencrypt() {
    let directory = with_certificate();
    let origin = redis(&directory, true);
    redis_works(
        &Proxy::builder().reencrypt("a.test", &origin).start(),
        &directory,
    );
}

#[test]
fn redis_behind_passthrough() {
    let directory = with_certificate();
    let origin = redis(&directory, true);
    redis_works(
        &Proxy::builder().passthrough("a.test", &origin).start(),
        &directory,
    );
}

pub fn mosquitto(directory: &Directory, with_tls: bool) -> Service {
    let root = directory.path().display().to_string();
    Service::start(|port| {
        let tls = match with_tls {
            true => format!("certfile {root}/origin.pem\nkeyfile {root}/origin.key\n"),
            false => String::new(),
        };
        let user = if rustix::process::geteuid().is_root() {
            "user root\n"
        } else {
            ""
        };
        let text = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n{user}{tls}"
        );
        let file = directory.write("mosquitto.conf", text);
        let mut command: Command = command("mosquitto");
        command.arg("-c").arg(file);
        command
    })
}

#[track_caller]
fn mosquitto_works(proxy: &Proxy, directory: &Directory) {
    let port = proxy.listen_addr("edge").port().to_string();
    let trust = directory.join("trust.pem").display().to_string();
    // These clients send localhost as SNI and verify it.
    let to = [
        "-h",
        "localhost",
        "-p",
        &port,
        "--cafile",
        &trust,
        "-t",
        "tests/topic",
        "-q",
        "1",
    ];
    let subscribe = |more: &[&str]| {
        let mut command: Command = command("mosquitto_sub");
        command
            .args(to)
            .args(more)
            .stdout(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    // The subscriber receives a retained message whenever it connects.
    let publish = |message: &str| {
        let finished = output("mosquitto_pub", &[&to[..], &["-r", "-s"]].concat(), message);
        finished.must_exit_with(0);
    };
    let large = "x".repeat(200_000);
    for message in ["over the proxy", large.as_str()] {
        publish(message);
        let received = subscribe(&["-C", "1", "-W", "15"])
            .wait_with_output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&received.stdout).trim_end(),
            message
        );
    }
    for record in proxy.outcomes(4) {
        record
            .must_have("sni", "localhost")
            .must_have("stage", "relay");
    }
}

#[test]
fn mosquitto_behind_terminate() {
    let directory = with_certificate();
    let origin = mosquitto(&directory, false);
    mosquitto_works(
        &Proxy::builder().terminate("localhost", &origin).start(),
        &directory,
    );
}

#[test]
fn mosquitto_behind_reencrypt() {
    let directory = with_certificate();
    let origin = mosquitto(&directory, true);
    mosquitto_works(
        &Proxy::builder().reencrypt("localhost", &origin).start(),
        &directory,
    );
}

#[test]
fn mosquitto_behind_passthrough() {
    let directory = with_certificate();
    let origin = mosquitto(&directory, true);
    mosquitto_works(
        &Proxy::builder().passthrough("localhost", &origin).start(),
        &directory,
    );
}

/// Debian's PostgreSQL.
pub fn postgres(directory: &Directory, with_tls: bool) -> Service {
    let own: &[&str] = match with_tls {
        true => &[
            "ssl=on",
            "ssl_cert_file=origin.pem",
            "ssl_key_file=origin.key",
        ],
        false => &[],
    };
    postgres_of(Path::new(""), directory, own)
}

/// PostgreSQL of this directory of programs, with these settings and the files that they name. It refuses to
/// run as root: if we are root, its directory belongs to its own user.
pub fn postgres_of(programs: &Path, directory: &Directory, settings: &[&str]) -> Service {
    let program = |name: &str| command_as("postgres", &programs.join(name).display().to_string());
    let data = directory.join("data");
    std::fs::create_dir(&data).unwrap();
    give_to("postgres", &data);
    let made = program("initdb")
        .args([
            "--auth",
            "trust",
            "--username",
            "tester",
            "--no-sync",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "-D",
        ])
        .arg(&data)
        .current_dir(&data)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let files = settings.iter().filter_map(|line| line.split_once("_file="));
    for (_, name) in files {
        // The mode of a key is copied, too.
        std::fs::copy(directory.join(name), data.join(name)).unwrap();
    }
    give_to("postgres", &data);
    let origin = Service::start(|port| {
        let mut command = program("postgres");
        command
            .arg("-D")
            .arg(&data)
            .current_dir(&data)
            .args(["-p", &port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c"]);
        command.arg(format!("unix_socket_directories={}", data.display()));
        command.args(settings.iter().flat_map(|line| ["-c", *line]));
        command
    });
    // It accepts connections a moment before it answers queries.
    let ready =
        crate::harness::becomes_true(TIMEOUT, || psql(origin.port(), "SELECT 1").code == Some(0));
    assert!(ready, "PostgreSQL does not answer");
    origin
}

fn psql(port: u16, query: &str) -> crate::harness::Finished {
    let to = format!(
        "host=127.0.0.1 port={port} user=tester dbname=postgres sslmode=disable connect_timeout=10"
    );
    output(
        "psql",
        &[
            "-X",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            &to,
            "-c",
            query,
        ],
        "",
    )
}

#[test]
fn postgresql_through_forward() {
    let directory = Directory::new();
    let origin = postgres(&directory, false);
    let proxy = Proxy::builder().forward(&origin).start();
    let port = proxy.listen_addr("forward").port();
    let finished = psql(
        port,
        "SELECT count(*), sum(n) FROM generate_series(1, 200000) AS n",
    );
    finished.must_exit_with(0);
    assert_eq!(finished.stdout.trim(), "200000|20000100000");
    let finished = psql(
        port,
        "SELECT length(string_agg(n::text, ',')) FROM generate_series(1, 100000) AS n",
    );
    finished.must_exit_with(0);
    let large = psql(port, "SELECT repeat('x', 3000000)");
    large.must_exit_with(0);
    assert_eq!(large.stdout.trim().len(), 3_000_000);
    for record in proxy.outcomes(3) {
        record
            .must_have("mode", "forward")
            .must_have("stage", "relay");
    }
}
