//! What a source is, what it may have, and what is counted for it. Pure.

use std::net::IpAddr;

use super::rate::{Bucket, Rate};

/// How many leading bits of an address make a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePrefix {
    /// Of an IPv4 address.
    pub v4: u8,
    /// Of an IPv6 address.
    pub v6: u8,
}

/// One source of one endpoint or route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceKey {
    /// The endpoint or route.
    scope: u32,
    /// The bits of the IPv6 address, or of the IPv4-mapped one, without those beyond the prefix.
    high: u64,
    low: u64,
}

impl SourceKey {
    /// The source of an address within a scope.
    pub fn new(scope: u32, address: IpAddr, prefix: SourcePrefix) -> Self {
        let (bits, length) = match address.to_canonical() {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), prefix.v4.saturating_add(96)),
            IpAddr::V6(ip) => (ip.to_bits(), prefix.v6),
        };
        let beyond = u128::BITS.saturating_sub(length.into());
        let bits = bits & u128::MAX.checked_shl(beyond).unwrap_or(0);
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        Self {
            scope,
            high: half(bits >> 64),
            low: half(bits),
        }
    }
}

/// What a source may have. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceLimits {
    /// Connections at a time.
    pub connections: Option<u32>,
    /// New connections.
    pub new: Option<Rate>,
}

/// Which limits a source has reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceReached {
    /// That of connections.
    pub connections: bool,
    /// That of new connections.
    pub new: bool,
}

/// What is counted for a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceState {
    /// Its connections.
    pub connections: u32,
    /// Its handshakes.
    pub handshakes: u32,
    /// Its bucket of new connections.
    pub bucket: Bucket,
}
