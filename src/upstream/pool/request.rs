//! What a connection asks of a pool, and why it may get no origin.

use std::net::IpAddr;
use std::sync::Arc;

use crate::upstream::balance;

/// What one connection asks of a pool.
#[derive(Clone, Debug, Default)]
pub struct PickRequest {
    pub(super) source: Option<u64>,
    pub(super) tried: Vec<u64>,
}

impl PickRequest {
    /// A connection of the client with this address; peers of unix sockets have none.
    pub fn new(source: Option<IpAddr>) -> Self {
        Self {
            source: source.map(balance::source_key),
            ..Self::default()
        }
    }

    /// Prefers others to this origin from now on: it was tried.
    pub fn tried(&mut self, origin: u64) {
        self.tried.push(origin);
    }
}

/// Why no origin was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PickError {
    /// None is usable.
    NoOrigin,
    /// All that are usable have as many connections as they may.
    Full,
    /// The resolver has not answered yet.
    Unresolved,
    /// No name can be resolved, and why.
    Unresolvable(Arc<str>),
    /// The queue is full, too.
    QueueFull,
    /// The time in the queue is over.
    QueueTimeout,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The first answer of the resolver.
    Resolver,
    /// A slot.
    Slot,
}
