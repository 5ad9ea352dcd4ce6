//! What an instance says of itself in the store, as long as its lease lives.

use serde_json::{Value, json};

use super::etcd::{Action, Condition, Etcd, EtcdError};
use super::keys::Keys;
use super::settings::FleetSettings;
use super::state::{Known, Refused};
use crate::observe::format::timestamp;

/// How long what an instance has said is believed after its last keepalive, in seconds. A new leader of the
/// cluster begins it anew, so twice as long at most.
pub const LEASE: u64 = 12;

/// The longest reason that is said, in characters.
const REASON_MAX: usize = 4096;

/// The lease of this process, and what it has said under it.
#[derive(Debug, Default)]
pub(super) struct Presence {
    lease: Option<i64>,
    said: Option<Value>,
    /// Whether another process has the name of this one.
    pub(super) is_taken: bool,
}

impl Presence {
    /// Keeps the lease alive, if there is one. In any case the member in use was asked for something.
    pub(super) async fn keep_alive(
        &mut self,
        etcd: &mut Etcd,
        settings: &FleetSettings,
    ) -> Result<(), EtcdError> {
        let Some(lease) = self.lease else {
            let keys = Keys::below(&settings.store.prefix);
            return etcd.probe(&keys.pointer()).await;
        };
        if !etcd.keep_alive(lease).await? {
            *self = Self::default();
        }
        Ok(())
    }

    /// Says what has changed since it was last said; all of it, if `again`.
    pub(super) async fn say(
        &mut self,
        etcd: &mut Etcd,
        settings: &FleetSettings,
        said: Value,
        again: bool,
    ) -> Result<(), EtcdError> {
        if self.said.as_ref() == Some(&said) && !again {
            return Ok(());
        }
        let keys = Keys::below(&settings.store.prefix);
        let have = format!("{}{}", keys.have(), settings.instance);
        let known = format!("{}{}", keys.known(), settings.instance);
        let text = said.to_string();
        let lease = match self.lease {
            Some(lease) => lease,
            None => {
                let lease = etcd.grant(LEASE).await?;
                let conditions = [Condition::Unchanged(&have, 0)];
                let actions = [Action::Put(&have, text.as_bytes(), lease)];
                if !etcd.transact(&conditions, &actions).await? {
                    self.is_taken = true;
                    return etcd.revoke(lease).await;
                }
                self.lease = Some(lease);
                self.is_taken = false;
                lease
            }
        };
        let mut actions = vec![Action::Put(&have, text.as_bytes(), lease)];
        // It changes seldom: what an instance was is for those who miss it.
        let is_new = self.said.as_ref().map(lasting) != Some(lasting(&said));
        if is_new || again {
            actions.push(Action::Put(&known, text.as_bytes(), 0));
        }
        etcd.transact(&[], &actions).await?;
        self.said = Some(said);
        Ok(())
    }

    /// Says that the instance leaves.
    pub(super) async fn leave(&mut self, etcd: &mut Etcd) {
        if let Some(lease) = self.lease.take() {
            // It would end by itself.
            let _ = etcd.revoke(lease).await;
        }
    }
}

/// What is said without the number of connections.
fn lasting(said: &Value) -> Value {
    let mut said = said.clone();
    if let Some(said) = said.as_object_mut() {
        said.remove("connections");
    }
    said
}

/// What an instance says.
pub(super) fn saying(settings: &FleetSettings, known: &Known, connections: usize) -> Value {
    let mut said = json!({
        "group": settings.group,
        "generation": known.serving,
        "since": timestamp(known.since),
        "version": env!("CARGO_PKG_VERSION"),
        "connections": connections,
    });
    if known.is_drained {
        said["drained"] = json!(true);
    }
    if let Some(Refused { id, reason }) = &known.refused {
        let reason: String = reason.chars().take(REASON_MAX).collect();
        said["refused"] = json!({ "generation": id, "reason": reason });
    }
    said
}
