//! Warnings of what will stop working with time, for as long as nobody does anything about it.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::config::compile::Materials;
use crate::observe::format::unix_timestamp;
use crate::snapshot::Snapshot;
use crate::tls::{certificates, revocation, unix_now};

/// How often. What is doubtful at a start or reload is told then.
const EVERY: Duration = Duration::from_secs(6 * 3600);

/// When the next warnings are due.
#[derive(Debug)]
pub(super) struct Reminders(Instant);

impl Default for Reminders {
    fn default() -> Self {
        Self(Instant::now() + EVERY)
    }
}

impl Reminders {
    /// Warns, if it is time.
    pub(super) fn proceed(&mut self, snapshot: &Snapshot, materials: &Materials) {
        if Instant::now() < self.0 {
            return;
        }
        self.0 = Instant::now() + EVERY;
        let now = unix_now();
        for ((file, issuer), end) in materials.list_ends() {
            if end - now < revocation::ENDS_SOON {
                let until = unix_timestamp(end);
                warn!(file, issuer, until, "a revocation list has to be replaced");
            }
        }
        for endpoint in &snapshot.endpoints {
            for certificate in &endpoint.certificates {
                let end = certificate.pair.not_after;
                if end - now < certificates::ENDS_SOON {
                    let (name, until) = (&certificate.name, unix_timestamp(end));
                    warn!(endpoint = %endpoint.name, name, until, "a certificate has to be replaced");
                }
            }
        }
    }
}
