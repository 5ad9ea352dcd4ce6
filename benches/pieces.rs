//! The steps that every connection or every byte goes through, one at a time.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a benchmark may stop at the first surprise

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box, counter::BytesCount};
use ipnet::IpNet;
use reseal::internals::{
    Address, Balance, Budget, Clock, ConnectPolicy, HostName, HostPattern, HostTable, Match,
    Networks, OnGone, OriginDefinition, OutBuf, PickRequest, Query, Rate, RouteTable, SourceKey,
    SourceLimits, SourcePrefix, SourceTable, TcpOptions, TlsConn, TlsState, UpstreamDefinition,
    Upstreams, escape,
};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

fn main() {
    divan::main();
}

#[divan::bench]
fn normalise_a_server_name() -> HostName {
    HostName::from_wire(black_box("Vault.Example.COM.")).unwrap()
}

/// Chooses the route of a connection in a table of this many names.
#[divan::bench(args = [1, 100, 10_000])]
fn choose_a_route(bencher: Bencher<'_, '_>, names: usize) {
    let mut table = RouteTable::default();
    for n in 0..names {
        let pattern = HostPattern::parse(&format!("host-{n}.example.com")).unwrap();
        table.add(pattern, Match::default(), n);
    }
    let name = HostName::from_wire("host-0.example.com").unwrap();
    let alpn = [b"h2".to_vec(), b"http/1.1".to_vec()];
    bencher.bench(|| {
        let query = Query {
            name: Some(&name),
            alpn: &alpn,
            source: None,
            speaks_tls: true,
        };
        *table.choose(black_box(&query)).unwrap()
    });
}

/// The same in a table whose names are those of a file.
#[divan::bench(args = [1, 100, 100_000])]
fn choose_a_route_of_a_file(bencher: Bencher<'_, '_>, names: u32) {
    let mut file = HostTable::default();
    for n in 0..names {
        let pattern = HostPattern::parse(&format!("host-{n}.example.com")).unwrap();
        file.insert(pattern, n % 2);
    }
    let mut table = RouteTable::default();
    let routes = vec![(Match::default(), 0), (Match::default(), 1)];
    table.add_file(Arc::new(file), routes);
    let name = HostName::from_wire("host-0.example.com").unwrap();
    bencher.bench(|| {
        let query = Query {
            name: Some(&name),
            alpn: &[],
            source: None,
            speaks_tls: true,
        };
        *table.choose(black_box(&query)).unwrap()
    });
}

/// Chooses among this many origins, and releases the slot.
#[divan::bench(args = [1, 3, 10, 100, 5000])]
fn pick_an_origin(bencher: Bencher<'_, '_>, count: u16) {
    let origin = |n: u16| {
        let [high, low] = n.to_be_bytes();
        let address = Address::Ip(([10, 0, high, low], 443).into());
        Arc::new(OriginDefinition {
            name: address.to_string().into(),
            address,
            server_name: None,
            weight: 1,
            backup: false,
            max_connections: Some(1000),
            may_be_local: true,
        })
    };
    let definition = Arc::new(UpstreamDefinition {
        name: "bench".into(),
        origins: (0..count).map(origin).collect(),
        balance: Balance::LeastConnections,
        slow_start: None,
        outlier: None,
        on_gone: OnGone::Keep,
        connect: ConnectPolicy {
            timeout: Duration::from_secs(1),
            attempts: 3,
            queue: None,
            queue_timeout: Duration::from_secs(1),
            sources: Vec::new(),
            proxy: None,
        },
        tcp: TcpOptions {
            nodelay: true,
            keepalive: None,
            user_timeout: None,
            send_buffer: None,
            receive_buffer: None,
        },
        made_of: None,
    });
    let control = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (upstreams, _events) = Upstreams::new(control.handle().clone());
    upstreams.apply([&definition].into_iter());
    let pool = upstreams.pool("bench").unwrap();
    let request = PickRequest::new(Some([192, 0, 2, 1].into()));
    bencher.bench(|| pool.pick(black_box(&request)).unwrap());
}

