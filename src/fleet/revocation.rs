//! Revocations in the store: who, until when, by whom and why. One that was taken back stays as such until its
//! end, so that an instance can tell it from one that was lost.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::document::sha256;
use super::seal::SealKeys;
use crate::revoked::RevokedSet;

/// The most revocations of a fleet.
pub const REVOCATIONS_MAX: usize = 10_000;

/// Revocations by their keys.
pub type Revocations = BTreeMap<String, Revocation>;

/// What a client is revoked by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevokedBy {
    /// The serial number of its certificate.
    Serial(String),
    /// SHA-256 of its certificate.
    Sha256(String),
    /// A URI of its certificate.
    Uri(String),
    /// The common name of its certificate.
    CommonName(String),
    /// Its address.
    Source(IpNet),
}

impl RevokedBy {
    const KINDS: [&str; 5] = ["serial", "sha256", "uri", "cn", "source"];

    /// Reads a value of a kind. `None` if it is none.
    pub fn read(kind: &str, value: &str) -> Option<Self> {
        let hex = || {
            let text = value
                .strip_prefix("0x")
                .unwrap_or(value)
                .replace(':', "")
                .to_lowercase();
            let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then_some(text)
        };
        Some(match kind {
            "serial" => Self::Serial(hex()?.trim_start_matches('0').to_owned()),
            "sha256" => Self::Sha256(hex().filter(|text| text.len() == 64)?),
            "uri" if !value.is_empty() => Self::Uri(value.to_owned()),
            "cn" if !value.is_empty() => Self::CommonName(value.to_owned()),
            "source" => Self::Source(match value.parse::<IpNet>() {
                Ok(net) => net.trunc(),
                Err(_) => IpNet::from(value.parse::<std::net::IpAddr>().ok()?.to_canonical()),
            }),
            _ => return None,
        })
    }

    const fn kind(&self) -> &'static str {
        let [serial, sha256, uri, cn, source] = Self::KINDS;
        match self {
            Self::Serial(_) => serial,
            Self::Sha256(_) => sha256,
            Self::Uri(_) => uri,
            Self::CommonName(_) => cn,
            Self::Source(_) => source,
        }
    }

    fn value(&self) -> String {
        match self {
            Self::Serial(text) | Self::Sha256(text) | Self::Uri(text) | Self::CommonName(text) => {
                text.clone()
            }
            Self::Source(net) => net.to_string(),
        }
    }

    /// Its key among the revocations.
    pub fn key(&self) -> String {
        format!("{}-{}", self.kind(), sha256(self.value().as_bytes()))
    }

    /// For people.
    pub fn text(&self) -> String {
        format!("{} {}", self.kind(), self.value())
    }
}

/// A revocation, or one that was taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Whom it is about.
    pub who: RevokedBy,
    /// Whether it was not taken back.
    pub is_in_force: bool,
    /// Its end, in seconds of unix time.
    pub until: u64,
    /// When it was made or taken back: RFC 3339 in UTC.
    pub time: String,
    /// Who did that.
    pub by: String,
    /// Why.
    pub why: String,
}

impl Revocation {
    /// Reads the value of a key of the store. `None` if it is none of this fleet: an attacker who can write to the
    /// store, but has no seal key, can neither revoke nor take back.
    pub fn open(key: &str, value: &[u8], keys: &SealKeys) -> Option<Self> {
        let plain = keys.open(key, value).ok()?;
        Self::of(&serde_json::from_slice(&plain).ok()?)
    }

    /// The value for a key of the store.
    pub fn seal(&self, key: &str, keys: &SealKeys) -> Option<Vec<u8>> {
        keys.seal(key, self.json().to_string().as_bytes())
    }

    fn of(value: &Value) -> Option<Self> {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Some(Self {
            who: RevokedBy::read(&text("kind"), &text("value"))?,
            // What cannot be read as taken back is in force.
            is_in_force: value["in_force"].as_bool().unwrap_or(true),
            until: value["until"].as_u64()?,
            time: text("time"),
            by: text("by"),
            why: text("why"),
        })
    }

