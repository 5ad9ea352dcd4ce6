//! Who has to send a header, and what ours tell.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

/// From which peers of an endpoint a header comes before all else. Every other peer speaks directly:
/// whether one comes is never guessed from the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The peers that have to send one; never empty.
    pub from: Vec<IpNet>,
    /// How long that may take, from accepting on.
    pub timeout: Duration,
}

impl Accept {
    /// Whether this peer has to send one. A peer on a unix socket has no address, and is in no network.
    pub fn requires(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_some_and(|peer| {
            let ip = peer.ip().to_canonical();
            self.from.iter().any(|net| net.contains(&ip))
        })
    }
}

/// Which header an upstream's origins get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendHeader {
    /// Version 1: addresses.
    V1,
    /// Version 2: addresses and facts.
    V2(TlvSet),
}

/// Which facts a version 2 header tells, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlvSet {
    /// The application protocol.
    pub alpn: bool,
    /// The server name.
    pub authority: bool,
    /// The client's TLS.
    pub ssl: bool,
    /// The connection's identifier, as the access log has it.
    pub unique_id: bool,
    /// The checksum.
    pub crc32c: bool,
    /// The client's certificate, along with its TLS.
    pub client_cert: bool,
}
