//! A line of the process log for every change that a client asks for: what, who, and what became of it.

use hyper::StatusCode;
use tracing::{info, warn};

use super::auth::Caller;

/// The most bytes of a request's body that a line shows, which escapes them.
const SHOWN_MAX: usize = 256;

/// The line of one change, written when it is dropped: also when the client has not waited for the answer.
pub(super) struct AuditLine<'a> {
    caller: &'a Caller,
    change: String,
    status: Option<StatusCode>,
}

impl<'a> AuditLine<'a> {
    /// The line of a change that this path and body ask for.
    pub(super) fn new(caller: &'a Caller, path: &str, body: &[u8]) -> Self {
        let shown = body.get(..SHOWN_MAX).unwrap_or(body).trim_ascii();
        let change = format!("{path} {}", String::from_utf8_lossy(shown));
        Self {
            caller,
            change: change.trim_end().to_owned(),
            status: None,
        }
    }

    /// What was answered.
    pub(super) fn answered(mut self, status: StatusCode) {
        self.status = Some(status);
    }
}

impl Drop for AuditLine<'_> {
    fn drop(&mut self) {
        let (change, by) = (&self.change, self.caller.to_string());
        let from = self.caller.address().map(tracing::field::display);
        match self.status.map(|status| status.as_u16()) {
            Some(status @ 200) => info!(change, by, from, status, "a change on request"),
            Some(status) => warn!(change, by, from, status, "a change on request is refused"),
            None => warn!(
                change,
                by, from, "a change on request; its client did not wait"
            ),
        }
    }
}