    /// The value for the store.
    pub fn json(&self) -> Value {
        json!({
            "kind": self.who.kind(),
            "value": self.who.value(),
            "in_force": self.is_in_force,
            "until": self.until,
            "time": self.time,
            "by": self.by,
            "why": self.why,
        })
    }

    /// Whether its end is past.
    pub fn is_over(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH);
        Duration::from_secs(self.until) <= now.unwrap_or_default()
    }
}

/// Takes over what the store has. What it lacks stays until its end: a store that was wiped takes nothing back, and
/// neither does one that was restored from a backup.
pub fn merge(known: &mut Revocations, heard: Revocations, now: SystemTime) {
    for (key, revocation) in heard {
        // These texts sort by time.
        if known
            .get(&key)
            .is_none_or(|before| before.time <= revocation.time)
        {
            known.insert(key, revocation);
        }
    }
    known.retain(|_, revocation| !revocation.is_over(now));
}

/// Who is revoked by these.
pub fn set(revocations: &Revocations, now: SystemTime) -> RevokedSet {
    let mut set = RevokedSet::default();
    let in_force = revocations.values();
    for revocation in in_force.filter(|one| one.is_in_force && !one.is_over(now)) {
        match &revocation.who {
            RevokedBy::Serial(serial) => drop(set.serials.insert(serial.clone())),
            RevokedBy::Sha256(digest) => drop(set.sha256.insert(digest.clone())),
            RevokedBy::Uri(uri) => drop(set.uris.insert(uri.clone())),
            RevokedBy::CommonName(name) => drop(set.common_names.insert(name.clone())),
            RevokedBy::Source(net) => set.sources.push(*net),
        }
    }
    set
}

/// All revocations as one text, for the cache.
pub fn encode(revocations: &Revocations) -> Vec<u8> {
    let all: Value = revocations.values().map(Revocation::json).collect();
    all.to_string().into_bytes()
}

/// Reads what [`encode`] has written.
pub fn decode(bytes: &[u8]) -> Option<Revocations> {
    let all: Vec<Value> = serde_json::from_slice(bytes).ok()?;
    let all = all.iter().map(|value| {
        let revocation = Revocation::of(value)?;
        Some((revocation.who.key(), revocation))
    });
    all.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(until: u64, is_in_force: bool, time: &str) -> Revocations {
        let who = RevokedBy::read("serial", "0x00:7B").unwrap();
        let revocation = Revocation {
            until,
            is_in_force,
            time: time.to_owned(),
            by: "ada".to_owned(),
            why: "left".to_owned(),
            who,
        };
        BTreeMap::from([(revocation.who.key(), revocation)])
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_store_that_was_wiped_takes_nothing_back_and_an_end_does() {
        let mut known = Revocations::new();
        merge(&mut known, one(100, true, "1"), at(1));
        merge(&mut known, Revocations::new(), at(2));
        assert!(set(&known, at(3)).serials.contains("7b"));
        assert_eq!(decode(&encode(&known)), Some(known.clone()));
        assert!(set(&known, at(100)).serials.is_empty());
        merge(&mut known, one(100, false, "2"), at(4));
        assert!(set(&known, at(5)).serials.is_empty());
        // An old backup neither revokes nor takes back.
        merge(&mut known, one(100, true, "1"), at(5));
        assert!(set(&known, at(6)).serials.is_empty());
        merge(&mut known, Revocations::new(), at(100));
        assert!(known.is_empty());
    }

    #[test]
    fn values_have_one_form() {
        let read = |kind: &str, value: &str| RevokedBy::read(kind, value).map(|by| by.text());
        assert_eq!(read("serial", "00:AB"), Some("serial ab".to_owned()));
        assert_eq!(
            read("source", "192.0.2.9"),
            Some("source 192.0.2.9/32".to_owned())
        );
        assert_eq!(
            read("source", "192.0.2.9/24"),
            Some("source 192.0.2.0/24".to_owned())
        );
        for (kind, value) in [
            ("serial", "xyz"),
            ("sha256", "ab"),
            ("uri", ""),
            ("source", "here"),
            ("who", "a"),
        ] {
            assert_eq!(read(kind, value), None, "{kind} {value}");
        }
    }
}
