//! One origin at one address, live: its connections, its health, and what an operator has set. The
//! pool's lock guards it; every moment is a parameter.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::balance::{self, Place};
use super::definition::{Address, OriginDefinition};
use super::outlier::{OutlierPolicy, OutlierState, ServedNames};

/// Slow start shares weights out on this scale, and gives at least this share of 256.
const WEIGHT_SCALE: u64 = 256;

/// How many results of checks are kept of each origin, for operators.
const HISTORY: usize = 16;
const SLOW_SHARE_MIN: u128 = 26;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The origin answered as it should.
    Pass,
    /// It did not, and why.
    Fail(Arc<str>),
    /// It says itself that it takes connections. One such answer is enough.
    ForceUp,
    /// It says itself that it takes none, and why. One such answer is enough.
    ForceDown(Arc<str>),
}

impl Verdict {
    /// Whether the origin may be used, as far as this check goes.
    pub const fn is_pass(&self) -> bool {
        matches!(self, Self::Pass | Self::ForceUp)
    }
}

/// How many results in a row change the state of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Passes that bring it up.
    pub rise: u32,
    /// Failures that take it down.
    pub fall: u32,
}

/// The last check of an origin.
#[derive(Clone, Debug)]
pub struct LastCheck {
    /// When it ended.
    pub at: SystemTime,
    /// What it found.
    pub verdict: Verdict,
}

/// What an operator has set for an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdminState {
    /// It takes connections.
    #[default]
    Enabled,
    /// No new connections; it is still checked.
    Draining,
    /// No new connections, and no checks.
    Disabled,
}

/// The live state of one origin at one address.
#[derive(Debug)]
pub(super) struct Origin {
    /// Tells origins of this process apart.
    pub(super) id: u64,
    pub(super) definition: Arc<OriginDefinition>,
    /// Where it is, resolved.
    pub(super) address: Address,
    /// Only the lowest tier that has a usable origin is used: backups and SRV priorities.
    pub(super) tier: u32,
    /// The weight of its SRV record; 1 where there is none.
    pub(super) record_weight: u32,
    /// What `source_hash` knows it by.
    pub(super) identity: u64,
    /// Its place in the order of balancing.
    pub(super) place: Place,
    /// Connections that have a slot, those being established included.
    pub(super) connections: usize,
    pub(super) is_down: bool,
    /// Results in a row that contradict `is_down`.
    streak: u32,
    /// The latest checks, the last one at the end.
    pub(super) checks: VecDeque<LastCheck>,
    /// When it last went up or down, was ejected, or was changed by an operator; or when it joined.
    changed: Option<Instant>,
    /// When its last ejection ends or has ended.
    ejected_until: Option<Instant>,
    /// How often it went down or was ejected.
    pub(super) flaps: u32,
    pub(super) outlier: OutlierState,
    /// The names of clients that it has served.
    pub(super) served: ServedNames,
    /// When it came up or joined; slow start counts from here.
    up_since: Option<Instant>,
    pub(super) admin: AdminState,
    admin_weight: Option<u32>,
    /// Whether its address has left the answers of the resolver.
    pub(super) is_gone: bool,
}

