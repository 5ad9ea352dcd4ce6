//! What an instance knows of its fleet: what it serves, what it should, and when the store was last heard.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::document::Document;
use super::revocation::{self, Revocations};
use crate::observe::format::timestamp;
use crate::revoked::RevokedSet;
use crate::sync::Mutex;

/// The store was lost when it was not heard for this long: by then, a keepalive has failed.
const STALE: Duration = Duration::from_secs(10);

/// Why an instance refuses a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The generation.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// What is known at one moment.
#[derive(Clone, Debug)]
pub struct Known {
    /// The generation that is served; absent before the first one.
    pub serving: Option<String>,
    /// Since when.
    pub since: SystemTime,
    /// The generation that is wanted, as far as it was heard.
    pub wanted: Option<String>,
    /// Whether the store was heard and had no document.
    pub is_empty: bool,
    /// The last generation that was refused, if none was applied since.
    pub refused: Option<Refused>,
    /// When the store was last heard; before that, when the process began.
    pub heard: Instant,
    /// What is wrong with the store, if something is.
    pub trouble: Option<String>,
    /// Whether the operators want it to serve nobody.
    pub is_drained: bool,
}

/// The state of an instance, shared with the tasks that show it.
#[derive(Debug)]
pub struct FleetState {
    known: Mutex<Known>,
    /// Those in force, and those that were taken back, until their ends.
    revocations: Mutex<Revocations>,
}

impl FleetState {
    /// That of a process that begins with this document and these revocations.
    pub fn beginning_with(document: Option<&Arc<Document>>, revocations: Revocations) -> Arc<Self> {
        let known = Known {
            serving: document.map(|document| document.id.clone()),
            since: SystemTime::now(),
            wanted: None,
            is_empty: false,
            refused: None,
            heard: Instant::now(),
            trouble: None,
            is_drained: false,
        };
        Arc::new(Self {
            known: Mutex::new(known),
            revocations: Mutex::new(revocations),
        })
    }

    /// Takes over the revocations of the store. Returns all as a text for the cache, if they have changed.
    pub(super) fn revocations_heard(&self, heard: Revocations) -> Option<Vec<u8>> {
        let mut known = self.revocations.lock();
        let before = known.clone();
        revocation::merge(&mut known, heard, SystemTime::now());
        (*known != before).then(|| revocation::encode(&known))
    }

    /// Who is revoked now.
    pub fn revoked(&self) -> RevokedSet {
        revocation::set(&self.revocations.lock(), SystemTime::now())
    }

    /// What is known now.
    pub fn now(&self) -> Known {
        self.known.lock().clone()
    }

    /// Changes what is known.
    pub(super) fn update(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.lock());
    }
}

impl Known {
    /// For how long the store was not heard, if that is longer than it may be.
    pub fn stale(&self) -> Option<Duration> {
        let age = self.heard.elapsed();
        (age >= STALE || self.trouble.is_some()).then_some(age)
    }

    /// For `/status`.
    pub fn json(&self) -> Value {
        let mut json = json!({
            "generation": self.serving,
            "since": timestamp(self.since),
            "wanted": self.wanted,
            "heard_seconds_ago": self.heard.elapsed().as_secs(),
        });
        if let Some(Refused { id, reason }) = &self.refused {
            json["refused"] = json!({ "generation": id, "reason": reason });
        }
        if self.is_drained {
            json["drained"] = json!(true);
        }
        if self.is_empty {
            json["trouble"] = json!("the store has no document");
        }
        if let Some(trouble) = &self.trouble {
            json["trouble"] = json!(trouble);
        }
        json
    }
}
