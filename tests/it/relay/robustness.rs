//! Misbehaving peers, logs and other processes: they delay no other connection, and no aborted stream looks
//! complete.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};

use crate::harness::{
    Client, Directory, End, Leaf, ListenAddr, Origin, Port, Proxy, Stream, TIMEOUT, blackhole,
    eventually, noise, output, pki, recorded_hello,
};

/// More bytes than a narrow peer has room for, and fewer than the proxy can queue in the kernel.
const FLOOD: usize = 100_000;

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

/// A client whose receive buffer holds next to nothing.
#[track_caller]
fn narrow_client(place: &ListenAddr) -> Stream {
    let socket = narrow_socket();
    socket.connect(&place.tcp().into()).unwrap();
    Stream::tcp(socket.into())
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

/// Stops the proxy by two signals, and waits for its end.
#[track_caller]
fn stop_twice(proxy: &mut Proxy, endpoint: &str) {
    let address = proxy.listen_addr(endpoint).tcp();
    proxy.signal(Signal::TERM);
    eventually("it begins to stop", || !is_open(address));
    proxy.signal(Signal::TERM);
    proxy.exit_code();
}

/// Call this after the end of the process. Probes of `is_open` have records, too.
#[track_caller]
fn has_no_other_record(proxy: &Proxy, client: &Stream) {
    let address = client.local().to_string();
    let others = proxy.all_records();
    let others = others
        .iter()
        .filter(|record| record.text("client") == address);
    assert_eq!(others.count(), 0, "{address} has had its record");
}

#[track_caller]
fn took_less_than(limit: Duration, since: Instant) {
    let took = since.elapsed();
    assert!(took < limit, "{took:?}");
}

/// A client whose origin has reset, with bytes still in flight to the client.
#[track_caller]
fn reset_by_its_origin(proxy: &Proxy, origin: &NarrowOrigin) -> Stream {
    let client = narrow_client(proxy.listen_addr("forward"));
    let stream = origin.accept();
    stream.send(noise(FLOOD, 1));
    client.receive(1);
    stream.reset();
    client
}

/// A TLS client, and its connection on the side of the origin.
#[track_caller]
fn connected(proxy: &Proxy, origin: &NarrowOrigin) -> (Stream, Stream) {
    let client = proxy.client("a.test").connect();
    (client, origin.accept())
}

/// Ends a TLS stream without close_notify, after more bytes than a narrow origin takes.
#[track_caller]
fn truncate(client: &Stream) {
    client.send(noise(FLOOD, 2));
    client.fin();
}

#[test]
fn a_stream_reset_by_its_origin_does_not_look_complete_when_the_process_stops() {
    let origin = NarrowOrigin::new();
    let mut proxy = Proxy::builder().forward(&origin.address).start();
    let client = reset_by_its_origin(&proxy, &origin);
    // The record does not wait for the slow client.
    proxy.outcome_of(&client).must_be("origin_reset");
    stop_twice(&mut proxy, "forward");
    let (data, end) = client.receive_to_end();
    assert!(data.len() < FLOOD - 1, "nothing was left to deliver");
    assert_eq!(end, End::Reset);
    has_no_other_record(&proxy, &client);
}

#[test]
fn a_stream_truncated_by_its_client_does_not_look_complete_when_the_process_stops() {
    let origin = NarrowOrigin::new();
    let mut proxy = Proxy::builder()
        .terminate("a.test", &origin.address)
        .start();
    let (client, stream) = connected(&proxy, &origin);
    truncate(&client);
    proxy.outcome_of(&client).must_be("client_truncated");
    stop_twice(&mut proxy, "edge");
    let (data, end) = stream.receive_to_end();
    assert!(data.len() < FLOOD, "nothing was left to deliver");
    assert_eq!(end, End::Reset);
    has_no_other_record(&proxy, &client);
}

#[test]
fn a_teardown_ends_with_the_lifetime_even_without_half_close() {
    let origin = NarrowOrigin::new();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin.address)
        .on_endpoint("timeouts: { lifetime: 2s, half_close: none }")
        .top(ONE_WORKER)
        .start();
    let (client, stream) = connected(&proxy, &origin);
    let open = proxy.usage().descriptors;
    truncate(&client);
    proxy.outcome_of(&client).must_be("client_truncated");
    // Without the lifetime, the final flush would take a minute: longer than this waits.
    eventually("both sockets are closed", || {
        proxy.usage().descriptors <= open - 2
    });
    assert_eq!(stream.receive_to_end().1, End::Reset);
}

