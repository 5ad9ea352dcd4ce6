//! OpenSSH, HTTP and HTTPS on one port.

use crate::harness::{Directory, Origin, Proxy, Service, command, finish, output};

/// OpenSSH's server with a host key, and a key that may log in as the user of the test.
fn sshd(directory: &Directory) -> Service {
    for name in ["host_key", "user_key"] {
        let key = directory.join(name).display().to_string();
        let make = ["-q", "-t", "ed25519", "-N", "", "-f", &key];
        assert_eq!(output("ssh-keygen", &make, "").code, Some(0));
    }
    // It changes its root there before it talks to a client.
    let _ = std::fs::create_dir("/run/sshd");
    let keys = directory.join("user_key.pub").display().to_string();
    Service::start(|port| {
        let mut sshd = command("sshd");
        sshd.args(["-D", "-e", "-f", "/dev/null", "-p", &port.to_string()])
            .arg("-h")
            .arg(directory.join("host_key"))
            .args(["-o", "ListenAddress=127.0.0.1", "-o", "UsePAM=no"])
            .args(["-o", "PidFile=none", "-o", "StrictModes=no"])
            .args(["-o", "PermitRootLogin=yes"])
            .args(["-o", &format!("AuthorizedKeysFile={keys}")]);
        sshd
    })
}

/// A web server for one line of text.
fn web() -> Origin {
    Origin::plain().serve(|stream| {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read() {
                Ok(data) => request.extend(data),
                Err(_) => return,
            }
        }
        stream.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nweb\n");
        stream.end();
        stream.receive_to_end();
    })
}

fn curl(proxy: &Proxy, scheme: &str) -> String {
    let port = proxy.listen_addr("edge").port();
    let ca = proxy.directory().join("edge-ca.pem").display().to_string();
    let to = format!("a.test:{port}:127.0.0.1:{port}");
    let url = format!("{scheme}://a.test:{port}/");
    let arguments = [
        "-sS",
        "--noproxy",
        "*",
        "--cacert",
        &ca,
        "--connect-to",
        &to,
        &url,
    ];
    let finished = output("curl", &arguments, "");
    finished.must_exit_with(0);
    finished.stdout.trim().to_owned()
}

#[test]
fn ssh_and_https_share_a_port() {
    let directory = Directory::new();
    let (sshd, web) = (sshd(&directory), web());
    let proxy = Proxy::builder()
        .endpoint("edge", "any")
        .on_endpoint("not_tls: ssh")
        .on_endpoint("timeouts: { hello: 60s }")
        .on_endpoint("sniff: 30s")
        .terminate("a.test", &web)
        .route("forward", "", &sshd)
        .named("ssh")
        .start();
    let key = directory.join("user_key").display().to_string();
    let user = output("id", &["-un"], "").stdout.trim().to_owned();
    let mut ssh = command("ssh");
    ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-i", &key])
        .args(["-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes"])
        .args(["-o", "UserKnownHostsFile=/dev/null", "-l", &user])
        .args(["-p", &proxy.listen_addr("edge").port().to_string()])
        .args(["127.0.0.1", "cat"]);
    let finished = finish(ssh, b"through the port of HTTPS\n");
    finished.must_exit_with(0);
    assert_eq!(finished.stdout.trim(), "through the port of HTTPS");
    proxy
        .outcome()
        .must_have("route", "ssh")
        .must_have("mode", "forward");
    assert_eq!(curl(&proxy, "https"), "web");
    proxy.outcome().must_be("ok").must_have("route", "a.test");
}

/// `ssh-keyscan` waits for the server's banner before it says anything.
#[test]
fn a_client_of_ssh_that_waits_for_the_banner_gets_it() {
    let directory = Directory::new();
    let (sshd, web) = (sshd(&directory), web());
    let proxy = Proxy::builder()
        .endpoint("edge", "any")
        .on_endpoint("not_tls: ssh")
        .terminate("a.test", &web)
        .route("forward", "", &sshd)
        .named("ssh")
        .start();
    let port = proxy.listen_addr("edge").port().to_string();
    let scanned = output(
        "ssh-keyscan",
        &["-T", "60", "-t", "ed25519", "-p", &port, "127.0.0.1"],
        "",
    );
    assert!(scanned.stdout.contains("ssh-ed25519"), "{}", scanned.text());
    proxy.outcome().must_have("route", "ssh");
}

#[test]
fn http_and_https_share_a_port() {
    let (plain, secure) = (web(), web());
    let proxy = Proxy::builder()
        .endpoint("edge", "any")
        .on_endpoint("not_tls: plain")
        .on_endpoint("timeouts: { hello: 60s }")
        .on_endpoint("sniff: 30s")
        .terminate("a.test", &secure)
        .route("forward", "", &plain)
        .named("plain")
        .start();
    for (scheme, route) in [("http", "plain"), ("https", "a.test")] {
        assert_eq!(curl(&proxy, scheme), "web");
        proxy.outcome().must_be("ok").must_have("route", route);
    }
    assert_eq!((plain.accepts(), secure.accepts()), (1, 1));
}
