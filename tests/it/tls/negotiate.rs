//! TLS that begins inside another protocol: what a hostile client or origin gets.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use crate::harness::{ConfigCheck, ListenAddr, Origin, Proxy, ProxyBuilder, at_once};

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";
const CANCEL: &[u8] = b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02";
const STARTUP: &[u8] = b"\0\0\0\x16\0\x03\0\0user\0tester\0\0";
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// The first bytes of a ClientHello.
const HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

fn endpoint(protocol: &str) -> ProxyBuilder {
    Proxy::builder()
        .endpoint("edge", "tls")
        .on_endpoint(&format!("negotiate: {protocol}"))
        .on_endpoint("timeouts: { hello: 2s }")
}

fn connect(proxy: &Proxy) -> TcpStream {
    let ListenAddr::Tcp(address) = proxy.listen_addr("edge") else {
        panic!("a TCP address");
    };
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Everything until the end of the stream; a reset counts as one.
fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

fn exactly(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn clients_of_postgresql_without_tls_get_its_own_error_message() {
    let origin = Origin::echo();
    let proxy = endpoint("postgres")
        .terminate("a.test", origin.listen_addr())
        .start();
    for (before, request) in [
        (None, STARTUP),
        (None, CANCEL),
        (Some(GSS_REQUEST), STARTUP),
    ] {
        let mut client = connect(&proxy);
        if let Some(before) = before {
            client.write_all(before).unwrap();
            assert_eq!(exactly(&mut client, 1), b"N");
        }
        client.write_all(request).unwrap();
        let answer = rest(&mut client);
        assert_eq!(answer.first(), Some(&b'E'), "{answer:?}");
        let text = String::from_utf8_lossy(&answer);
        assert!(
            text.contains("FATAL") && text.contains("TLS is required"),
            "{text}"
        );
        proxy
            .outcome()
            .must_be("negotiate_refused")
            .must_have("stage", "hello");
    }
    // Nothing of it reached the origin.
    assert_eq!(origin.accepts(), 0);
}

/// CVE-2011-0411 and CVE-2021-23214: what an attacker on the path puts behind the request is never taken for
/// the client's, whether it comes in clear or looks like a ClientHello.
#[test]
fn bytes_behind_the_request_for_tls_are_refused() {
    let origin = Origin::echo();
    let xmpp = b"<stream:stream to='a.test' xmlns='jabber:client' version='1.0'>\
                 <starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
    for (protocol, request) in [
        ("postgres", SSL_REQUEST),
        ("postgres", GSS_REQUEST),
        ("ldap", START_TLS),
        ("smtp", b"EHLO x\r\nSTARTTLS\r\n"),
        ("imap", b"a STARTTLS\r\n"),
        ("pop3", b"STLS\r\n"),
        ("xmpp", &xmpp[..]),
    ] {
        let proxy = endpoint(protocol)
            .terminate("a.test", origin.listen_addr())
            .start();
        for behind in [HELLO, b"NOOP\r\n", b"\0"] {
            let mut client = connect(&proxy);
            client.write_all(&[request, behind].concat()).unwrap();
            let answer = rest(&mut client);
            let text = String::from_utf8_lossy(&answer);
            assert!(
                !text.ends_with('S') && !text.contains("220 2.0.0"),
                "{protocol}: {text}"
            );
            proxy.outcome().must_be("negotiate_refused");
        }
    }
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn a_dialogue_ends_by_the_hello_deadline_and_within_its_bound() {
    let origin = Origin::echo();
    at_once(
        ["postgres", "ldap", "smtp", "imap", "pop3", "xmpp"],
        |protocol| {
            let proxy = endpoint(protocol)
                .terminate("a.test", origin.listen_addr())
                .start();
            let mut silent = connect(&proxy);
            rest(&mut silent);
            proxy.outcome().must_be("hello_timeout");
            let mut endless = connect(&proxy);
            let flood = match protocol {
                "postgres" => b"\0\0\x20\0".to_vec(),
                "ldap" => [b"\x30\x82\x0f\xff".to_vec(), vec![b' '; 4000]].concat(),
                "xmpp" => [b"<".to_vec(), vec![b' '; 17_000]].concat(),
                _ => vec![b'x'; 17_000],
            };
            let _ = endless.write_all(&flood);
            rest(&mut endless);
            let record = proxy.outcome();
            assert!(
                ["negotiate_refused", "hello_timeout"].contains(&record.reason()),
                "{protocol}: {record:?}"
            );
        },
    );
}

/// A certificate for one protocol must not admit a browser that was sent to another.
#[test]
fn tls_at_once_needs_the_alpn_protocol_of_postgresql() {
    let origin = Origin::echo();
    let proxy = endpoint("postgres")
        .terminate("a.test", origin.listen_addr())
        .start();
    let place = proxy.listen_addr("edge");
    let port = place.port().to_string();
    for (alpn, reason) in [
        ("postgresql", "ok"),
        ("h2", "no_common_alpn"),
        ("", "no_common_alpn"),
    ] {
        let mut arguments = vec!["s_client", "-quiet", "-no_ign_eof", "-connect"];
        let to = format!("127.0.0.1:{port}");
        arguments.extend([to.as_str(), "-servername", "a.test"]);
        if !alpn.is_empty() {
            arguments.extend(["-alpn", alpn]);
        }
        crate::harness::output("openssl", &arguments, "");
        proxy.outcome().must_be(reason);
    }
}

/// An origin that plays `script`: it reads up to a piece and then answers it.
fn scripted(script: &'static [(&'static [u8], &'static [u8])]) -> ListenAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut seen = Vec::new();
            for (wanted, answer) in script {
                let mut byte = [0];
                while !seen.ends_with(wanted) && stream.read(&mut byte).is_ok_and(|len| len == 1) {
                    seen.push(byte[0]);
                }
                let _ = stream.write_all(answer);
            }
            let _ = stream.read(&mut [0; 64]);
        }
    });
    ListenAddr::Tcp(address)
}

