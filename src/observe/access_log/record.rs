//! The facts of one connection.

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::outcome::{Stage, WouldRefuse};
use crate::tls::info::{CertificateFacts, TlsFacts};
use crate::tls::ja4::Ja4;

/// The facts of a connection. An absent fact is an absent key. Every live connection has one of these, so
/// it is small; texts are rendered when the record is written.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    /// The time of accept.
    pub time: SystemTime,
    /// An identifier, unique within and across processes.
    pub id: u64,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The client; if there is a PROXY header, the client that the header names.
    pub client: Client,
    /// The peer that sent a PROXY header for another client.
    pub peer: Option<Box<Client>>,
    /// The address that the client dialled; if there is a PROXY header, the one in the header.
    pub local: Option<CompactAddr>,
    /// The server name, from the wire; normalised if it is valid.
    pub sni: Option<Box<str>>,
    /// The fingerprint of its ClientHello.
    pub ja4: Option<Ja4>,
    /// The client's TLS.
    pub tls: Option<Box<TlsFacts>>,
    /// The certificate that the client presented, accepted or not.
    pub client_cert: Option<Box<CertificateFacts>>,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The route's mode.
    pub mode: Option<&'static str>,
    /// The upstream's name.
    pub upstream: Option<Arc<str>>,
    /// The name of the origin that was tried last.
    pub origin: Option<Arc<str>>,
    /// The address that was tried last, if the origin has one.
    pub origin_address: Option<CompactAddr>,
    /// Our local address of the connection to the origin.
    pub origin_local: Option<CompactAddr>,
    /// The origin's TLS.
    pub origin_tls: Option<Box<TlsFacts>>,
    /// The limits that would have refused it, in a dry run.
    pub would_refuse: WouldRefuse,
    /// Time spent in each stage.
    pub stages: StageTimes,
    /// Time since accept.
    pub total: Duration,
}

impl AccessRecord {
    /// The identifier in its written form.
    pub fn id(&self) -> String {
        format!("{:016x}", self.id)
    }
}

/// An address and port in half the size of a `SocketAddr`: every live connection has several, and nearly
/// all are IPv4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CompactAddr {
    /// IPv4.
    V4(SocketAddrV4),
    /// IPv6.
    V6(Box<SocketAddrV6>),
}

impl From<SocketAddr> for CompactAddr {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(address),
            SocketAddr::V6(address) => Self::V6(Box::new(address)),
        }
    }
}

impl From<&CompactAddr> for SocketAddr {
    fn from(address: &CompactAddr) -> Self {
        match address {
            CompactAddr::V4(address) => Self::V4(*address),
            CompactAddr::V6(address) => Self::V6(**address),
        }
    }
}

/// Application bytes of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the client to the origin.
    pub up: u64,
    /// From the origin to the client.
    pub down: u64,
}

/// The time that a connection has spent in each stage. Four bytes each, because every live connection has
/// all of them: microseconds are exact for times of seconds, and seconds for times of months.
#[derive(Clone, Copy, Debug)]
pub struct StageTimes([f32; Stage::ALL.len()]);

impl Default for StageTimes {
    fn default() -> Self {
        Self([f32::NAN; Stage::ALL.len()])
    }
}

impl StageTimes {
    /// Adds to the time of a stage, which marks it as reached.
    pub fn spend(&mut self, stage: Stage, time: Duration) {
        if let Some(spent) = self.0.get_mut(stage as usize) {
            let before = if spent.is_nan() { 0.0 } else { *spent };
            *spent = before + time.as_secs_f32();
        }
    }

    /// The stages that were reached, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, Duration)> {
        let times = Stage::ALL.iter().zip(self.0);
        times.filter_map(|(stage, time)| Some((*stage, Duration::try_from_secs_f32(time).ok()?)))
    }
}

/// A client, as its socket identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Its address.
    Ip(SocketAddr),
    /// The user of a unix socket's peer.
    Unix(Option<u32>),
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(Some(user)) => write!(f, "unix:uid={user}"),
            Self::Unix(None) => f.write_str("unix"),
        }
    }
}
