//! What is offered, and the bounds of an offer.

use std::os::fd::OwnedFd;
use std::time::Duration;

/// The version of the protocol.
pub(super) const VERSION: u64 = 1;

/// The longest time that one process waits for the other one.
pub const SILENCE: Duration = Duration::from_secs(30);

/// The most descriptors of one takeover.
pub(super) const DESCRIPTORS_MAX: usize = 1 << 16;

/// What the kernel sends with one message (`SCM_MAX_FD`).
pub(super) const BATCH: usize = 253;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Clients of an endpoint.
    Endpoint,
    /// The admin API.
    Admin,
    /// Metrics.
    Metrics,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Endpoint, Self::Admin, Self::Metrics];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Endpoint => "endpoint",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }
}

/// The sockets of one listening address.
#[derive(Debug)]
pub struct Offered {
    /// What they are for.
    pub role: Role,
    /// Where they listen, in the terms of the configuration.
    pub key: String,
    /// The address for the log.
    pub address: String,
    /// Device and inode of the file of a unix socket.
    pub file: Option<(u64, u64)>,
    /// The sockets; each has a queue of its own.
    pub sockets: Vec<OwnedFd>,
}
