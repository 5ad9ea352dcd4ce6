//! How the names of a pool's origins resolve, as far as it decides why there is no origin to pick.

use std::sync::Arc;

use super::request::PickError;

/// How the names stood when the origins were last made of them.
#[derive(Debug, Default)]
pub(super) struct Resolution {
    /// Whether one of them has no answer yet.
    pub(super) pending: bool,
    /// What keeps each source from being resolved.
    pub(super) errors: Vec<Option<Arc<str>>>,
}

impl Resolution {
    /// Why there is no origin to choose.
    pub(super) fn error(&self, is_empty: bool) -> PickError {
        match self.errors.iter().flatten().next() {
            _ if self.pending => PickError::Unresolved,
            Some(why) if is_empty => PickError::Unresolvable(Arc::clone(why)),
            _ => PickError::NoOrigin,
        }
    }
}
