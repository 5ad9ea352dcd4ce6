//! Server names, ALPN protocols and client certificates made by an attacker.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use socket2::SockRef;

use super::Bench;
use super::crowd::{dial, hello};
use super::refusals::Random;
use super::subject::{Start, Subject};
use super::table::Table;
use crate::load::Clients;

const NAMES: usize = 60_000;
const PROTOCOLS: usize = 35_000;
const CERTIFICATES: usize = 5_000;
const CLIENTS: usize = 4;
/// The name in a ClientHello that random bytes replace.
const PLACE: &str = "aaaaaaaaaaaaaaaaaaaaaaaa.test";

type Issuer = CertifiedIssuer<'static, KeyPair>;

pub(super) fn measure(bench: &Bench<'_>, table: &mut Table) {
    let what = "hostile names";
    let issuers = [issuer("clients"), issuer("strangers")];
    fs::write(bench.scratch.join("clients.pem"), issuers[0].pem()).expect("a CA");
    let config = format!(
        "access_log: {{ output: none }}
endpoints:
  - name: edge
    listen: \"@EDGE@\"
    tls:
      certificates: [{{ cert: \"@CERTS@/bench.test.pem\", key: \"@CERTS@/bench.test.key\" }}]
      client_auth: {{ mode: optional, ca: \"@CERTS@/clients.pem\" }}
    routes: [{{ name: r, match: {{ sni: bench.test }}, mode: terminate, upstream: origin }}]
upstreams: {{ origin: {{ origins: [\"{}\"] }} }}
",
        bench.origins.plain
    );
    let subject = Subject::start(bench.scratch, "names", &config, &Start::default());
    let clients = Clients::new(subject.address, bench.scratch);
    let visit = |n: usize, random: &mut Random| match n % 3 {
        0 => with_name(&subject, &clients, random),
        1 => with_protocol(&subject, &clients, random),
        _ => with_certificate(&clients, &issuers[random.next() as usize % 2], random),
    };
    // Every kind of end has been counted once.
    let mut random = Random::new(99);
    for n in 0..300 {
        visit(n, &mut random);
    }
    clients.exchange();
    subject.comes_to_rest(Duration::from_secs(10));
    let (before, memory) = (subject.series(), subject.memory());
    thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let visit = &visit;
            scope.spawn(move || {
                let mut random = Random::new(seed as u64);
                for (kind, count) in [NAMES, PROTOCOLS, CERTIFICATES].into_iter().enumerate() {
                    (0..bench.count(count) / CLIENTS).for_each(|_| visit(kind, &mut random));
                }
            });
        }
    });
    subject.comes_to_rest(Duration::from_secs(10));
    let after = subject.series();
    table.figure(
        what,
        "connections",
        subject.metric("reseal_connections_total", &[]),
    );
    table.figure(what, "series", after.len() as f64);
    let new: Vec<_> = after.difference(&before).collect();
    for series in &new {
        println!("new: {series}");
    }
    table.exactly(what, "new series", new.len() as f64, 0.0);
    let grown = (subject.memory() - memory) / f64::from(1 << 20);
    table.at_most(what, "memory grown, MiB", grown, 8.0);
    table.exactly(
        what,
        "limits still in use",
        subject.in_use().len() as f64,
        0.0,
    );
}

fn issuer(name: &str) -> Issuer {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

/// Sends a first message and waits for the end or an answer.
fn send(subject: &Subject, message: &[u8], random: &mut Random) {
    let [a, b, ..] = random.next().to_be_bytes()[4..]
        .try_into()
        .unwrap_or([1_u8; 4]);
    let mut socket: TcpStream = dial(subject.address, Ipv4Addr::new(127, 2, a, b.max(1)));
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    let _ = socket.write_all(message);
    let _ = socket.read(&mut [0; 4096]);
}

fn with_name(subject: &Subject, clients: &Clients, random: &mut Random) {
    let mut message = hello(clients.config(), PLACE);
    let place = PLACE.as_bytes();
    if let Some(at) = message.windows(place.len()).position(|part| part == place) {
        let is_text = random.next().is_multiple_of(2);
        for byte in &mut message[at..at + place.len() - ".test".len()] {
            let [.., any] = random.next().to_be_bytes();
            *byte = if is_text { b'a' + any % 26 } else { any };
        }
    }
    send(subject, &message, random);
}

fn with_protocol(subject: &Subject, clients: &Clients, random: &mut Random) {
    let mut config = ClientConfig::clone(clients.config());
    let protocol = |_| random.next().to_be_bytes().to_vec();
    config.alpn_protocols = (0..3).map(protocol).collect();
    let message = hello(&Arc::new(config), crate::origin::NAME);
    send(subject, &message, random);
}

fn with_certificate(clients: &Clients, issuer: &Issuer, random: &mut Random) {
    thread_local! {
        static KEY: KeyPair = KeyPair::generate().expect("a key");
    }
    let text = format!("\"}} 1\nreseal_forged{{a=\"{:x}\u{202e}\\", random.next());
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, text.as_str());
    let name = format!("{:x}.test", random.next());
    params.subject_alt_names = vec![SanType::DnsName(name.try_into().expect("a name"))];
    let (chain, key) = KEY.with(|key| {
        let leaf = params.signed_by(key, issuer).expect("a certificate");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        (vec![CertificateDer::from(leaf)], key)
    });
    let _ = clients.with_certificate(chain, key).try_exchange();
}
