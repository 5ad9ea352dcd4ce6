//! How a relay ended.

use super::loss::Loss;
use super::side::Side;
use crate::outcome::Reason;

/// How a relay ended.
#[derive(Debug)]
pub enum RelayEnd {
    /// Both directions ended cleanly.
    Clean,
    /// This side ended first, and the other did not end within `half_close`.
    EndedAlone(Side),
    /// A side ended, and the other did not take the bytes queued for it within `half_close`.
    Undelivered,
    /// Nothing moved for `idle`.
    Idle,
    /// The connection reached `lifetime`.
    Lifetime,
    /// A command ended it.
    Commanded(Reason),
    /// This side reset its connection.
    Reset(Side, std::io::Error, Loss),
    /// This side's TLS stream ended without close_notify.
    Truncated(Side, Loss),
    /// This side broke TLS or sent an alert.
    Failed(Side, rustls::Error),
}
