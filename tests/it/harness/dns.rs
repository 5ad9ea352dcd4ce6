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

use super::{Directory, yaml::Draft};

/// What is answered about a name.
#[derive(Clone)]
pub enum Says {
    /// These addresses, for so many seconds.
    Addresses(Vec<Ipv4Addr>, u32),
    /// These services: priority, weight, port and host.
    Services(Vec<(u16, u16, u16, &'static str)>, u32),
    /// That there is no such name.
    NoSuchName,
    /// That it does not work.
    Failure,
    /// Nothing at all.
    Nothing,
}

/// A name server on port 53 of an address of its own. Names that it was told nothing about do not
/// exist.
pub struct NameServer {
    address: Ipv4Addr,
    answers: Arc<Mutex<HashMap<String, Says>>>,
    questions: Arc<AtomicUsize>,
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
            questions: Arc::default(),
        };
        let (answers, questions) = (Arc::clone(&server.answers), Arc::clone(&server.questions));
        thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok((len, peer)) = socket.recv_from(&mut buf) {
                questions.fetch_add(1, Ordering::SeqCst);
                answer(&socket, peer, &buf[..len], &answers.lock().unwrap());
            }
        });
        server
    }

    /// From now on it says this about a name.
    pub fn about(&self, name: &str, says: Says) {
        self.answers.lock().unwrap().insert(name.to_owned(), says);
    }

    /// Shorthand for addresses that hold for a second.
    pub fn addresses(&self, name: &str, addresses: &[SocketAddr]) {
        let addresses = addresses.iter().map(|address| match address.ip() {
            std::net::IpAddr::V4(ip) => ip,
            std::net::IpAddr::V6(_) => panic!("not in these tests"),
        });
        self.about(name, Says::Addresses(addresses.collect(), 1));
    }

    pub fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    /// Waits until so many more questions have come.
    #[track_caller]
    pub fn wait_for_questions(&self, count: usize) {
        let before = self.questions();
        super::eventually("it is asked again", || self.questions() >= before + count);
    }
}

fn answer(socket: &UdpSocket, peer: SocketAddr, bytes: &[u8], answers: &HashMap<String, Says>) {
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
        Some(Says::Addresses(addresses, ttl)) => {
            if question.query_type() == RecordType::A {
                addresses.iter().for_each(|ip| add(*ttl, RData::A(A(*ip))));
            }
            ResponseCode::NoError
        }
        Some(Says::Services(services, ttl)) => {
            for (priority, weight, port, host) in services {
                let host = Name::from_str(host).unwrap();
                add(*ttl, RData::SRV(SRV::new(*priority, *weight, *port, host)));
            }
            ResponseCode::NoError
        }
        Some(Says::NoSuchName) | None => ResponseCode::NXDomain,
        Some(Says::Failure) => ResponseCode::ServFail,
        Some(Says::Nothing) => return,
    };
    message.metadata.response_code = code;
    let _ = socket.send_to(&message.to_vec().unwrap(), peer);
}

impl Draft {
    /// Resolves names by this server alone: the proxy has an /etc/resolv.conf of its own.
    pub fn resolving_by(self, server: &NameServer, directory: &Directory) -> Self {
        let conf = format!(
            "nameserver {}\noptions timeout:1 attempts:1\n",
            server.address
        );
        let conf = directory.write_with_mode("resolv.conf", conf, 0o644);
        let mount = format!(
            "mount --bind {} /etc/resolv.conf && exec \"$0\" \"$@\"",
            conf.display()
        );
        self.under(&["unshare", "-m", "sh", "-c", &mount])
    }
}