#[test]
fn the_final_flush_does_not_wait_for_a_peer_that_reset() {
    let origin = NarrowOrigin::new();
    let proxy = Proxy::builder()
        .forward(&origin.address)
        .on_endpoint("timeouts: { half_close: none }")
        .top(ONE_WORKER)
        .start();
    let client = reset_by_its_origin(&proxy, &origin);
    proxy.outcome_of(&client).must_be("origin_reset");
    // The final flush waits for a client that is only slow.
    let open = proxy.usage().descriptors;
    let start = Instant::now();
    client.reset();
    // The worker may keep pipes; the two sockets are closed.
    eventually("both sockets are closed", || {
        proxy.usage().descriptors <= open - 2
    });
    took_less_than(SOON, start);
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
    let before = proxy.usage().descriptors;
    let _silent: Vec<_> = (0..SILENT).map(|_| proxy.dial("edge")).collect();
    eventually("all clients are connected", || {
        proxy.usage().descriptors >= before + SILENT
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

/// A TLS record of application data that fails authentication.
fn forged_record() -> Vec<u8> {
    let mut record = vec![23, 3, 3, 0, 64];
    record.extend(noise(64, 3));
    record
}

const BAD_RECORD_MAC: u8 = 20;

#[test]
fn a_forged_record_of_a_client_ends_only_its_connection_with_an_alert() {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder().terminate("a.test", &origin).start();
    let other = proxy.client("a.test").connect();
    other.must_echo(b"before");
    for client in [
        proxy.client("a.test").tls12(),
        proxy.client("a.test").tls13(),
    ] {
        let client = client.connect();
        client.must_echo(b"all is well");
        client.write_raw(&forged_record()).unwrap();
        assert_eq!(
            client.receive_to_end(),
            (vec![], End::Alert(BAD_RECORD_MAC))
        );
        proxy
            .outcome_of(&client)
            .must_be("client_tls_error")
            .must_have("stage", "relay")
            .must_have("fault", "client");
    }
    other.must_echo(b"not touched");
    assert!(proxy.is_running());
}

#[test]
fn a_flipped_bit_in_a_clients_record_is_answered_with_an_alert() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let place = proxy.listen_addr("edge");
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Client::new(place, "a.test").version(version).config();
        let mut conn = rustls::ClientConnection::new(config, name.clone()).unwrap();
        let mut socket = TcpStream::connect(place.tcp()).unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        while conn.is_handshaking() {
            conn.complete_io(&mut socket).unwrap();
        }
        io::Write::write_all(&mut conn.writer(), b"as it was meant").unwrap();
        let mut record = Vec::new();
        conn.write_tls(&mut record).unwrap();
        *record.last_mut().unwrap() ^= 1;
        io::Write::write_all(&mut socket, &record).unwrap();
        let error = loop {
            let len = conn.read_tls(&mut socket).unwrap();
            assert_ne!(len, 0, "it ended without an alert");
            if let Err(error) = conn.process_new_packets() {
                break error;
            }
        };
        let alert = rustls::AlertDescription::BadRecordMac;
        assert_eq!(error, rustls::Error::AlertReceived(alert));
        proxy
            .outcome_from(socket.local_addr().unwrap())
            .must_be("client_tls_error");
    }
    proxy.client("a.test").connect().must_echo(b"lives on");
}

#[test]
fn a_forged_record_of_an_origin_ends_only_its_connection_with_an_alert() {
    for origin in [Origin::with_tls(), Origin::with_tls().tls12()] {
        let (sender, ends) = std::sync::mpsc::channel();
        let sender = std::sync::Mutex::new(sender);
        let origin = origin.serve(move |stream| {
            stream.send(stream.receive(5));
            let more = stream.read();
            if more.is_ok() {
                stream.write_raw(&forged_record()).unwrap();
                let _ = sender.lock().unwrap().send(stream.receive_to_end());
            }
        });
        let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
        let client = proxy.client("a.test").connect();
        client.must_echo(b"hello");
        client.send(b"now");
        assert_eq!(client.receive_to_end(), (vec![], End::Reset));
        proxy
            .outcome_of(&client)
            .must_be("origin_tls_error")
            .must_have("stage", "relay");
        let (data, end) = ends.recv_timeout(TIMEOUT).unwrap();
        assert_eq!((data, end), (vec![], End::Alert(BAD_RECORD_MAC)));
        proxy.client("a.test").connect().must_echo(b"lives");
    }
}

#[test]
fn an_origin_gets_the_alert_for_its_rejected_certificate() {
    const UNKNOWN_CA: u8 = 48;
    let stranger = pki().stranger.issue(&Leaf::server(&["origin.test"]));
    for origin in [Origin::tls(&stranger), Origin::tls(&stranger).tls12()] {
        let origin = origin.echo();
        let proxy = Proxy::builder()
            .reencrypt("a.test", &origin)
            .originate(&origin)
            .start();
        let client = proxy.client("a.test").connect();
        assert_eq!(origin.failed_handshake(), End::Alert(UNKNOWN_CA));
        proxy.outcome_of(&client).must_be("origin_tls_untrusted");
        let client = proxy.dial("originate");
        assert_eq!(origin.failed_handshake(), End::Alert(UNKNOWN_CA));
        proxy.outcome_of(&client).must_be("origin_tls_untrusted");
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

/// The number of connections whose records go to a pipe without a reader: more than the queue, the buffer and
/// a small pipe hold together.
const UNLOGGED: usize = 18_000;

#[test]
fn a_log_pipe_without_a_reader_delays_neither_clients_nor_the_shutdown() {
    let directory = Directory::new();
    let fifo = directory.join("access.fifo");
    output("mkfifo", &[&fifo], "").must_exit_with(0);
    // A reader has opened the pipe and does not read.
    let reader = rustix::fs::open(
        &fifo,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    rustix::pipe::fcntl_setpipe_size(&reader, 4096).unwrap();
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .top("process: { workers: 1 }")
        .top(&format!("access_log: {{ output: \"{}\" }}", fifo.display()))
        .passthrough("a.test", &origin)
        // A unix socket does not run out of ports.
        .listen(&format!(
            "\"unix:{}\"",
            directory.join("edge.sock").display()
        ))
        .forward(&origin)
        .start();
    let first = proxy.dial("forward");
    first.must_echo(b"the worker serves");
    let before = proxy.usage_at_rest().descriptors;
    for _ in 0..UNLOGGED {
        // The client closes before it sends data, which is recorded like any other connection.
        drop(proxy.dial("edge"));
    }
    // Its record is behind all others in the queue.
    let last = proxy.dial("edge");
    last.must_echo(recorded_hello("a.test"));
    drop(last);
    eventually("all of them have ended", || {
        proxy.usage().descriptors <= before
    });
    first.must_echo(b"not delayed");
    drop(first);
    proxy.signal(Signal::USR1);
    proxy.dial("forward").must_echo(b"nor after a rotation");
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    took_less_than(Duration::from_secs(10), start);
    // The queue was full: no more records left the process than the pipe holds.
    let mut written = 0;
    let mut page = vec![0; 4096];
    while let Ok(len @ 1..) = rustix::io::read(&reader, &mut page) {
        written += len;
    }
    assert!((1..=4096).contains(&written), "{written}");
}

/// Descriptors that a child inherits as 3, 4 and so on, as if systemd had passed them.
struct Passed {
    sockets: Vec<std::os::fd::OwnedFd>,
    places: Vec<ListenAddr>,
}

impl Passed {
    fn new(count: usize) -> Self {
        let listeners: Vec<_> = (0..count)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        Self {
            places: listeners
                .iter()
                .map(|listener| ListenAddr::Tcp(listener.local_addr().unwrap()))
                .collect(),
            sockets: listeners
                .iter()
                .map(|listener| {
                    // Moved away from the numbers that the sockets will get.
                    let socket = rustix::io::fcntl_dupfd_cloexec(listener, 100).unwrap();
                    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
                    socket
                })
                .collect(),
        }
    }

    /// A program that passes the sockets under these names to the command that follows it.
    fn launcher(&self, names: &str) -> Vec<String> {
        let mut script = String::new();
        for (number, socket) in (3..).zip(&self.sockets) {
            let own = std::os::fd::AsRawFd::as_raw_fd(socket);
            script.push_str(&format!("exec {number}<&{own} {own}<&-\n"));
        }
        let count = self.sockets.len();
        // `exec` keeps the pid of the shell.
        script.push_str(&format!(
            "LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names} exec \"$0\" \"$@\""
        ));
        ["bash", "-c", &script].map(str::to_owned).to_vec()
    }
}

#[test]
fn every_socket_that_systemd_passes_under_one_name_is_served() {
    let origin = Origin::echo();
    for (names, served) in [("web", 1), ("web:web", 2), ("web:other:web", 2)] {
        let passed = Passed::new(names.split(':').count());
        let launcher = passed.launcher(names);
        let launcher: Vec<_> = launcher.iter().map(String::as_str).collect();
        let proxy = Proxy::builder()
            .forward(&origin)
            .listen("systemd:web")
            .under(&launcher)
            .start();
        let places: Vec<_> = passed
            .places
            .iter()
            .zip(names.split(':'))
            .filter_map(|(place, name)| (name == "web").then_some(place))
            .collect();
        assert_eq!(places.len(), served);
        for place in places {
            // More than one connection, so that more than one worker gets some.
            for _ in 0..8 {
                let client = Stream::dial(place).unwrap();
                client.must_echo(b"through systemd's socket");
                client.end();
            }
            let address = format!("\"{place}\"");
            proxy.log_line(|line| line.contains("listening") && line.contains(&address));
        }
    }
}

#[test]
fn a_name_under_which_systemd_passes_no_socket_cannot_be_listened_on() {
    let directory = Directory::new();
    let config = directory.write(
        "config.yaml",
        "endpoints: [{ name: e, listen: \"systemd:absent\", protocol: tcp, routes: [{ name: r, \
         mode: forward, upstream: u }] }]\n\
         upstreams: { u: { origins: [\"127.0.0.1:9\"] } }\n",
    );
    let config = config.display().to_string();
    let run = [env!("CARGO_BIN_EXE_reseal"), "run", "--config", &config];
    for (names, count) in [("web", 1), ("web:more", 2)] {
        let passed = Passed::new(count);
        let launcher = passed.launcher(names);
        let arguments = launcher.iter().skip(1).map(String::as_str).chain(run);
        let arguments: Vec<_> = arguments.collect();
        output("bash", &arguments, "")
            .must_exit_with(3)
            .must_print("systemd passes no socket of that name");
    }
}

#[track_caller]
fn one_exchange(proxy: &Proxy) -> SocketAddr {
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    client.local()
}

/// The `event` of every record of one connection, in order.
#[track_caller]
fn events(configured: &str) -> Vec<String> {
    let origin = Origin::echo();
    let mut proxy = Proxy::builder()
        .top(&format!("access_log: {{ events: {configured} }}"))
        .forward(&origin)
        .start();
    let address = one_exchange(&proxy).to_string();
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    let records = proxy.all_records();
    for record in &records {
        record.must_have("client", &address);
        let closes = record.text("event") != "open";
        assert_eq!(record.has("reason"), closes, "{record:?}");
    }
    records
        .iter()
        .map(|record| record.text("event").to_owned())
        .collect()
}

#[test]
fn only_the_configured_events_are_recorded() {
    assert_eq!(events("[open]"), ["open"]);
    assert_eq!(events("[open, close]"), ["open", "close"]);
    // A log with only one kind of record does not name the event.
    assert_eq!(events("close"), [""]);
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
