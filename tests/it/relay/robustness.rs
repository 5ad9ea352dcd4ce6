//! Misbehaving peers, logs and other processes: they delay no other connection, and no aborted stream looks
//! complete.

mod forged_records;
mod logs;
mod systemd_sockets;
mod teardown;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::harness::{
    Client, Directory, End, Origin, Port, Proxy, Stream, TIMEOUT, blackhole, eventually, pki,
};

/// Tests that count descriptors use one worker, so that no other opens its own meanwhile.
const ONE_WORKER: &str = "process: { workers: 1, limits: { handshakes: 2 } }";

/// An upper bound for anything that is not delayed.
const SOON: Duration = Duration::from_secs(3);

/// A socket with a tiny receive buffer, set before the connection because an offered window is not reduced.
fn narrow_socket() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket
}

/// An origin whose connections the test handles.
struct NarrowOrigin {
    listener: TcpListener,
    address: SocketAddr,
}

impl NarrowOrigin {
    fn new() -> Self {
        let socket = narrow_socket();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).unwrap();
        socket.listen(16).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            address: socket.local_addr().unwrap().as_socket().unwrap(),
            listener: socket.into(),
        }
    }

    #[track_caller]
    fn accept(&self) -> Stream {
        let mut accepted = None;
        eventually("the proxy dials the origin", || {
            accepted = self.listener.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.unwrap();
        stream.set_nonblocking(false).unwrap();
        Stream::tcp(stream)
    }
}

/// Whether a new connection is accepted. One that the kernel had not completed when the socket was closed is
/// reset, others are refused.
fn is_open(address: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&address, TIMEOUT) {
        Ok(_) => true,
        Err(error) => {
            let kinds = [
                io::ErrorKind::ConnectionRefused,
                io::ErrorKind::ConnectionReset,
            ];
            assert!(kinds.contains(&error.kind()), "{error}");
            false
        }
    }
}

#[track_caller]
fn took_less_than(limit: Duration, since: Instant) {
    let took = since.elapsed();
    assert!(took < limit, "{took:?}");
}

/// A TLS client, and its connection on the side of the origin.
#[track_caller]
fn connected(proxy: &Proxy, origin: &NarrowOrigin) -> (Stream, Stream) {
    let client = proxy.client("a.test").connect();
    (client, origin.accept())
}

#[test]
fn a_draining_process_refuses_new_connections_and_leaves_its_port_to_a_successor() {
    let origin = Origin::echo();
    let port = Port::reserve();
    let listen = format!("\"{}\"", port.address());
    let configured = || Proxy::builder().forward(&origin).listen(&listen);
    // `listen` applies to the last endpoint, which `forward` has just begun.
    let mut old = configured().start();
    let client = old.dial("forward");
    client.must_echo(b"before");
    let start = Instant::now();
    old.signal(Signal::TERM);
    eventually("it refuses", || !is_open(port.address()));
    took_less_than(SOON, start);
    assert!(old.is_running(), "it drains");
    let mut new = configured().start();
    new.dial("forward").must_echo(b"served by the successor");
    client.must_echo(b"still served by the old process");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    assert_eq!(old.exit_code(), 0);
    new.dial("forward").must_echo(b"and nothing else changed");
    assert!(new.is_running());
}

#[test]
fn a_draining_process_removes_its_own_unix_socket_and_not_its_successors() {
    let origin = Origin::echo();
    let directory = Directory::new();
    let path = directory.join("edge.sock");
    let listen = format!("\"unix:{}\"", path.display());
    let configured = || Proxy::builder().forward(&origin).listen(&listen);
    let mut old = configured().start();
    let client = old.dial("forward");
    client.must_echo(b"before");
    old.signal(Signal::TERM);
    eventually("the file is gone", || !path.exists());
    assert!(old.is_running(), "it drains");
    let new = configured().start();
    client.must_echo(b"still served by the old process");
    client.end();
    client.receive_to_end();
    assert_eq!(old.exit_code(), 0);
    assert!(path.exists(), "the successor's socket was removed");
    new.dial("forward").must_echo(b"served by the successor");
}

#[test]
fn unresponsive_origins_do_not_use_up_handshake_permits() {
    const WAITING: usize = 6;
    let silent = Origin::plain().silent();
    let (hanging, _full) = blackhole();
    let healthy = Origin::echo();
    let patient = "connect: { timeout: 18s, attempts: 1 }";
    let proxy = Proxy::builder()
        .top("process: { limits: { handshakes: 4 } }")
        .endpoint("edge", "tls")
        .on_endpoint("timeouts: { origin: 18s }")
        .reencrypt("silent.test", &silent)
        .on_upstream(patient)
        .terminate("hanging.test", &hanging)
        .on_upstream(patient)
        .endpoint("other", "tls")
        .terminate("a.test", &healthy)
        .start();
    let start = Instant::now();
    // Each client has completed its handshake with the proxy when `connect` returns.
    let _waiting: Vec<_> = ["silent.test", "hanging.test"]
        .iter()
        .flat_map(|name| (0..WAITING).map(|_| proxy.client(name).connect()))
        .collect();
    eventually("the silent origin has all of them", || {
        silent.accepts() == WAITING
    });
    let client = Client::new(proxy.listen_addr("other"), "a.test").connect();
    client.must_echo(b"at once");
    took_less_than(Duration::from_secs(10), start);
    assert!(proxy.records_left().is_empty(), "the others still wait");
}

