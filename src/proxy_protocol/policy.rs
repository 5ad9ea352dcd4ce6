//! Which peers must send a header, and which header origins get.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

/// The peers of an endpoint that must begin with a header. All other peers connect directly; Reseal never
/// guesses from the bytes whether a header is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accept {
    /// The networks of these peers; never empty.
    pub from: Vec<IpNet>,
    /// The deadline of a header, from accept.
    pub timeout: Duration,
}

impl Accept {
    /// Whether this peer must send a header. A peer of a unix socket has no address and is in no network.
    pub fn requires(&self, peer: Option<SocketAddr>) -> bool {
        peer.is_some_and(|peer| {
            let ip = peer.ip().to_canonical();
            self.from.iter().any(|net| net.contains(&ip))
        })
    }
}

/// The header that an upstream's origins get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendHeader {
    /// Version 1, with addresses only.
    V1,
    /// Version 2, with these TLVs.
    V2(TlvSet),
}

/// The TLVs of a version 2 header. A TLV is sent only if its fact is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlvSet {
    /// The application protocol.
    pub alpn: bool,
    /// The server name.
    pub authority: bool,
    /// The client's TLS.
    pub ssl: bool,
    /// The connection's identifier in the access log.
    pub unique_id: bool,
    /// The checksum.
    pub crc32c: bool,
    /// The client's certificate, within the TLV of its TLS.
    pub client_cert: bool,
}