/// Looks addresses up in a list of 100 000 networks of one family, half of them in it.
#[divan::bench(args = ["v4", "v6"])]
fn find_a_network(bencher: Bencher<'_, '_>, family: &str) {
    const COUNT: u32 = 100_000;
    // Spread over all addresses by a multiplication with an odd number.
    let spread = |n: u32| n.wrapping_mul(2_654_435_761);
    let address = |n: u32| -> IpAddr {
        match family {
            "v4" => IpAddr::V4(spread(n).into()),
            _ => IpAddr::V6((u128::from(spread(n)) << 80).into()),
        }
    };
    let prefix = if family == "v4" { 32 } else { 48 };
    let networks = (0..COUNT).map(|n| IpNet::new(address(n), prefix).unwrap());
    let networks = Networks::new("bench", networks);
    let mut n = 0_u32;
    bencher.bench_local(|| {
        n = n.wrapping_add(77_773) % (2 * COUNT);
        networks.find(black_box(address(n)))
    });
}

/// A connection of a source comes and goes: the same source each time, or one of many, so that each pushes
/// another one out of the table.
#[divan::bench(args = ["the same", "random"])]
fn count_a_connection_of_a_source(bencher: Bencher<'_, '_>, sources: &str) {
    let table = SourceTable::new(Clock::start());
    let limits = SourceLimits {
        connections: Some(100),
        new: Some(Rate::new(1_000_000, Duration::from_secs(60))),
    };
    let prefix = SourcePrefix { v4: 32, v6: 64 };
    let mut n = 0_u32;
    bencher.bench_local(|| {
        if sources == "random" {
            n = n.wrapping_add(2_654_435_761);
        }
        let key = SourceKey::new(1, IpAddr::V4(n.into()), prefix);
        table.connect(black_box(key), limits, true)
    });
}

#[divan::bench]
fn escape_a_text_of_the_wire() -> String {
    escape::text(black_box("CN=deployer, O=Example \u{202e}Corp\r\n"))
}

/// Processes one read of a relay in reencrypt: decrypts from one side and encrypts for the other.
#[divan::bench(args = [1, 1024, 16 * 1024, 64 * 1024])]
fn decrypt_and_encrypt(bencher: Bencher<'_, '_>, size: usize) {
    let (mut client, mut server) = connected();
    let data = vec![7; size];
    let mut wire = OutBuf::default();
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        wire.clear();
        client.encrypt(black_box(&data), &mut wire).unwrap();
        let mut opened = 0;
        feed(&mut server, wire.filled(), |plain| opened += plain.len());
        assert_eq!(opened, size);
    });
}

/// A whole handshake of client and server, without sockets.
#[divan::bench]
fn handshake_of_both_sides(bencher: Bencher<'_, '_>) {
    let configs = configs();
    bencher.bench_local(|| connect(&configs));
}

type Configs = (Arc<ClientConfig>, Arc<ServerConfig>);

fn configs() -> Configs {
    let made = rcgen::generate_simple_self_signed(["bench.test".to_owned()]).unwrap();
    let key = made.signing_key.serialize_der().try_into().unwrap();
    let provider = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(client), Arc::new(server))
}

fn connected() -> (TlsState, TlsState) {
    connect(&configs())
}

fn connect((client, server): &Configs) -> (TlsState, TlsState) {
    let name = ServerName::try_from("bench.test").unwrap();
    let client = UnbufferedClientConnection::new(Arc::clone(client), name).unwrap();
    let server = UnbufferedServerConnection::new(Arc::clone(server)).unwrap();
    let (mut client, mut server) = (
        TlsState::new(TlsConn::Client(client)),
        TlsState::new(TlsConn::Server(server)),
    );
    let mut to_server = feed(&mut client, &[], |_| {});
    loop {
        let to_client = feed(&mut server, to_server.filled(), |_| {});
        if to_client.is_empty() {
            return (client, server);
        }
        to_server = feed(&mut client, to_client.filled(), |_| {});
    }
}

/// Passes bytes of the peer to `tls`, and returns its reply.
fn feed(tls: &mut TlsState, bytes: &[u8], plain: impl FnMut(&[u8])) -> OutBuf {
    let mut input = vec![0; 128 * 1024 + bytes.len()];
    let start = tls.restore(&mut input).unwrap();
    input[start..start + bytes.len()].copy_from_slice(bytes);
    let mut out = OutBuf::default();
    tls.decrypt(
        &mut input[..start + bytes.len()],
        plain,
        &mut out,
        &mut Budget::unbounded(),
    );
    out
}
