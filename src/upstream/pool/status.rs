//! The state of an origin at one moment, for health checks, metrics and the admin API.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime};

use crate::upstream::definition::{Address, OriginDefinition};
use crate::upstream::discovery::Source;
use crate::upstream::origin::{AdminState, LastCheck, Origin, Verdict};

/// How one origin is at one address.
#[derive(Clone, Debug)]
pub struct OriginStatus {
    /// Tells origins of this process apart; `u64::MAX` where there is no address.
    pub id: u64,
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The origin's definition.
    pub definition: Arc<OriginDefinition>,
    /// Where it is; its name where that has no address.
    pub address: Address,
    /// Why its name has no address, where that is so.
    pub unresolved: Option<Arc<str>>,
    /// Whether checks find it up; it is until the first result.
    pub is_up: bool,
    /// Whether the last checks contradict that, but not often enough yet.
    pub is_in_doubt: bool,
    /// How long it is still ejected.
    pub ejected_for: Option<Duration>,
    /// What an operator has set.
    pub admin: AdminState,
    /// Its weight: the operator's, or else the configured one.
    pub weight: u64,
    /// Its connections, those being established included.
    pub connections: usize,
    /// Its last check.
    pub last_check: Option<LastCheck>,
    /// Since when it is as it is; before its name was resolved for the first time, unknown.
    pub since: Option<SystemTime>,
    /// How often it went down or was ejected.
    pub flaps: u32,
}

impl OriginStatus {
    /// Of an origin of this upstream.
    pub(super) fn of(origin: &Origin, upstream: &Arc<str>, now: Instant) -> Self {
        Self {
            id: origin.id,
            upstream: Arc::clone(upstream),
            definition: Arc::clone(&origin.definition),
            address: origin.address.clone(),
            unresolved: None,
            is_up: !origin.is_down,
            is_in_doubt: origin.is_in_doubt(),
            ejected_for: origin.outlier.ejected_for(now),
            admin: origin.admin,
            weight: origin.weight(),
            connections: origin.connections,
            last_check: origin.checks.back().cloned(),
            since: origin.since(now).map(wall),
            flaps: origin.flaps,
        }
    }

    /// Why connections do not use it, for people; `None` if they may.
    pub fn unusable(&self) -> Option<String> {
        if let Some(why) = &self.unresolved {
            return Some(format!("not resolved: {why}"));
        }
        match self.admin {
            AdminState::Disabled => return Some("disabled by an operator".to_owned()),
            AdminState::Draining => return Some("drained by an operator".to_owned()),
            AdminState::Enabled => {}
        }
        let why = match self.last_check.as_ref().map(|check| &check.verdict) {
            Some(Verdict::Fail(why) | Verdict::ForceDown(why)) => why,
            _ => "its checks fail",
        };
        (!self.is_up).then(|| format!("down: {why}"))
    }

    /// Of a name of this upstream; `None` if it has an address, so that its origins have a status.
    pub(super) fn of_unresolved(
        source: &Source,
        upstream: &Arc<str>,
        since: Option<Instant>,
    ) -> Option<Self> {
        let definition = &source.definition;
        Some(Self {
            id: u64::MAX,
            upstream: Arc::clone(upstream),
            definition: Arc::clone(definition),
            address: definition.address.clone(),
            unresolved: Some(source.unresolved()?),
            is_up: false,
            is_in_doubt: false,
            ejected_for: None,
            admin: AdminState::Enabled,
            weight: definition.weight.into(),
            connections: 0,
            last_check: None,
            since: since.map(wall),
            flaps: 0,
        })
    }
}

/// The time of day of a moment: always the same for the same moment.
fn wall(moment: Instant) -> SystemTime {
    static BASE: LazyLock<(Instant, SystemTime)> =
        LazyLock::new(|| (Instant::now(), SystemTime::now()));
    let (base, time) = *BASE;
    let moved = match moment.checked_duration_since(base) {
        Some(after) => time.checked_add(after),
        None => time.checked_sub(base.saturating_duration_since(moment)),
    };
    moved.unwrap_or(time)
}
