//! Checks of servers that speak first: they read the greeting, and end as a client would.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use crate::harness::{Directory, End, Origin, Proxy, Service, TIMEOUT, command, output};

/// What follows the greeting in a connection, and how it ended.
type Conversation = (Vec<u8>, End);

/// A server that greets, answers a line and ends; its conversations with checks.
fn greeting(
    origin: crate::harness::OriginBuilder,
    greeting: &Arc<Mutex<&'static str>>,
) -> (Origin, std::sync::mpsc::Receiver<Conversation>) {
    let (sender, conversations) = channel();
    let (sender, greeting) = (Mutex::new(sender), Arc::clone(greeting));
    let origin = origin.serve(move |stream| {
        stream.send(*greeting.lock().unwrap());
        let Ok(line) = stream.read() else { return };
        let _ = stream.try_send("221 bye\r\n");
        stream.end();
        let (rest, end) = stream.receive_to_end();
        let _ = sender.lock().unwrap().send(([line, rest].concat(), end));
    });
    (origin, conversations)
}

#[test]
fn a_mail_server_is_up_while_it_greets_and_sees_polite_clients() {
    let says = Arc::new(Mutex::new("220-mail.test ESMTP\r\n220 ready\r\n"));
    for is_tls in [false, true] {
        *says.lock().unwrap() = "220-mail.test ESMTP\r\n220 ready\r\n";
        let server = match is_tls {
            true => Origin::with_tls(),
            false => Origin::plain(),
        };
        let (origin, conversations) = greeting(server, &says);
        let builder = match is_tls {
            true => Proxy::builder().reencrypt("a.test", &origin),
            false => Proxy::builder().terminate("a.test", &origin),
        };
        let proxy = builder
            .on_upstream("health: { check: { preset: smtp }, interval: 60ms, rise: 1, fall: 1 }")
            .start();
        let (said, end) = conversations.recv_timeout(TIMEOUT).unwrap();
        assert_eq!(said, b"QUIT\r\n");
        assert_eq!(end, End::Clean);
        *says.lock().unwrap() = "554 no service\r\n";
        proxy.log_line(|line| line.contains("an origin is down") && line.contains("greeting 554"));
    }
}

/// A mail server that greets slowly takes a client that talks meanwhile for a spammer (Postfix's postscreen).
#[test]
fn a_server_whose_greeting_is_not_complete_is_told_nothing() {
    let (sender, conversations) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::plain().serve(move |stream| {
        stream.send(b"220-wait for it\r\n");
        let _ = sender.lock().unwrap().send(stream.receive_to_end());
    });
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_upstream("health: { check: { preset: smtp }, interval: 60ms, timeout: 50ms, fall: 1 }")
        .start();
    assert_eq!(conversations.recv_timeout(TIMEOUT).unwrap().0, b"");
    proxy.log_line(|line| line.contains("is down") && line.contains("no greeting in time"));
}

#[test]
fn a_server_that_ends_before_its_greeting_is_down() {
    let origin = Origin::plain().serve(|stream| stream.end());
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_upstream("health: { check: { preset: ssh }, interval: 60ms, fall: 1 }")
        .start();
    proxy.log_line(|line| line.contains("is down") && line.contains("ended before its greeting"));
}

#[test]
fn openssh_logs_a_check_as_a_client_that_disconnected() {
    let directory = Directory::new();
    let key = directory.join("host_key");
    let make = ["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()];
    assert_eq!(output("ssh-keygen", &make, "").code, Some(0));
    // It changes its root there before it talks to a client.
    let _ = std::fs::create_dir("/run/sshd");
    let sshd = Service::start(|port| {
        let mut sshd = command("sshd");
        sshd.args(["-D", "-e", "-f", "/dev/null", "-p", &port.to_string()])
            .arg("-h")
            .arg(&key)
            .args(["-o", "ListenAddress=127.0.0.1", "-o", "UsePAM=no"])
            .args(["-o", "PidFile=none", "-o", "LogLevel=INFO"]);
        sshd
    });
    let _proxy = Proxy::builder()
        .forward(&sshd)
        .on_upstream("health: { check: { preset: ssh }, interval: 60ms }")
        .start();
    let line = sshd.log_line(|line| line.contains("health check"));
    assert!(
        line.starts_with("Received disconnect from 127.0.0.1"),
        "{line}"
    );
}