#[test]
fn an_origin_that_refuses_tls_is_never_spoken_to_in_plain() {
    for (protocol, origin, reason, said) in [
        (
            "postgres",
            scripted(&[(SSL_REQUEST, b"N")]),
            "origin_tls_refused",
            "by N",
        ),
        (
            "postgres",
            scripted(&[(SSL_REQUEST, b"Sx")]),
            "origin_tls_error",
            "bytes came before",
        ),
        (
            "postgres",
            scripted(&[(SSL_REQUEST, b"HTTP")]),
            "origin_tls_refused",
            "no PostgreSQL",
        ),
        (
            "smtp",
            scripted(&[(b"", b"220 x\r\n"), (b"\r\n", b"250 x\r\n")]),
            "origin_tls_refused",
            "STARTTLS",
        ),
        (
            "smtp",
            scripted(&[(b"", b"554 no\r\n")]),
            "origin_tls_refused",
            "554 no",
        ),
        (
            "imap",
            scripted(&[(b"", b"* PREAUTH\r\n")]),
            "origin_tls_refused",
            "PREAUTH",
        ),
        (
            "pop3",
            scripted(&[(b"", b"+OK\r\n"), (b"STLS\r\n", b"+OK\r\n+OK\r\n")]),
            "origin_tls_error",
            "bytes came",
        ),
        (
            "smtp",
            scripted(&[
                (b"", b"220 x\r\n"),
                (b"\r\n", b"250-x\r\n250 STARTTLS\r\n"),
                (b"STARTTLS\r\n", b"220 go\r\n250 injected\r\n"),
            ]),
            "origin_tls_error",
            "bytes came",
        ),
        (
            "imap",
            scripted(&[
                (b"", b"* OK\r\n"),
                (b"STARTTLS\r\n", b"A OK\r\n* CAPABILITY AUTH=PLAIN\r\n"),
            ]),
            "origin_tls_error",
            "bytes came",
        ),
        (
            "ldap",
            scripted(&[(
                START_TLS,
                b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0\x30\x0c",
            )]),
            "origin_tls_error",
            "bytes came",
        ),
        (
            "xmpp",
            scripted(&[
                (
                    b"streams'>",
                    b"<stream:stream><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\
                      </stream:features>",
                ),
                (
                    b"xmpp-tls'/>",
                    b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><success/>",
                ),
            ]),
            "origin_tls_error",
            "bytes came",
        ),
    ] {
        let proxy = Proxy::builder()
            .originate(&origin)
            .origin_tls(&format!(
                "{{ ca: origin-ca.pem, server_name: origin.test, negotiate: {protocol} }}"
            ))
            .start();
        let ListenAddr::Tcp(address) = proxy.listen_addr("originate") else {
            panic!("a TCP address");
        };
        let mut client = TcpStream::connect(address).unwrap();
        let _ = client.write_all(b"a secret");
        assert_eq!(rest(&mut client), b"", "{protocol}");
        let record = proxy.outcome();
        record.must_be(reason);
        assert!(record.text("detail").contains(said), "{record:?}");
        assert_eq!(record.number("bytes_up"), 0);
    }
}

