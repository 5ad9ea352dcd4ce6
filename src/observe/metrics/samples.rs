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

/// An issuer of certificates at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSample {
    /// Its name.
    pub issuer: Arc<str>,
    /// The orders so far by how they ended: `issued`, or the kind of failure.
    pub orders: Vec<(&'static str, u64)>,
    /// The certificates whose last order failed.
    pub failing: u64,
}

/// What was fetched from one URL about revocation so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSample {
    /// `crl` or `ocsp`.
    pub kind: &'static str,
    /// The URL.
    pub url: String,
    /// How often something came that could be used.
    pub used: u64,
    /// How often not.
    pub failed: u64,
    /// Whether the last fetch failed.
    pub is_failing: bool,
    /// When something last came that could be used, in seconds of unix time; 0 if not since the start.
    pub fetched: i64,
}

/// A worker at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerSample {
    /// The connections that it serves.
    pub connections: usize,
    /// How long it has not waited for events since its start.
    pub busy: Duration,
}

/// How it stands with the fleet at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FleetSample {
    /// How long ago the store was last heard.
    pub age: Duration,
    /// The same, if the store is lost.
    pub stale: Option<Duration>,
    /// Whether there is a document to serve.
    pub has_document: bool,
    /// Whether the one that is wanted was refused.
    pub is_refused: bool,
}
