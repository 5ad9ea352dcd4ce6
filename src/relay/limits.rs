//! The limits of a relay, and how it passes on truncated streams.

use std::time::Duration;

use tokio::time::Instant;

/// How a TLS stream that ends without close_notify is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnTruncation {
    /// A reset: an attacker may have truncated the stream.
    Reset,
    /// A clean end, because the operator configured it.
    Close,
}

/// The limits of one relay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Ends the relay after this long without an application byte in either direction.
    pub idle: Option<Duration>,
    /// Ends the relay after this long without progress, once one direction has ended.
    pub half_close: Option<Duration>,
    /// Ends the relay at this moment, whatever it does.
    pub lifetime: Option<Instant>,
    /// What the origin sees when the client's TLS stream is truncated.
    pub client_truncation: OnTruncation,
    /// What the client sees when the origin's TLS stream is truncated.
    pub origin_truncation: OnTruncation,
}
