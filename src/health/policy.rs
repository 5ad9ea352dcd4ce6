//! How the origins of an upstream are checked.

use std::net::IpAddr;
use std::time::Duration;

use super::greeting::Greeting;
use super::request::Request;
use crate::negotiate::{Negotiate, Tunnel};
use crate::tls::connector::TlsConnector;
use crate::transport::TcpOptions;
use crate::upstream::Threshold;

/// How the origins of an upstream are checked.
#[derive(Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// The kind of check.
    pub check: Check,
    /// The connector of the checks; absent without TLS. Clients' connections use another: they never resume
    /// a session of a check, nor a check one of theirs.
    pub tls: Option<TlsConnector>,
    /// How TLS begins, if it does so inside another protocol.
    pub negotiate: Option<Negotiate>,
    /// The HTTP proxy before the origins, if any.
    pub tunnel: Option<Tunnel>,
    /// Sent first: a PROXY header, or nothing.
    pub opening: &'static [u8],
    /// The port, if it is not the origin's.
    pub port: Option<u16>,
    /// Time from the start of one check to the start of the next.
    pub interval: Duration,
    /// The longest time of a check, from connect to status.
    pub timeout: Duration,
    /// How many equal results in a row change the state.
    pub threshold: Threshold,
    /// Whether connections to an origin are closed when it goes down.
    pub close: bool,
    /// Options of the sockets.
    pub tcp: TcpOptions,
    /// Local addresses; empty leaves the choice to the kernel.
    pub sources: Vec<IpAddr>,
}

/// A kind of check.
#[derive(Debug, PartialEq, Eq)]
pub enum Check {
    /// A connection, and a TLS handshake if checks use TLS.
    Connect,
    /// An HTTP request.
    Http(Request),
    /// The greeting of a server that speaks first.
    Greeting(Greeting),
}

impl HealthPolicy {
    /// Whether a check is a connection and nothing over it.
    pub(super) fn sends_nothing(&self) -> bool {
        self.check == Check::Connect
            && self.tls.is_none()
            && self.tunnel.is_none()
            && self.opening.is_empty()
    }

    /// Whether a check by `other` finds the same, a renewed certificate aside.
    pub(super) fn is_same_check(&self, other: &Self) -> bool {
        let Self {
            check,
            tls,
            negotiate,
            tunnel,
            opening,
            port,
            // When, how long and from where a check connects, and what follows from its result.
            interval: _,
            timeout: _,
            threshold: _,
            close: _,
            tcp: _,
            sources: _,
        } = self;
        *check == other.check
            && *negotiate == other.negotiate
            && *tunnel == other.tunnel
            && tls.is_some() == other.tls.is_some()
            && (*opening, *port) == (other.opening, other.port)
    }
}
