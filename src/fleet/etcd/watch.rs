//! A watch: JSON objects, one a line, on a connection of its own.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::error::EtcdError;
use super::http::{self, Connection};
use crate::fleet::settings::StoreEndpoint;

/// The longest line: what is watched is small.
const LINE_MAX: usize = 8 * 1024 * 1024;

/// The changes of some keys. The waiting task reads the new values itself.
#[derive(Debug)]
pub struct Watch {
    endpoint: StoreEndpoint,
    /// It ends when this is dropped.
    _connection: Connection,
    stream: Incoming,
    pending: Vec<u8>,
}

impl Watch {
    pub(super) const fn new(
        endpoint: StoreEndpoint,
        connection: Connection,
        stream: Incoming,
    ) -> Self {
        Self {
            endpoint,
            _connection: connection,
            stream,
            pending: Vec::new(),
        }
    }

    /// The member that it is at.
    pub const fn endpoint(&self) -> &StoreEndpoint {
        &self.endpoint
    }

    /// Waits until a key has changed, or the revision that the watch began with was compacted. May be dropped at
    /// any await.
    ///
    /// # Errors
    ///
    /// If the member ends the watch.
    pub async fn changed(&mut self) -> Result<(), EtcdError> {
        loop {
            while let Some(line) = self.line() {
                if self.is_change(&line)? {
                    return Ok(());
                }
            }
            let frame = self.stream.frame().await;
            let lost = |why: String| EtcdError::unreachable(&self.endpoint, why);
            let frame = frame.ok_or_else(|| lost("it has ended the watch".to_owned()))?;
            let frame = frame.map_err(|error| lost(format!("the watch: {error}")))?;
            if let Ok(data) = frame.into_data() {
                self.pending.extend_from_slice(&data);
            }
            if self.pending.len() > LINE_MAX {
                return Err(EtcdError::Malformed("a line without an end"));
            }
        }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.pending.iter().position(|byte| *byte == b'\n')?;
        Some(self.pending.drain(..=end).collect())
    }

    fn is_change(&self, line: &[u8]) -> Result<bool, EtcdError> {
        if line.trim_ascii().is_empty() {
            return Ok(false);
        }
        let message: Value = serde_json::from_slice(line)
            .map_err(|_| EtcdError::Malformed("a line that is no JSON"))?;
        if let Some(error) = message.get("error") {
            return Err(http::refusal(&self.endpoint, error));
        }
        let result = &message["result"];
        let is_cancelled = result["canceled"].as_bool().unwrap_or_default();
        if is_cancelled && result["compact_revision"].is_null() {
            let why = result["cancel_reason"].as_str().unwrap_or("no reason");
            let why = format!("it has cancelled the watch: {why}");
            return Err(EtcdError::unreachable(&self.endpoint, why));
        }
        Ok(is_cancelled
            || result["events"]
                .as_array()
                .is_some_and(|events| !events.is_empty()))
    }
}
