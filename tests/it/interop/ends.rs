//! Real programs end valid connections in various ways: none is a fault, and no alert fires.

use super::services::{mosquitto, postgres, redis, with_certificate};
use super::web::{curl, nginx};
use crate::harness::{
    Directory, Finished, Origin, Proxy, Service, at_once, command, firing, output,
};

/// How many connections each program makes between two scrapes.
pub const TIMES: usize = 4;

/// Runs a program that makes one connection and must succeed, and checks how its connections ended.
#[track_caller]
pub fn ends_well(proxy: &Proxy, reasons: &[&str], run: impl Fn() -> Finished + Sync) {
    end_well(proxy, reasons, || {
        at_once(0..TIMES, |_| {
            run().must_exit_with(0);
        });
    });
}

/// Checks how the connections ended that `connect` made, [`TIMES`] at each call.
#[track_caller]
pub fn end_well(proxy: &Proxy, reasons: &[&str], connect: impl Fn()) {
    let mut scrapes = vec![proxy.metrics_at_rest()];
    for _ in 0..2 {
        connect();
        for record in proxy.outcomes(TIMES) {
            let reason = record.reason();
            assert!(reasons.contains(&reason), "{reasons:?}: {record:?}");
            record.must_have("after", "relay").must_have("fault", "");
        }
        scrapes.push(proxy.metrics_at_rest());
    }
    let fired = firing(&scrapes);
    assert!(fired.is_empty(), "{fired:?}");
}

/// A proxy in a mode whose TLS is for `name`.
fn proxy(mode: &str, name: &str, origin: &Service) -> Proxy {
    let draft = Proxy::builder();
    let draft = match mode {
        "terminate" => draft.terminate(name, origin),
        "reencrypt" => draft.reencrypt(name, origin),
        "passthrough" => draft.passthrough(name, origin),
        other => panic!("{other}"),
    };
    draft.admin().start()
}

/// Each mode, and whether its origin needs TLS.
pub const MODES: [(&str, bool); 3] = [
    ("terminate", false),
    ("reencrypt", true),
    ("passthrough", true),
];

/// The reasons for a client that sends no close_notify. If Reseal terminates its TLS, that is a truncation.
pub fn without_close_notify(mode: &str) -> &'static [&'static str] {
    match mode {
        "passthrough" => &["ok"],
        _ => &["client_truncated", "client_reset"],
    }
}

#[test]
fn curl_and_nginx_end_without_a_fault() {
    let directory = Directory::new();
    for with_tls in [false, true] {
        let origin = nginx(&directory, with_tls);
        for (mode, _) in MODES.iter().filter(|(_, needs)| *needs == with_tls) {
            let draft = match *mode {
                "terminate" => Proxy::builder().terminate("a.test", &origin),
                "reencrypt" => Proxy::builder()
                    .reencrypt("a.test", &origin)
                    .on_tls("alpn: [h2, http/1.1]"),
                _ => Proxy::builder().passthrough("a.test", &origin),
            };
            let proxy = draft.admin().start();
            let (http1, http2): (&[&str], &[&str]) = match *mode {
                "reencrypt" => (&["origin_truncated"], &["client_truncated", "client_reset"]),
                _ => (&["ok"], &["ok"]),
            };
            for path in ["", "large"] {
                ends_well(&proxy, http1, || {
                    curl(&proxy, path, &["--http1.1", "--output", "/dev/null"])
                });
                if with_tls {
                    ends_well(&proxy, http2, || {
                        curl(&proxy, path, &["--http2", "--output", "/dev/null"])
                    });
                }
            }
            ends_well(&proxy, http1, || {
                let upload = [
                    "--http1.1",
                    "--data-binary",
                    "@/proc/self/exe",
                    "--output",
                    "/dev/null",
                ];
                curl(&proxy, "", &upload)
            });
        }
    }
}

#[test]
fn urllib_ends_without_a_fault() {
    const GET: &str = "import ssl, sys, urllib.request\n\
        context = ssl.create_default_context(cafile=sys.argv[2])\n\
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT\n\
        for _ in range(int(sys.argv[3])):\n\
        \x20   print(len(urllib.request.urlopen(sys.argv[1], context=context).read()))\n";
    let directory = with_certificate();
    let trust = directory.join("trust.pem").display().to_string();
    for (mode, with_tls) in MODES {
        let origin = nginx(&directory, with_tls);
        let proxy = proxy(mode, "localhost", &origin);
        let url = format!("https://localhost:{}/", proxy.listen_addr("edge").port());
        for url in [url.clone(), url + "large"] {
            let reasons: &[&str] = match mode {
                "passthrough" => &["client_reset", "ok"],
                _ => &["client_reset", "client_truncated"],
            };
            // Python takes long to start: one process makes all connections, each for one request.
            end_well(&proxy, reasons, || {
                let arguments = ["-c", GET, &url, &trust, &TIMES.to_string()];
                output("python3", &arguments, "").must_exit_with(0);
            });
        }
    }
}

