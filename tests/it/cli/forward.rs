//! `reseal forward`. What a flag does is tried with the flags, and again with the configuration that they
//! stand for.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::DnType;
use rcgen::string::Ia5String;
use rustls::ServerConnection;

use crate::harness::proxy_header::ReceivedHeader;
use crate::harness::{
    Client, Directory, End, Identity, Leaf, LetterOrigin, List, Origin, Serving, Stream, TIMEOUT,
    echo, finish, output, pki, reseal, reseal_in,
};

const ACCESS_DENIED: End = End::Alert(49);
const CERTIFICATE_REQUIRED: End = End::Alert(116);
const CERTIFICATE_REVOKED: End = End::Alert(44);

/// TLS on the listener, with a certificate for `a.test`.
const TLS: &str = "--listen tls://127.0.0.1:0 --cert edge.pem";

/// TLS to an origin with a certificate for `origin.test`.
const SEALED: &str = "--listen 127.0.0.1:0 --ca origin-ca.pem --server-name origin.test";

/// A directory with the files of the CAs, and the listener's certificate with its key.
fn files() -> Directory {
    let directory = Directory::new();
    for (name, text) in pki().files() {
        directory.write(name, text);
    }
    write_pair(&directory, "edge.pem", &pki().edge(&["a.test"]));
    directory
}

fn write_pair(directory: &Directory, name: &str, pair: &Identity) {
    directory.write(name, format!("{}{}", pair.cert, pair.key));
}

fn command(directory: &Directory, words: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
    command.args(words.split_whitespace());
    command.current_dir(directory.path());
    command
}

/// Starts `forward` with these flags, and a process that runs what they print, one after the other.
fn each_way(directory: &Directory, flags: &str, run: impl Fn(&Serving)) {
    let serving = Serving::spawn(command(directory, &format!("forward {flags}")));
    run(&serving);
    serving.must_end_at_once();
    let printed = finish(command(directory, &format!("forward {flags} --print")), b"");
    printed.must_exit_with(0);
    // Its paths do not depend on where it is.
    let elsewhere = directory.write("elsewhere/config.yaml", printed.stdout);
    let file = elsewhere.display().to_string();
    let mut started = Command::new(env!("CARGO_BIN_EXE_reseal"));
    started.args(["run", "--config", &file]);
    run(&Serving::spawn(started));
}

/// The record of the connection that has ended.
#[track_caller]
fn must_record(serving: &Serving, words: &str) {
    let line = serving.stdout.wait(TIMEOUT, |lines| lines.pop());
    let line = line.expect("one line for the connection");
    assert!(line.contains(words), "no {words} in {line}");
}

#[track_caller]
fn must_carry(serving: &Serving) {
    let client = Stream::dial(&serving.listen_addr()).unwrap();
    client.must_echo(b"through");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    must_record(serving, "reason=ok");
}

#[track_caller]
fn must_refuse(serving: &Serving, reason: &str) {
    let client = Stream::dial(&serving.listen_addr()).unwrap();
    client.receive_to_end();
    must_record(serving, &format!("reason={reason}"));
}

#[test]
fn one_port_is_relayed() {
    let origin = Origin::echo();
    let flags = format!("--listen 127.0.0.1:0 --to {origin}");
    each_way(&files(), &flags, must_carry);
}

#[test]
fn the_rate_is_limited_and_chunks_are_delayed() {
    let origin = Origin::echo();
    let to = origin.listen_addr().to_string();
    let serve = |more: &[&str]| {
        let words = ["forward", "--listen", "127.0.0.1:0", "--to", &to];
        Serving::start(&[&words[..], more].concat())
    };
    let echoes = |serving: &Serving, data: &[u8]| {
        let client = Stream::dial(&serving.listen_addr()).unwrap();
        let start = Instant::now();
        client.must_echo(data);
        start.elapsed()
    };
    let serving = serve(&["--rate", "64KiB/s"]);
    // A tenth of a second's worth is there at once.
    let took = echoes(&serving, &[1; 64 << 10]);
    assert!(took >= Duration::from_millis(850), "{took:?}");
    serving.must_end_at_once();
    let serving = serve(&["--delay", "300ms"]);
    let took = echoes(&serving, b"x");
    assert!(took >= Duration::from_millis(590), "{took:?}");
    serving.must_end_at_once();
}

#[test]
fn tls_is_terminated_and_originated() {
    let origin = Origin::with_tls().echo();
    let flags =
        format!("{TLS} --to tls://{origin} --ca origin-ca.pem --server-name origin.test --idle 1m");
    each_way(&files(), &flags, |serving| {
        let client = Client::new(&serving.listen_addr(), "a.test");
        let stream = client.without_sni().connect();
        stream.must_echo(b"TLS on both sides");
    });
}