/// A server of several domains answers a stream for the one that it is asked for.
#[test]
fn the_stream_to_an_origin_of_xmpp_names_the_domain_of_the_client() {
    for (mode, sni, tls, domain) in [
        ("passthrough", "a.test", "{ negotiate: xmpp }", "a.test"),
        (
            "reencrypt",
            "a.test",
            "{ ca: origin-ca.pem, server_name: origin.test, negotiate: xmpp }",
            "origin.test",
        ),
        (
            "reencrypt",
            "a.test",
            "{ ca: origin-ca.pem, server_name: origin.test, sni: client, negotiate: xmpp }",
            "a.test",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = listener.local_addr().unwrap();
        let seen = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let (mut seen, mut byte) = (Vec::new(), [0]);
            while !seen.ends_with(b"streams'>") && stream.read(&mut byte).is_ok_and(|len| len == 1)
            {
                seen.push(byte[0]);
            }
            String::from_utf8(seen).unwrap()
        });
        let draft = endpoint("xmpp").route(mode, sni, &origin).origin_tls(tls);
        let draft = match mode {
            "passthrough" => draft,
            _ => draft.certificate_for(&[sni]),
        };
        let proxy = draft.start();
        let to = format!("127.0.0.1:{}", proxy.listen_addr("edge").port());
        let client = [
            "s_client",
            "-connect",
            &to,
            "-servername",
            sni,
            "-starttls",
            "xmpp",
        ];
        crate::harness::output("openssl", &client, "");
        let seen = seen.join().unwrap();
        assert!(seen.contains(&format!("to='{domain}'")), "{mode}: {seen}");
    }
}

#[test]
fn protocols_that_do_not_go_together_are_errors() {
    for (endpoint, mode, tls, said) in [
        (
            "negotiate: smtp",
            "passthrough",
            "{ ca: webpki }",
            "another one inside",
        ),
        (
            "negotiate: smtp",
            "reencrypt",
            "{ negotiate: imap }",
            "and its origins `imap`",
        ),
        (
            "backlog: 7",
            "passthrough",
            "{ negotiate: pop3 }",
            "they would get none",
        ),
        ("negotiate: mysql", "passthrough", "{ ca: webpki }", "salt"),
        (
            "negotiate: postgresql",
            "passthrough",
            "{ ca: webpki }",
            "postgres",
        ),
    ] {
        let text = format!(
            "endpoints:\n  - name: edge\n    listen: 127.0.0.1:0\n    {endpoint}\n    routes:\n      \
             - {{ name: a, match: {{ sni: a.test }}, mode: {mode}, upstream: u }}\n\
             upstreams:\n  u: {{ origins: [\"a.test:1\"], tls: {tls} }}\n"
        );
        let check = ConfigCheck::new(&text).check(&["--no-files"]);
        assert!(check.text().contains(said), "{said}: {}", check.text());
    }
    let tcp = "endpoints:\n  - { name: t, listen: 127.0.0.1:0, protocol: tcp, negotiate: smtp, routes: [{ name: a, \
               mode: forward, upstream: u }] }\nupstreams:\n  u: { origins: [\"a.test:1\"] }\n";
    let check = ConfigCheck::new(tcp).check(&["--no-files"]);
    assert!(
        check
            .text()
            .contains("`negotiate` on an endpoint with `protocol: tcp`"),
        "{}",
        check.text()
    );
}
