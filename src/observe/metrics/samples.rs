//! Numbers that other parts keep, read when somebody looks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A function that reads numbers.
pub(super) struct Source<F: ?Sized>(pub(super) Box<F>);

impl<F: ?Sized> fmt::Debug for Source<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// The tickets of clients' sessions so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TicketSample {
    /// Those that clients were sent.
    pub issued: u64,
    /// Those that clients offered, and that could be used.
    pub accepted: u64,
    /// Those that clients offered, and that could not be read or were too old.
    pub refused: u64,
}

/// The orders at one issuer of certificates so far that ended in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderSample {
    /// The issuer's name.
    pub issuer: Arc<str>,
    /// How they ended: `issued`, or the kind of failure.
    pub result: &'static str,
    /// Their number.
    pub count: u64,
}

/// A worker at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSample {
    /// The connections that it serves.
    pub connections: usize,
    /// How long it has not waited for events since its start.
    pub busy: Duration,
}
