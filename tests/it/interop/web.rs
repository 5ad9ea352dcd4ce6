//! curl in front, nginx behind.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Directory, Finished, Proxy, Service, command, output, pki};

/// A web server, with or without TLS. It answers every request with the protocol and server name that it
/// received.
pub fn nginx(directory: &Directory, with_tls: bool) -> Service {
    let identity = pki().origin(&["origin.test", "a.test", "localhost"]);
    directory.write("origin.pem", &identity.cert);
    directory.write("origin.key", &identity.key);
    std::fs::write(directory.join("large"), vec![b'x'; 5 << 20]).unwrap();
    let root = directory.path().display().to_string();
    Service::start(|port| {
        let (listen, tls) = match with_tls {
            true => (
                format!("127.0.0.1:{port} ssl http2"),
                format!(
                    "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {root}/origin.pem; ssl_certificate_key \
                     {root}/origin.key;"
                ),
            ),
            false => (format!("127.0.0.1:{port}"), String::new()),
        };
        let workers = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let text = format!(
            "daemon off; master_process off; pid {root}/nginx.pid; error_log stderr; {workers}\n\
             events {{ }}\n\
             http {{\n\
               access_log off;\n\
               client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path \
               {root}/fastcgi;\n\
               uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
               server {{\n\
                 listen {listen}; server_name _; root {root}; {tls}\n\
                 location / {{ return 200 \"$server_protocol $ssl_server_name $request_length\\n\"; }}\n\
                 location = /large {{ }}\n\
               }}\n\
             }}\n"
        );
        let file = directory.write("nginx.conf", text);
        let mut command: Command = command("nginx");
        command.arg("-p").arg(directory.path()).arg("-c").arg(file);
        command
    })
}

/// Runs curl for `https://a.test/` through the proxy. It trusts the CAs of endpoints and origins.
#[track_caller]
pub fn curl(proxy: &Proxy, path: &str, more: &[&str]) -> Finished {
    let port = proxy.listen_addr("edge").port();
    // A file of its own: several may run at a time.
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let file = format!("trust-{}.pem", RUNS.fetch_add(1, Ordering::Relaxed));
    let trust = proxy
        .directory()
        .write(&file, pki().edge.pem() + &pki().origins.pem())
        .display()
        .to_string();
    let resolve = format!("a.test:{port}:127.0.0.1");
    let url = format!("https://a.test:{port}/{path}");
    let mut arguments = vec![
        "--silent",
        "--show-error",
        "--max-time",
        "15",
        "--noproxy",
        "*",
        "--cacert",
        &trust,
        "--resolve",
        &resolve,
    ];
    arguments.extend(more);
    arguments.push(&url);
    output("curl", &arguments, "")
}

/// A page and a large file, over each version of TLS and HTTP.
#[track_caller]
fn serves_pages(proxy: &Proxy, sni: &str, http2: bool) {
    for version in ["1.2", "1.3"] {
        let tls: [&str; 4] = ["--tlsv1.2", "--tls-max", version, "--http1.1"];
        let tls = if version == "1.3" {
            ["--tlsv1.3", "--tls-max", "1.3", "--http1.1"]
        } else {
            tls
        };
        let page = curl(proxy, "", &tls);
        page.must_exit_with(0)
            .must_print(&format!("HTTP/1.1 {sni}"));
        proxy.outcome().must_have("stage", "relay");
        if http2 {
            let tls = [tls[0], tls[1], tls[2], "--http2"];
            let page = curl(proxy, "", &tls);
            page.must_exit_with(0)
                .must_print(&format!("HTTP/2.0 {sni}"));
            proxy.outcome();
        }
    }
    let large = curl(
        proxy,
        "large",
        &["--output", "/dev/null", "--write-out", "%{size_download}"],
    );
    large.must_exit_with(0).must_print(&(5 << 20).to_string());
}

#[test]
fn nginx_behind_passthrough() {
    let directory = Directory::new();
    let origin = nginx(&directory, true);
    let proxy = Proxy::builder().passthrough("a.test", &origin).start();
    serves_pages(&proxy, "a.test", true);
}

#[test]
fn nginx_behind_reencrypt() {
    let directory = Directory::new();
    let origin = nginx(&directory, true);
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_tls("alpn: [h2, http/1.1]")
        .start();
    serves_pages(&proxy, "origin.test", true);
}

#[test]
fn nginx_behind_terminate() {
    let directory = Directory::new();
    let origin = nginx(&directory, false);
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("alpn: [http/1.1]")
        .start();
    serves_pages(&proxy, "", false);
}

#[test]
fn curl_presents_its_certificate_and_is_rejected_without_one() {
    let directory = Directory::new();
    let origin = nginx(&directory, false);
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .start();
    let alice = pki().client("alice");
    let cert = proxy
        .directory()
        .write("alice.pem", &alice.cert)
        .display()
        .to_string();
    let key = proxy
        .directory()
        .write("alice.key", &alice.key)
        .display()
        .to_string();
    for version in ["1.2", "1.3"] {
        let with = ["--tls-max", version, "--cert", &cert, "--key", &key];
        curl(&proxy, "", &with)
            .must_exit_with(0)
            .must_print("HTTP/1.1");
        proxy.outcome().must_be("ok");
        let without = curl(&proxy, "", &["--tls-max", version]);
        assert_ne!(without.code, Some(0), "{}", without.text());
        without.must_print("certificate required");
        proxy.outcome().must_be("client_cert_missing");
    }
}

#[test]
fn many_requests_over_one_connection_and_many_connections_at_once() {
    let directory = Directory::new();
    let origin = nginx(&directory, true);
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_tls("alpn: [h2, http/1.1]")
        .start();
    let port = proxy.listen_addr("edge").port();
    let urls = format!("https://a.test:{port}/[1-60]");
    for (protocol, parallel) in [
        ("--http1.1", "1"),
        ("--http2", "1"),
        ("--http1.1", "12"),
        ("--http2", "12"),
    ] {
        let arguments = [
            "--fail",
            protocol,
            "--parallel",
            "--parallel-max",
            parallel,
            &urls,
        ];
        let finished = curl(&proxy, "61", &arguments);
        finished.must_exit_with(0);
        assert_eq!(finished.stdout.lines().count(), 61, "{}", finished.text());
    }
}
