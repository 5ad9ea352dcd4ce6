//! What the instances of a fleet say, beside what is wanted.

use serde_json::{Value, json};

use crate::fleet::{EtcdError, Pointer, Store};

/// The state of an instance, as `status` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It serves what is wanted.
    Serving,
    /// It refuses that, and serves what it served before.
    Refused,
    /// It has neither applied nor refused it yet.
    Stale,
    /// It says nothing any more.
    Gone,
}

impl State {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Refused => "refused",
            Self::Stale => "stale",
            Self::Gone => "gone",
        }
    }
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) reason: Option<String>,
    /// What it said last.
    said: Value,
}

impl Instance {
    pub(super) fn of(name: &str, said: Value, is_live: bool, pointer: Option<&Pointer>) -> Self {
        let group = said["group"].as_str().unwrap_or_default();
        let wanted = pointer.map(|pointer| pointer.wanted(name, group));
        let serves = said["generation"].as_str();
        let refused = said["refused"]["generation"].as_str();
        let (state, reason) = match wanted {
            _ if !is_live => (State::Gone, Some("it says nothing any more".to_owned())),
            Some(wanted) if serves == Some(wanted) => (State::Serving, None),
            Some(wanted) if refused == Some(wanted) => {
                let reason = said["refused"]["reason"].as_str();
                (State::Refused, Some(reason.unwrap_or_default().to_owned()))
            }
            Some(wanted) => (
                State::Stale,
                Some(format!("it has not applied {wanted} yet")),
            ),
            None => (State::Stale, Some("the store has no document".to_owned())),
        };
        Self {
            name: name.to_owned(),
            state,
            reason,
            said,
        }
    }

    pub(super) fn text(&self, key: &str) -> String {
        match &self.said[key] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            value => value.to_string(),
        }
    }

    /// Whether it serves nobody, as was asked for.
    pub(super) fn is_drained(&self) -> bool {
        self.said["drained"] == true
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "group": self.said["group"],
            "generation": self.said["generation"],
            "state": self.state.word(),
            "reason": self.reason,
            "version": self.said["version"],
            "connections": self.said["connections"],
            "since": self.said["since"],
            "drained": self.is_drained(),
        })
    }
}

/// A fleet at one moment.
pub(super) struct View {
    /// What is wanted.
    pub(super) pointer: Option<Pointer>,
    /// The instances, by name.
    pub(super) instances: Vec<Instance>,
}

impl View {
    /// Reads it from the store.
    pub(super) async fn read(store: &mut Store<'_>) -> Result<Self, EtcdError> {
        let pointer = store.pointer().await?.0;
        let (have, known) = (store.keys.have(), store.keys.known());
        let live = store.etcd.list(&have, false).await?;
        let ever = store.etcd.list(&known, false).await?;
        let said = |value: &[u8]| serde_json::from_slice(value).unwrap_or_default();
        let mut instances = Vec::new();
        for entry in &live.entries {
            if let Some(name) = entry.key.strip_prefix(&have) {
                instances.push(Instance::of(
                    name,
                    said(&entry.value),
                    true,
                    pointer.as_ref(),
                ));
            }
        }
        for entry in &ever.entries {
            if let Some(name) = entry.key.strip_prefix(&known)
                && !instances.iter().any(|instance| instance.name == name)
            {
                instances.push(Instance::of(
                    name,
                    said(&entry.value),
                    false,
                    pointer.as_ref(),
                ));
            }
        }
        instances.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { pointer, instances })
    }

    /// Whether there is an instance in this state.
    pub(super) fn has(&self, state: State) -> bool {
        self.instances
            .iter()
            .any(|instance| instance.state == state)
    }

    /// Whether every live instance has applied or refused what is wanted.
    pub(super) fn is_settled(&self) -> bool {
        !self.has(State::Stale) && (self.has(State::Serving) || self.has(State::Refused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(id: &str) -> Pointer {
        Pointer {
            id: id.to_owned(),
            ..Pointer::default()
        }
    }

    fn state(said: Value, is_live: bool, wanted: Option<&str>) -> State {
        Instance::of("edge-1", said, is_live, wanted.map(to).as_ref()).state
    }

    #[test]
    fn a_state_is_about_what_is_wanted_now() {
        let said = json!({ "generation": "1", "refused": { "generation": "2", "reason": "why" } });
        assert_eq!(state(said.clone(), true, Some("1")), State::Serving);
        assert_eq!(state(said.clone(), true, Some("2")), State::Refused);
        assert_eq!(state(said.clone(), true, Some("3")), State::Stale);
        assert_eq!(state(said.clone(), true, None), State::Stale);
        assert_eq!(state(said, false, Some("1")), State::Gone);
    }

    #[test]
    fn a_fleet_is_settled_when_every_live_instance_has_answered() {
        let view = |states: &[(&str, bool)]| View {
            pointer: Some(to("2")),
            instances: states
                .iter()
                .map(|(generation, is_live)| {
                    Instance::of(
                        "i",
                        json!({ "generation": generation }),
                        *is_live,
                        Some(&to("2")),
                    )
                })
                .collect(),
        };
        assert!(!view(&[]).is_settled());
        assert!(!view(&[("2", false)]).is_settled());
        assert!(!view(&[("2", true), ("1", true)]).is_settled());
        assert!(view(&[("2", true), ("1", false)]).is_settled());
    }
}
