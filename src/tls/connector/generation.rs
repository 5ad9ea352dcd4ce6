//! The sessions that an upstream's origins have issued, until they are too old.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::tls::origin_sessions::OriginSessions;

/// How many origins of an upstream keep sessions to resume: those that were used last.
const ORIGINS_MAX: usize = 256;

/// The sessions of one period of `max_age`. A new generation without sessions replaces it after that
/// time, and a connection keeps the generation that it began with. So every resumed session goes back
/// to a full handshake that is no older than `max_age`.
#[derive(Debug)]
pub(super) struct Generation {
    pub(super) since: Instant,
    /// The configuration without sessions.
    pub(super) config: Arc<ClientConfig>,
    /// By the number of the origin's state.
    origins: HashMap<u64, OriginState>,
    /// The number of handshakes, as a clock of [`OriginState::last_use`].
    uses: u64,
}

/// The sessions of one origin, and the configuration that stores and offers them.
#[derive(Clone, Debug)]
pub(super) struct OriginState {
    pub(super) config: Arc<ClientConfig>,
    pub(super) sessions: Arc<OriginSessions>,
    last_use: u64,
}

impl Generation {
    pub(super) fn new(config: Arc<ClientConfig>) -> Self {
        Self {
            since: Instant::now(),
            config,
            origins: HashMap::new(),
            uses: 0,
        }
    }

    /// The sessions with an origin. A session is offered only to the origin that issued it: another
    /// origin could seldom resume it, and a failure would say nothing about that origin.
    pub(super) fn origin(&mut self, id: u64, room: usize) -> OriginState {
        if !self.origins.contains_key(&id) && self.origins.len() >= ORIGINS_MAX {
            // Which origins have been removed is not known here; they are no longer used.
            let oldest = self.origins.iter().min_by_key(|(_, state)| state.last_use);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.origins.remove(&oldest);
            }
        }
        self.uses += 1;
        let uses = self.uses;
        let begin = || {
            let sessions = Arc::new(OriginSessions::new(room));
            let mut config = ClientConfig::clone(&self.config);
            config.resumption = Resumption::store(Arc::clone(&sessions) as _);
            OriginState {
                config: Arc::new(config),
                sessions,
                last_use: uses,
            }
        };
        let state = self.origins.entry(id).or_insert_with(begin);
        state.last_use = uses;
        state.clone()
    }
}