#[test]
fn silent_tls_clients_do_not_block_a_plain_endpoint() {
    const SILENT: usize = 2;
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top(ONE_WORKER)
        .passthrough("a.test", &origin)
        .on_endpoint("timeouts: { hello: 18s }")
        .forward(&origin)
        .start();
    let first = proxy.dial("forward");
    first.must_echo(b"the worker serves");
    let before = proxy.usage().sockets;
    let _silent: Vec<_> = (0..SILENT).map(|_| proxy.dial("edge")).collect();
    eventually("all clients are connected", || {
        proxy.usage().sockets >= before + SILENT
    });
    let start = Instant::now();
    proxy.dial("forward").must_echo(b"at once");
    took_less_than(SOON, start);
}

/// The server name that an origin with a certificate for `names` received from a client of `a.test`, or the
/// reason why the proxy rejected the origin.
#[track_caller]
fn sent_name_or_rejection(names: &[&str], server_name: &str) -> Result<String, String> {
    let origin = Origin::tls(&pki().origin(names)).serve(|stream| {
        stream.send(stream.server_name().unwrap_or_default());
        stream.end();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .origin_tls(&format!(
            "{{ ca: origin-ca.pem, sni: client, server_name: \"{server_name}\" }}"
        ))
        .start();
    let client = proxy.client("a.test").connect();
    client.send(b"for the verified origin only");
    let (answer, _) = client.receive_to_end();
    client.end();
    let record = proxy.outcome_of(&client);
    if record.reason() == "ok" {
        return Ok(String::from_utf8(answer).unwrap());
    }
    assert_eq!((answer, origin.bytes()), (vec![], 0));
    Err(record.reason().to_owned())
}

#[test]
fn the_configured_name_is_verified_when_the_clients_name_is_sent() {
    for configured in ["origin.test", "127.0.0.1"] {
        assert_eq!(
            sent_name_or_rejection(&[configured], configured).as_deref(),
            Ok("a.test"),
            "{configured}"
        );
        assert_eq!(
            sent_name_or_rejection(&["a.test"], configured).unwrap_err(),
            "origin_tls_name",
            "{configured}"
        );
    }
}

#[test]
fn a_name_that_does_not_resolve_is_waited_for_only_once() {
    let proxy = Proxy::builder().forward(&"nowhere.invalid:80").start();
    proxy.log_line(|line| line.contains("cannot be resolved"));
    let start = Instant::now();
    for _ in 0..5 {
        let client = proxy.dial("forward");
        client.receive_to_end();
        proxy
            .outcome_of(&client)
            .must_be("origin_resolve")
            .must_have("stage", "resolve")
            .must_have("fault", "origin");
    }
    assert!(start.elapsed() < Duration::from_secs(2));
}

mod certificates {
    //! Client certificates with fields that the harness cannot produce.

    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
        ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    };

    use crate::harness::{Identity, Origin, Proxy, eventually};

    /// The log line, in this format, of a client with this certificate.
    #[track_caller]
    fn line(format: &str, common_name: &str, sans: &[SanType]) -> String {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.subject_alt_names = sans.to_vec();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let identity = Identity {
            cert: certificate.pem(),
            key: key.serialize_pem(),
        };
        let origin = Origin::echo();
        let proxy = Proxy::builder()
            .top(&format!("access_log: {{ format: {format} }}"))
            .file("own-ca.pem", authority.as_ref().pem())
            .terminate("a.test", &origin)
            .on_tls("client_auth: { mode: required, ca: own-ca.pem }")
            .start();
        let client = proxy.client("a.test").certificate(&identity).connect();
        client.must_echo(b"let in");
        client.end();
        client.receive_to_end();
        eventually("the record", || !proxy.records_left().is_empty());
        proxy.records_left().remove(0)
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.to_owned().try_into().unwrap())
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.to_owned().try_into().unwrap())
    }

    /// One field of a certificate, as it stands in a line of logfmt.
    #[track_caller]
    fn field<'l>(line: &'l str, name: &str) -> &'l str {
        let key = format!("{name}=");
        line.split(" client_cert.")
            .find_map(|field| field.strip_prefix(&key))
            .unwrap_or_else(|| panic!("no {name} in {line}"))
    }

    /// Unescaped commas, which separate names.
    fn separators(list: &str) -> usize {
        let mut escaped = false;
        let mut count = 0;
        for c in list.chars() {
            match c {
                ',' if !escaped => count += 1,
                _ => {}
            }
            escaped = c == '\\' && !escaped;
        }
        count
    }

    #[test]
    fn one_alternative_name_with_a_comma_does_not_look_like_two() {
        let two = line("logfmt", "eve", &[uri("spiffe://x/eve"), dns("admin.test")]);
        let two = field(&two, "sans");
        assert_eq!(
            two.trim_end_matches(' '),
            "URI:spiffe://x/eve,DNS:admin.test"
        );
        assert_eq!(separators(two), 1);
        // One comma, one that its owner has escaped, and one behind a backslash that is escaped.
        for separator in [",", "\\,", "\\\\,"] {
            let one = line(
                "logfmt",
                "eve",
                &[uri(&format!("spiffe://x/eve{separator}DNS:admin.test"))],
            );
            let one = field(&one, "sans");
            assert_ne!(one, two);
            assert_eq!(separators(one), 0, "{one}");
        }
    }

    #[test]
    fn a_common_name_does_not_look_like_more_of_the_subject() {
        let hostile = line("json", "eve, O=Admins", &[dns("eve.test")]);
        let record: serde_json::Value = serde_json::from_str(&hostile).unwrap();
        let subject = record["client_cert"]["subject"].as_str().unwrap();
        assert!(!subject.contains("eve, O"), "{subject}");
        assert!(!subject.contains("O=Admins"), "{subject}");
        assert!(subject.starts_with("CN=eve\\"), "{subject}");
        let hostile = line("logfmt", "eve, O=Admins", &[dns("eve.test")]);
        let subject = field(&hostile, "subject");
        assert!(!subject.contains("eve, O"), "{subject}");
        assert!(!subject.contains("O=Admins"), "{subject}");
    }
}
