//! How the names of a pool's origins resolve, as far as it decides why there is no origin to pick.

use std::sync::Arc;
use std::time::Instant;

use super::request::PickError;

/// How the names stood when the origins were last made of them.
#[derive(Debug, Default)]
pub(super) struct Resolution {
    /// Whether one of them has no answer yet.
    pub(super) pending: bool,
    /// What keeps each source from being resolved.
    pub(super) errors: Vec<Option<Arc<str>>>,
    /// Since when each source is resolved, or not.
    pub(super) since: Vec<Instant>,
}

impl Resolution {
    /// Notes since when each source is as it is, given how they were before.
    pub(super) fn follow(&mut self, before: &Self, now: Instant) {
        let since = self.errors.iter().enumerate().map(|(source, error)| {
            let is_equal = |old: &Option<Arc<str>>| old.is_some() == error.is_some();
            let is_equal = before.errors.get(source).is_some_and(is_equal);
            before.since(source).filter(|_| is_equal).unwrap_or(now)
        });
        self.since = since.collect();
    }

    /// Since when a source is resolved, or not.
    pub(super) fn since(&self, source: usize) -> Option<Instant> {
        self.since.get(source).copied()
    }

    /// Why there is no origin to choose.
    pub(super) fn error(&self, is_empty: bool) -> PickError {
        match self.errors.iter().flatten().next() {
            _ if self.pending => PickError::Unresolved,
            Some(why) if is_empty => PickError::Unresolvable(Arc::clone(why)),
            _ => PickError::NoOrigin,
        }
    }
}
