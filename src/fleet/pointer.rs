//! The pointer: which generation is wanted, and which ones were.

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Value, json};

/// How many earlier generations are remembered, for a rollback.
const PREVIOUS_MAX: usize = 32;

/// A generation that some instances try before the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// The generation.
    pub id: String,
    /// Who tries it.
    pub who: CanaryOf,
}

/// The instances that try a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryOf {
    /// Those of a group.
    Group(String),
    /// So many of a hundred, chosen by their names.
    Percent(u8),
}

impl CanaryOf {
    /// Whether an instance is one of them.
    pub fn has(&self, instance: &str, group: &str) -> bool {
        match self {
            Self::Group(name) => name == group,
            // The same ones in every version of Reseal.
            Self::Percent(percent) => {
                let digest = digest(&SHA256, instance.as_bytes());
                let number = digest.as_ref().iter().take(4);
                let number = number.fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
                number % 100 < u32::from(*percent)
            }
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        match self {
            Self::Group(name) => format!("the group `{name}`"),
            Self::Percent(percent) => format!("{percent} % of the instances"),
        }
    }
}

impl Canary {
    fn read(value: &Value) -> Option<Self> {
        let percent = value["percent"].as_u64().and_then(|n| u8::try_from(n).ok());
        let group = value["group"].as_str().map(str::to_owned);
        Some(Self {
            id: value["id"].as_str().filter(|id| is_id(id))?.to_owned(),
            who: match (group, percent) {
                (Some(group), None) => CanaryOf::Group(group),
                (None, Some(percent)) => CanaryOf::Percent(percent),
                _ => return None,
            },
        })
    }

    fn write(&self) -> Value {
        match &self.who {
            CanaryOf::Group(group) => json!({ "id": self.id, "group": group }),
            CanaryOf::Percent(percent) => json!({ "id": self.id, "percent": percent }),
        }
    }
}

/// Which generation is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer {
    /// The generation.
    pub id: String,
    /// One that some instances try before the others.
    pub canary: Option<Canary>,
    /// The generations that were wanted before it, the latest first.
    pub previous: Vec<String>,
    /// When it was moved, as a text for people.
    pub time: String,
    /// Who moved it.
    pub by: String,
    /// By which command.
    pub how: String,
}

impl Pointer {
    /// Reads a value of the store. `None` if it is no pointer.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let previous = value["previous"].as_array().map(Vec::as_slice);
        let previous = previous.unwrap_or_default().iter();
        Some(Self {
            id: Some(text("id")).filter(|id| is_id(id))?,
            canary: Canary::read(&value["canary"]),
            previous: previous
                .filter_map(|id| Some(id.as_str()?.to_owned()))
                .collect(),
            time: text("time"),
            by: text("by"),
            how: text("how"),
        })
    }

    /// The value for the store.
    pub fn write(&self) -> Vec<u8> {
        let value = json!({
            "id": self.id,
            "canary": self.canary.as_ref().map(Canary::write),
            "previous": self.previous,
            "time": self.time,
            "by": self.by,
            "how": self.how,
        });
        value.to_string().into_bytes()
    }

    /// The generation that is wanted of an instance.
    pub fn wanted(&self, instance: &str, group: &str) -> &str {
        let canary = self.canary.as_ref();
        let own = canary.filter(|canary| canary.who.has(instance, group));
        own.map_or(&self.id, |canary| &canary.id)
    }

    /// The generations before one that is wanted now: this one's, and this one.
    pub fn before_next(&self) -> Vec<String> {
        let own = std::iter::once(&self.id).chain(&self.previous);
        own.take(PREVIOUS_MAX).cloned().collect()
    }
}

/// Whether a text can be the name of a generation: it becomes part of keys.
pub fn is_id(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_read_back_and_names_a_generation() {
        let pointer = Pointer {
            id: "20261128-120000-ab12".to_owned(),
            canary: Some(Canary {
                id: "next".to_owned(),
                who: CanaryOf::Group("early".to_owned()),
            }),
            previous: vec!["older".to_owned()],
            time: "t".to_owned(),
            by: "b".to_owned(),
            how: "push".to_owned(),
        };
        assert_eq!(Pointer::read(&pointer.write()), Some(pointer.clone()));
        assert_eq!(pointer.before_next(), ["20261128-120000-ab12", "older"]);
        assert_eq!(pointer.wanted("edge-1", "early"), "next");
        assert_eq!(pointer.wanted("edge-1", "default"), "20261128-120000-ab12");
        for bad in [
            "",
            "{}",
            r#"{"id":""}"#,
            r#"{"id":"../have"}"#,
            r#"{"id":7}"#,
        ] {
            assert_eq!(Pointer::read(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_share_of_the_instances_is_the_same_ones_every_time() {
        let names: Vec<_> = (0..1000).map(|n| format!("edge-{n}")).collect();
        let chosen = |percent| {
            let names = names.iter();
            names
                .filter(|name| CanaryOf::Percent(percent).has(name, ""))
                .count()
        };
        assert_eq!((chosen(0), chosen(100)), (0, 1000));
        assert!((70..130).contains(&chosen(10)), "{}", chosen(10));
    }
}