#[test]
fn psql_and_postgresql_end_without_a_fault() {
    for with_tls in [false, true] {
        let directory = with_certificate();
        let origin = postgres(&directory, with_tls);
        let proxy = Proxy::builder().forward(&origin).admin().start();
        let tls = match with_tls {
            true => format!(
                "sslmode=verify-full sslrootcert={}",
                directory.join("trust.pem").display()
            ),
            false => "sslmode=disable".to_owned(),
        };
        let port = proxy.listen_addr("forward").port();
        let to = format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user=tester dbname=postgres {tls}"
        );
        let reasons: &[&str] = match with_tls {
            true => &["origin_reset", "client_reset", "ok"],
            false => &["ok"],
        };
        for query in ["SELECT 1", "SELECT repeat('x', 3000000)"] {
            ends_well(&proxy, reasons, || {
                output("psql", &["-X", "-A", "-t", "-d", &to, "-c", query], "")
            });
        }
    }
}

#[test]
fn mosquitto_ends_without_a_fault() {
    let directory = with_certificate();
    let trust = directory.join("trust.pem").display().to_string();
    for (mode, with_tls) in MODES {
        let origin = mosquitto(&directory, with_tls);
        let proxy = proxy(mode, "localhost", &origin);
        let port = proxy.listen_addr("edge").port().to_string();
        let to = [
            "-h",
            "localhost",
            "-p",
            &port,
            "--cafile",
            &trust,
            "-t",
            "tests/topic",
        ];
        let reasons: &[&str] = match mode {
            "passthrough" => &["origin_reset", "client_reset", "ok"],
            _ => &["ok"],
        };
        for quality in ["0", "1"] {
            ends_well(&proxy, reasons, || {
                output(
                    "mosquitto_pub",
                    &[&to[..], &["-q", quality, "-r", "-m", "hello"]].concat(),
                    "",
                )
            });
            ends_well(&proxy, reasons, || {
                output(
                    "mosquitto_sub",
                    &[&to[..], &["-q", quality, "-C", "1", "-W", "15"]].concat(),
                    "",
                )
            });
        }
    }
}

#[test]
fn redis_ends_without_a_fault() {
    let directory = with_certificate();
    let trust = directory.join("trust.pem").display().to_string();
    for (mode, with_tls) in MODES {
        let origin = redis(&directory, with_tls);
        let proxy = proxy(mode, "a.test", &origin);
        let port = proxy.listen_addr("edge").port().to_string();
        let to = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "--tls",
            "--sni",
            "a.test",
            "--cacert",
            &trust,
        ];
        ends_well(&proxy, without_close_notify(mode), || {
            output("redis-cli", &to, "SET a b\nGET a\n")
        });
    }
}

#[test]
fn s_client_ends_without_a_fault() {
    let origin = Origin::plain().serve(|stream| {
        stream.receive(6);
        stream.send(b"you said hello\n");
        stream.end();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    let address = proxy.listen_addr("edge").to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let arguments = [
            "s_client",
            "-connect",
            &address,
            "-servername",
            "a.test",
            "-quiet",
            version,
        ];
        ends_well(&proxy, &["ok"], || output("openssl", &arguments, "hello\n"));
    }
}

/// HAProxy resets its checks, some before our handshake is done; this is recorded but fires no alert.
#[test]
fn haproxys_checks_fire_no_alert() {
    let directory = with_certificate();
    let (plain, with_tls) = (nginx(&directory, false), nginx(&directory, true));
    let proxy = Proxy::builder()
        .terminate("a.test", &plain)
        .passthrough("origin.test", &with_tls)
        .forward(&plain)
        .admin()
        .start();
    let before = proxy.metrics();
    let (edge, forward) = (proxy.listen_addr("edge"), proxy.listen_addr("forward"));
    let by_tls = |name: &str| {
        format!("  server {name} {edge} check inter 100ms check-ssl verify none check-sni {name}\n")
    };
    let connects = format!("  server forward {forward} check inter 100ms\n");
    let http_checks = connects.clone() + &by_tls("a.test");
    let connects = http_checks.clone() + &by_tls("origin.test");
    let _haproxy = Service::start(|port| {
        let text = format!(
            "defaults\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
             listen own\n  bind 127.0.0.1:{port}\n\
             backend connects\n{connects}\
             backend http_checks\n  mode http\n  option httpchk GET /\n{http_checks}"
        );
        let file = directory.write("haproxy.cfg", text);
        let mut haproxy = command("haproxy");
        haproxy.arg("-db").arg("-f").arg(file);
        haproxy
    });
    let mut scrapes = vec![before];
    for _ in 0..3 {
        for record in proxy.outcomes(20) {
            let reasons: &[&str] = match record.text("after") {
                "relay" => {
                    record.must_have("fault", "");
                    &["ok", "client_reset", "client_truncated"]
                }
                _ => &["client_reset"],
            };
            assert!(reasons.contains(&record.reason()), "{record:?}");
        }
        scrapes.push(proxy.metrics());
    }
    let fired = firing(&scrapes);
    assert!(fired.is_empty(), "{fired:?}");
}
