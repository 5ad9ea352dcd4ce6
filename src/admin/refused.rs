//! A line of the process log when requests are refused for their token or for the page that they come from. Anybody
//! can send very many of them, so that there is one line a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use tracing::warn;

use super::auth::Peer;
use super::response::ErrorResponse;
use crate::admission::Warnings;

/// How many requests of a listener were refused, and when the next line is due.
#[derive(Debug)]
pub(super) struct RefusedRequests {
    count: AtomicU64,
    warnings: Warnings,
}

impl RefusedRequests {
    pub(super) fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
            warnings: Warnings::new(),
        }
    }

    /// Counts a request of this peer to a listener, and logs it if a line is due.
    pub(super) fn count(
        &self,
        listener: &str,
        (head, peer): (&Parts, &Peer),
        refused: &ErrorResponse,
    ) {
        // A browser asks for the page before it asks its user for the token.
        let has_token = head.headers.contains_key(AUTHORIZATION);
        if refused.status == StatusCode::UNAUTHORIZED && !has_token {
            return;
        }
        let times = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if self.warnings.is_due(Instant::now()) {
            let (why, from) = (&refused.message, peer.to_string());
            warn!(
                listener,
                why, from, times, "a request to a listener of `admin` is refused"
            );
        }
    }
}