#[test]
fn the_origin_is_shown_the_client_certificate() {
    let directory = files();
    let client = pki().client("forward");
    directory.write("client.pem", &client.cert);
    directory.write("client.key", &client.key);
    let origin = Origin::with_tls().requiring_certificate().echo();
    let flags = format!("{SEALED} --to tls://{origin}");
    let shown = format!("{flags} --client-cert client.pem --client-key client.key");
    each_way(&directory, &shown, must_carry);
    // In one file.
    write_pair(&directory, "both.pem", &client);
    each_way(
        &directory,
        &format!("{flags} --client-cert both.pem"),
        must_carry,
    );
}

#[test]
fn certificates_may_be_stores_with_a_password() {
    let directory = files();
    directory.write("password", "a secret");
    let store = |name: &str, pair: &Identity| {
        directory.write("pair.key", &pair.key);
        directory.write("pair.pem", &pair.cert);
        let path = |name: &str| directory.join(name).display().to_string();
        let (key, cert, out) = (path("pair.key"), path("pair.pem"), path(name));
        let secret = format!("file:{}", path("password"));
        let words = [
            "pkcs12", "-export", "-inkey", &key, "-in", &cert, "-passout", &secret, "-out", &out,
        ];
        output("openssl", &words, "").must_exit_with(0);
    };
    store("edge.p12", &pki().edge(&["a.test"]));
    store("client.p12", &pki().client("forward"));
    let origin = Origin::with_tls().requiring_certificate().echo();
    let flags = format!(
        "--listen tls://127.0.0.1:0 --cert edge.p12 --password-file password --to tls://{origin} \
         --ca origin-ca.pem --server-name origin.test --client-cert client.p12 \
         --client-password-file password"
    );
    each_way(&directory, &flags, |serving| {
        let client = Client::new(&serving.listen_addr(), "a.test");
        client.connect().must_echo(b"stores on both sides");
    });
}

/// A client that has this name in one of the ways that rules look at.
fn named(kind: &str, name: &str) -> Identity {
    let leaf = Leaf::client("nobody").shaped(|params| {
        let san = |text: &str| Ia5String::try_from(text).unwrap();
        params.subject_alt_names = match kind {
            "dns" => vec![rcgen::SanType::DnsName(san(name))],
            "uri" => vec![rcgen::SanType::URI(san(name))],
            _ => vec![],
        };
        params.distinguished_name = rcgen::DistinguishedName::new();
        let attribute = match kind {
            "ou" => DnType::OrganizationalUnitName,
            _ => DnType::CommonName,
        };
        let subject = if matches!(kind, "cn" | "ou") {
            name
        } else {
            "nobody"
        };
        params.distinguished_name.push(attribute, subject);
    });
    pki().clients.issue(&leaf)
}

