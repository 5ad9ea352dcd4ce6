//! A name server with answers set by the test.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};

use super::{Directory, yaml::ProxyBuilder};

/// The answer for a name.
#[derive(Clone)]
pub enum DnsAnswer {
    /// These addresses, with this TTL in seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// As `Addresses`, and no response to the question for IPv6 addresses.
    AddressesOfOneFamily(Vec<Ipv4Addr>, u32),
    /// These SRV records: priority, weight, port and host.
    Services(Vec<(u16, u16, u16, &'static str)>, u32),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failure,
    /// No response.
    Nothing,
}

/// A name server on port 53 of its own address. Names without an answer do not exist.
pub struct NameServer {
    address: Ipv4Addr,
    answers: Arc<Mutex<HashMap<String, DnsAnswer>>>,
    queries: Arc<AtomicUsize>,
}

impl NameServer {
    pub fn new() -> Self {
        let [low, high, ..] = std::process::id().to_le_bytes();
        let (address, socket) = (100..=254)
            .map(|second| Ipv4Addr::new(127, second, high, low))
            .find_map(|address| Some((address, UdpSocket::bind((address, 53)).ok()?)))
            .expect("port 53 of a loopback address");
        let server = Self {
            address,
            answers: Arc::default(),
            queries: Arc::default(),
        };
        let (answers, queries) = (Arc::clone(&server.answers), Arc::clone(&server.queries));
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok((len, peer)) = socket.recv_from(&mut buf) {
                queries.fetch_add(1, Ordering::SeqCst);
                answer(&socket, peer, &buf[..len], &answers.lock().unwrap());
            }
        });
        server
    }

    /// Sets the answer for a name.
    pub fn set_answer(&self, name: &str, answer: DnsAnswer) {
        self.answers.lock().unwrap().insert(name.to_owned(), answer);
    }

    /// Sets addresses with a TTL of one second.
    pub fn addresses(&self, name: &str, addresses: &[SocketAddr]) {
        let addresses = addresses.iter().map(|address| match address.ip() {
            std::net::IpAddr::V4(ip) => ip,
            std::net::IpAddr::V6(_) => panic!("not in these tests"),
        });
        self.set_answer(name, DnsAnswer::Addresses(addresses.collect(), 1));
    }

    /// The lines of resolv.conf that make a program use it.
    pub fn resolv_conf(&self) -> String {
        format!(
            "nameserver {}\noptions timeout:1 attempts:1\n",
            self.address
        )
    }

    pub fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }

    /// Waits for this many more queries.
    #[track_caller]
    pub fn wait_for_queries(&self, count: usize) {
        let before = self.queries();
        super::eventually("the server gets a query", || {
            self.queries() >= before + count
        });
    }
}

fn answer(
    socket: &UdpSocket,
    peer: SocketAddr,
    bytes: &[u8],
    answers: &HashMap<String, DnsAnswer>,
) {
    let Ok(mut message) = Message::from_vec(bytes) else {
        return;
    };
    let question = message.queries[0].clone();
    let name = question.name().to_ascii();
    message.metadata.message_type = MessageType::Response;
    let mut add = |ttl, data| {
        message
            .answers
            .push(Record::from_rdata(question.name().clone(), ttl, data))
    };
    let code = match answers.get(name.trim_end_matches('.')) {
        Some(DnsAnswer::Addresses(addresses, ttl)) => {
            if question.query_type() == RecordType::A {
                addresses.iter().for_each(|ip| add(*ttl, RData::A(A(*ip))));
            }
            ResponseCode::NoError
        }
        Some(DnsAnswer::AddressesOfOneFamily(addresses, ttl)) => {
            if question.query_type() != RecordType::A {
                return;
            }
            addresses.iter().for_each(|ip| add(*ttl, RData::A(A(*ip))));
            ResponseCode::NoError
        }
        Some(DnsAnswer::Services(services, ttl)) => {
            for (priority, weight, port, host) in services {
                let host = Name::from_str(host).unwrap();
                add(*ttl, RData::SRV(SRV::new(*priority, *weight, *port, host)));
            }
            ResponseCode::NoError
        }
        Some(DnsAnswer::NoSuchName) | None => ResponseCode::NXDomain,
        Some(DnsAnswer::Failure) => ResponseCode::ServFail,
        Some(DnsAnswer::Nothing) => return,
    };
    message.metadata.response_code = code;
    let _ = socket.send_to(&message.to_vec().unwrap(), peer);
}

impl ProxyBuilder {
    /// Makes the proxy use only this server, with its own /etc/resolv.conf.
    pub fn resolving_by(self, server: &NameServer, directory: &Directory) -> Self {
        self.resolving_by_files(&[("resolv.conf", &server.resolv_conf())], directory)
    }

    /// Gives the proxy its own versions of these files of /etc.
    pub fn resolving_by_files(self, files: &[(&str, &str)], directory: &Directory) -> Self {
        let mount = |(name, content): &(&str, &str)| {
            let path = directory.write_with_mode(name, content, 0o644);
            format!("mount --bind {} /etc/{name} && ", path.display())
        };
        let mounts: String = files.iter().map(mount).collect();
        self.under(&[
            "unshare",
            "-m",
            "sh",
            "-c",
            &(mounts + "exec \"$0\" \"$@\""),
        ])
    }
}