impl Origin {
    pub(super) fn new(definition: Arc<OriginDefinition>, address: Address) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: COUNT.fetch_add(1, Ordering::Relaxed),
            identity: balance::hash(address.to_string().as_bytes()),
            place: Place::default(),
            definition,
            address,
            tier: 0,
            record_weight: 1,
            connections: 0,
            is_down: false,
            streak: 0,
            checks: VecDeque::new(),
            changed: None,
            ejected_until: None,
            flaps: 0,
            outlier: OutlierState::default(),
            served: ServedNames::default(),
            up_since: None,
            admin: AdminState::Enabled,
            admin_weight: None,
            is_gone: false,
        }
    }

    /// Takes over today's definition. What an operator has set lasts until the origin's own lines change.
    pub(super) fn configure(&mut self, definition: &Arc<OriginDefinition>) {
        if self.definition != *definition {
            self.admin = AdminState::Enabled;
            self.admin_weight = None;
            self.definition = Arc::clone(definition);
        }
        self.is_gone = false;
    }

    /// Whether checks and operators let it have new connections.
    pub(super) fn is_usable(&self) -> bool {
        !self.is_down && self.admin == AdminState::Enabled
    }

    pub(super) fn has_room(&self) -> bool {
        self.definition
            .max_connections
            .is_none_or(|max| self.connections < max)
    }

    /// Whether an operator has set something that must outlive the address.
    pub(super) fn is_administered(&self) -> bool {
        self.admin != AdminState::Enabled || self.admin_weight.is_some()
    }

    /// Its weight, as the operator or else the configuration has it.
    pub(super) fn weight(&self) -> u64 {
        let weight = self.admin_weight.unwrap_or(self.definition.weight);
        u64::from(weight) * u64::from(self.record_weight)
    }

    /// An operator's weight in place of the configured one; `None` takes it back.
    pub(super) const fn set_weight(&mut self, weight: Option<u32>) {
        self.admin_weight = weight;
    }

    pub(super) const fn mark_up(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// One check has ended. `Some(true)` when the origin is up by it, `Some(false)` when it is down.
    pub(super) fn checked(
        &mut self,
        verdict: Verdict,
        threshold: Threshold,
        now: Instant,
    ) -> Option<bool> {
        let (passed, enough) = match &verdict {
            Verdict::Pass => (true, threshold.rise),
            Verdict::Fail(_) => (false, threshold.fall),
            Verdict::ForceUp => (true, 1),
            Verdict::ForceDown(_) => (false, 1),
        };
        if self.checks.len() >= HISTORY {
            self.checks.pop_front();
        }
        self.checks.push_back(LastCheck {
            at: SystemTime::now(),
            verdict,
        });
        if passed != self.is_down {
            self.streak = 0;
            return None;
        }
        self.streak += 1;
        if self.streak < enough {
            return None;
        }
        self.streak = 0;
        self.is_down = !passed;
        self.changed = Some(now);
        if passed {
            self.mark_up(now);
        } else {
            self.flaps = self.flaps.saturating_add(1);
        }
        Some(passed)
    }

    /// Too many connections to it have failed: it gets no new ones for a while.
    pub(super) fn eject(&mut self, policy: &OutlierPolicy, now: Instant) -> Duration {
        let time = self.outlier.eject(policy, now);
        let until = now.checked_add(time).unwrap_or(now);
        self.mark_up(until);
        self.changed = Some(now);
        self.ejected_until = Some(until);
        self.flaps = self.flaps.saturating_add(1);
        time
    }

    /// Sets what an operator wants.
    pub(super) fn set_admin(&mut self, admin: AdminState, now: Instant) {
        if self.admin != admin {
            self.admin = admin;
            self.changed = Some(now);
        }
    }

    /// It is new.
    pub(super) const fn joined(&mut self, now: Instant) {
        self.changed = Some(now);
    }

    /// Since when it is as it is.
    pub(super) fn since(&self, now: Instant) -> Option<Instant> {
        let back = self.ejected_until.filter(|until| *until <= now);
        self.changed.max(back)
    }

    /// Nothing checks it any more: it counts as up.
    pub(super) fn unchecked(&mut self, now: Instant) {
        if self.is_down {
            self.changed = Some(now);
        }
        self.is_down = false;
        self.streak = 0;
        self.checks.clear();
    }

    /// Whether the last results contradict its state, but not often enough yet.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.streak > 0
    }

    /// Its weight at `now`, and the same without slow start, both at least 1.
    pub(super) fn weights(&self, slow_start: Option<Duration>, now: Instant) -> (u64, u64) {
        let share = self.weight().saturating_mul(WEIGHT_SCALE).max(1);
        (self.slow_share(share, slow_start, now), share)
    }

    /// Whether its weight grows with the time.
    pub(super) fn is_growing(&self, slow_start: Option<Duration>, now: Instant) -> bool {
        let times = slow_start.zip(self.up_since);
        times.is_some_and(|(time, since)| now.saturating_duration_since(since) < time)
    }

    /// Of `share`, what slow start leaves it at `now`.
    fn slow_share(&self, share: u64, slow_start: Option<Duration>, now: Instant) -> u64 {
        let Some((time, since)) = slow_start.zip(self.up_since) else {
            return share;
        };
        let up_for = now.saturating_duration_since(since);
        if up_for >= time {
            return share;
        }
        let part = up_for.as_millis() * 256 / time.as_millis().max(1);
        let part = part.clamp(SLOW_SHARE_MIN, 256);
        u64::try_from(u128::from(share) * part / 256)
            .unwrap_or(share)
            .max(1)
    }
}