fn key_sha256(identity: &Identity) -> String {
    let digest = reseal::internals::spki_sha256(&identity.chain()[0]).unwrap();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn each_allow_flag_admits_whom_it_names() {
    let directory = files();
    let origin = Origin::echo();
    let pinned = pki().client("pinned");
    let pin = key_sha256(&pinned);
    for (flag, good) in [
        ("--allow-dns *.ops.test", named("dns", "a.ops.test")),
        (
            "--allow-uri spiffe://x.test/ns/*",
            named("uri", "spiffe://x.test/ns/prod"),
        ),
        ("--allow-cn 1.2", named("cn", "1.2")),
        ("--allow-ou ops", named("ou", "ops")),
        (&*format!("--allow-spki {pin}"), pinned),
        // Any of several is enough.
        (
            "--allow-cn b --allow-cn a --allow-dns none.test",
            named("cn", "a"),
        ),
    ] {
        let flags = format!("{TLS} --to {origin} --client-ca client-ca.pem {flag}");
        each_way(&directory, &flags, |serving| {
            let client = Client::new(&serving.listen_addr(), "a.test");
            let admitted = client.clone().certificate(&good).connect();
            admitted.must_echo(b"admitted");
            admitted.end();
            admitted.receive_to_end();
            must_record(serving, "reason=ok");
            let other = named("cn", "other");
            assert_eq!(
                client.certificate(&other).refusal(),
                ACCESS_DENIED,
                "{flag}"
            );
            must_record(serving, "reason=client_cert_not_allowed");
        });
    }
}

#[test]
fn clients_need_a_certificate_of_the_ca_that_is_not_revoked() {
    let directory = files();
    let origin = Origin::echo();
    let issue = |serial| {
        let leaf = Leaf::client("x").serial(serial);
        pki().clients.issue(&leaf)
    };
    directory.write("crl.pem", List::of(&[7]).pem(&pki().clients));
    let flags = format!("{TLS} --to {origin} --client-ca client-ca.pem --crl crl.pem");
    each_way(&directory, &flags, |serving| {
        let client = Client::new(&serving.listen_addr(), "a.test");
        assert_eq!(client.refusal(), CERTIFICATE_REQUIRED);
        must_record(serving, "reason=client_cert_missing");
        let revoked = client.clone().certificate(&issue(7));
        assert_eq!(revoked.refusal(), CERTIFICATE_REVOKED);
        must_record(serving, "reason=client_cert_revoked");
        let stream = client.certificate(&issue(8)).connect();
        stream.must_echo(b"good");
    });
}

#[test]
fn each_verify_flag_demands_more_of_the_origin() {
    let directory = files();
    let leaf = Leaf::server(&["origin.test", "other.test"]).shaped(|params| {
        let uri = Ia5String::try_from("spiffe://x.test/db").unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI(uri));
        let unit = DnType::OrganizationalUnitName;
        params.distinguished_name.push(unit, "databases");
    });
    let identity = pki().origins.issue(&leaf);
    let origin = Origin::tls(&identity).echo();
    let pin = key_sha256(&identity);
    let none = "0".repeat(64);
    for (flag, good, bad) in [
        ("--verify-dns", "other.test", "third.test"),
        ("--verify-uri", "spiffe://x.test/*", "spiffe://y.test/*"),
        ("--verify-cn", "origin.test", "other.test"),
        ("--verify-ou", "databases", "web"),
        ("--verify-spki", &pin, &none),
    ] {
        let flags = format!("{SEALED} --to tls://{origin} {flag}");
        each_way(&directory, &format!("{flags} {good}"), must_carry);
        each_way(&directory, &format!("{flags} {bad}"), |serving| {
            must_refuse(serving, "origin_tls_name");
        });
    }
}

#[test]
fn a_revoked_origin_is_refused() {
    let directory = files();
    let leaf = Leaf::server(&["origin.test"]).serial(7);
    let origin = Origin::tls(&pki().origins.issue(&leaf)).echo();
    let flags = format!("{SEALED} --to tls://{origin} --verify-crl crl.pem");
    directory.write("crl.pem", List::of(&[7]).pem(&pki().origins));
    each_way(&directory, &flags, |serving| {
        must_refuse(serving, "origin_tls_revoked");
    });
    directory.write("crl.pem", List::of(&[8]).pem(&pki().origins));
    each_way(&directory, &flags, must_carry);
}

#[test]
fn alpn_is_that_of_the_listener_or_else_offered_to_the_origin() {
    let directory = files();
    let plain = Origin::echo();
    let flags = format!("{TLS} --to {plain} --alpn h2 --alpn http/1.1");
    each_way(&directory, &flags, |serving| {
        let client = Client::new(&serving.listen_addr(), "a.test");
        let stream = client.alpn(&["http/1.1", "h2"]).connect();
        assert_eq!(stream.alpn().as_deref(), Some("h2"));
    });
    let sealed = Origin::with_tls().alpn(&["mqtt"]).serve(|stream| {
        assert_eq!(stream.alpn().as_deref(), Some("mqtt"));
        echo(&stream);
    });
    let flags = format!("{SEALED} --to tls://{sealed} --alpn x,mqtt");
    each_way(&directory, &flags, must_carry);
}

const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

/// An echo whose TLS begins as that of PostgreSQL, for any number of connections.
fn postgres() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(pki().server_config(&pki().origin(&["origin.test"])));
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 8];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(request, SSL_REQUEST);
            stream.write_all(b"S").unwrap();
            let conn = ServerConnection::new(Arc::clone(&config)).unwrap();
            let stream = Stream::tcp(stream).handshake(conn.into()).unwrap();
            echo(&stream);
        }
    });
    address
}

#[test]
fn tls_begins_inside_a_protocol_on_each_side_that_has_tls() {
    let directory = files();
    let ask = |serving: &Serving| {
        let mut stream = TcpStream::connect(serving.listen_addr().tcp()).unwrap();
        stream.write_all(SSL_REQUEST).unwrap();
        let mut answer = [0; 1];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"S");
        let config = Client::new(&serving.listen_addr(), "a.test").config();
        let name = "a.test".try_into().unwrap();
        let conn = rustls::ClientConnection::new(config, name).unwrap();
        let stream = Stream::tcp(stream).handshake(conn.into()).unwrap();
        stream.must_echo(b"a query");
    };
    let plain = Origin::echo();
    let flags = format!("{TLS} --to {plain} --negotiate postgres");
    each_way(&directory, &flags, ask);
    let flags = format!("{SEALED} --to tls://{} --negotiate postgres", postgres());
    each_way(&directory, &flags, must_carry);
    let flags = format!(
        "{TLS} --to tls://{} --ca origin-ca.pem --server-name origin.test --negotiate postgres",
        postgres()
    );
    each_way(&directory, &flags, ask);
}

#[test]
fn the_proxy_header_goes_first_in_version_2_or_the_one_that_is_named() {
    let directory = files();
    let (sender, sources) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::plain().serve(move |stream| {
        let header = ReceivedHeader::receive(&stream);
        let _ = sender.lock().unwrap().send(header.source());
        echo(&stream);
    });
    for flag in ["--proxy-protocol", "--proxy-protocol=v2"] {
        let flags = format!("--listen 127.0.0.1:0 --to {origin} {flag}");
        each_way(&directory, &flags, |serving| {
            let client = Stream::dial(&serving.listen_addr()).unwrap();
            client.must_echo(b"behind it");
            assert_eq!(sources.recv_timeout(TIMEOUT), Ok(client.local()));
        });
    }
    let (origin, reports) = Origin::plain().reporting();
    let flags = format!("--listen 127.0.0.1:0 --to {origin} --proxy-protocol=v1");
    each_way(&directory, &flags, |serving| {
        let client = Stream::dial(&serving.listen_addr()).unwrap();
        let from = client.local();
        client.end();
        let data = reports.recv_timeout(TIMEOUT).unwrap().data;
        let line = String::from_utf8(data).unwrap();
        assert!(
            line.starts_with(&format!("PROXY TCP4 {} ", from.ip())) && line.ends_with("\r\n"),
            "{line}"
        );
    });
}

#[test]
fn listeners_and_origins_may_be_unix_sockets() {
    let directory = files();
    let origin = Origin::plain().at(&directory.join("origin.sock")).echo();
    let tcp = Origin::echo();
    each_way(
        &directory,
        "--unix in.sock --to unix:origin.sock",
        |serving| {
            assert!(serving.listen_addr().to_string().ends_with("/in.sock"));
            must_carry(serving);
        },
    );
    each_way(
        &directory,
        &format!("--listen unix:in.sock --to {tcp}"),
        must_carry,
    );
    let tls = format!("--listen tls://unix:in.sock --cert edge.pem --to {tcp}");
    each_way(&directory, &tls, |serving| {
        let client = Client::new(&serving.listen_addr(), "a.test");
        client.connect().must_echo(b"TLS over a unix socket");
    });
    drop(origin);
}

#[test]
fn connections_go_to_several_origins_as_balance_says() {
    let directory = files();
    let (a, b) = (LetterOrigin::new('a'), LetterOrigin::new('b'));
    let letters = |serving: &Serving, count| {
        let letter = |_| {
            let client = Stream::dial(&serving.listen_addr()).unwrap();
            String::from_utf8(client.receive(1)).unwrap()
        };
        (0..count).map(letter).collect::<String>()
    };
    let flags = format!("--listen 127.0.0.1:0 --to {a} --to {b}");
    each_way(&directory, &flags, |serving| {
        let seen = letters(serving, 4);
        assert!(["abab", "baba"].contains(&&*seen), "{seen}");
    });
    each_way(&directory, &format!("{flags} --balance first"), |serving| {
        assert_eq!(letters(serving, 3), "aaa");
    });
    drop(a);
    each_way(&directory, &format!("{flags} --balance first"), |serving| {
        assert_eq!(letters(serving, 2), "bb");
    });
}

#[test]
fn origins_are_checked() {
    let directory = files();
    let (sender, requests) = channel();
    let sender = Mutex::new(sender);
    let origin = Origin::plain().serve(move |stream| {
        if let Ok(request) = stream.read() {
            let _ = sender.lock().unwrap().send(request);
            let _ = stream.try_send(b"HTTP/1.1 500 Bad\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let flags = format!("--listen 127.0.0.1:0 --to {origin} --check /health?x=1");
    each_way(&directory, &flags, |serving| {
        serving.listen_addr();
        let request = requests.recv_timeout(TIMEOUT).unwrap();
        assert!(request.starts_with(b"GET /health?x=1 HTTP/1.1\r\n"));
    });
    for check in ["tcp", "tls", "smtp"] {
        let seal = if check == "tls" { "tls://" } else { "" };
        let flags = format!("--listen 127.0.0.1:0 --to {seal}127.0.0.1:1 --check {check}");
        let printed = finish(
            command(&directory, &format!("forward {flags} --print")),
            b"",
        );
        printed.must_exit_with(0).must_print(check);
    }
}

#[test]
fn what_is_printed_loads() {
    let directory = files();
    let flags = format!(
        "{TLS} --key edge.pem --client-ca client-ca.pem --allow-cn x --to tls://a.test:1 --to tls://b.test:2 \
         --balance first --check tls --proxy-protocol --alpn h2 --rate 1MiB/s --max-connections 7"
    );
    let printed = finish(
        command(&directory, &format!("forward {flags} --print")),
        b"",
    );
    printed.must_exit_with(0);
    assert_eq!(printed.stderr, "");
    for file in ["/dev/stdin", "-"] {
        let checked = finish(
            command(&directory, &format!("check {file}")),
            printed.stdout.as_bytes(),
        );
        checked.must_exit_with(0).must_print(": good");
    }
    // Files are not read: it may be for another machine.
    let other = finish(
        command(
            &directory,
            "forward --listen tls://127.0.0.1:0 --cert none.pem --to 127.0.0.1:1 --print",
        ),
        b"",
    );
    let whole = directory.join("none.pem").display().to_string();
    other.must_exit_with(0).must_print(&whole);
    // What cannot be served is not printed.
    let refused = finish(
        command(
            &directory,
            "forward --listen nonsense --to 127.0.0.1:1 --print",
        ),
        b"",
    );
    refused.must_exit_with(2);
    assert_eq!(refused.stdout, "");
}

#[test]
fn flags_that_do_not_fit_are_named() {
    for (flags, what) in [
        ("--listen tls://127.0.0.1:0", "needs --cert"),
        (
            "--listen 127.0.0.1:0 --client-ca x",
            "--client-ca needs --listen tls://127.0.0.1:0",
        ),
        (
            "--listen 127.0.0.1:0 --client-cert x",
            "--client-cert needs --to tls://",
        ),
        ("--listen 127.0.0.1:0 --ca x", "needs --to tls://"),
        (
            "--listen tls://127.0.0.1:0 --cert x --delay 1s",
            "--delay is for tests of applications",
        ),
        ("--listen 127.0.0.1:0 --rate 10MB/s", "write `10MiB/s`"),
        ("--listen 127.0.0.1:0 --rate 0", "would let nothing through"),
        ("--listen 127.0.0.1:0 --delay soon", "is not a duration"),
        ("--listen nonsense", "is not an address to listen on"),
        (
            "--listen 127.0.0.1:0 --allow-cn x",
            "--allow-… needs --listen tls://127.0.0.1:0",
        ),
        (
            "--listen tls://127.0.0.1:0 --cert x --allow-cn x",
            "--allow-… needs --client-ca FILE",
        ),
        (
            "--listen tls://127.0.0.1:0 --cert x --crl x",
            "--crl needs --client-ca FILE",
        ),
        (
            "--listen 127.0.0.1:0 --verify-cn x",
            "--verify-… needs --to tls://127.0.0.1:1",
        ),
        (
            "--listen 127.0.0.1:0 --alpn h2",
            "--alpn needs --listen tls://",
        ),
        (
            "--listen 127.0.0.1:0 --negotiate smtp",
            "--negotiate needs --listen tls://",
        ),
        (
            "--listen 127.0.0.1:0 --to tls://127.0.0.1:2",
            "some --to have tls:// and others do not",
        ),
        (
            "--listen tls://127.0.0.1:0 --cert x --negotiate smpt",
            "`smtp`",
        ),
        ("--listen 127.0.0.1:0 --unix x", "cannot be used with"),
        ("--idle 1m", "--listen"),
        (
            "--listen 127.0.0.1:0 --balance leastconn",
            "`least_connections`",
        ),
        ("--listen 127.0.0.1:0 --check ssl", "unknown preset"),
    ] {
        let arguments: Vec<_> = ["forward", "--to", "127.0.0.1:1"]
            .into_iter()
            .chain(flags.split_whitespace())
            .collect();
        reseal(&arguments).must_exit_with(2).must_print(what);
    }
    // For the certificate of the origin there is another flag.
    let seals = "forward --to tls://127.0.0.1:1 --listen 127.0.0.1:0 --crl x";
    let words: Vec<_> = seals.split_whitespace().collect();
    reseal_in(files().path(), &words)
        .must_exit_with(2)
        .must_print("for the certificate of the origin there is --verify-crl");
}
