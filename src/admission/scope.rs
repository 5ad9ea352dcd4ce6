//! What is counted for an endpoint or a route that has limits. It lives on over reloads, by name, and knows
//! no configured number.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::by_source::{SourcePermit, SourceTable};
use super::gate::Gate;
use super::limit_use::{LimitUse, Warnings};
use super::limits::{LimitKind, Limits, WhenFull};
use super::pending::PendingConnections;
use super::rate::{Bucket, Clock, Rate};
use super::source::SourceKey;
use crate::bandwidth::{BandwidthUse, Flow, Rates, RouteBandwidth, Way};

/// How long a connection waits for the place of a silent one that was dropped for it: the time of a few turns
/// of its worker.
const DROP_MAX: Duration = Duration::from_secs(1);

/// The counts of one endpoint or route.
#[derive(Debug)]
pub struct LimitScope {
    /// Tells the sources of one scope from those of others.
    id: u32,
    /// For the log.
    name: Box<str>,
    in_use: AtomicUsize,
    freed: Notify,
    waits: LimitUse,
    bucket: AtomicU64,
    handshakes: Gate,
    bandwidth: RouteBandwidth,
    /// The connections that may be dropped for others.
    pub pending: PendingConnections,
    sources: SourceTable,
    clock: Clock,
    refused: [AtomicU64; LimitKind::ALL.len()],
    warnings: [Warnings; LimitKind::ALL.len()],
    dry_run: [AtomicU64; LimitKind::ALL.len()],
}

/// One of a scope's connections, counted until it is dropped.
#[derive(Debug)]
pub struct ScopePermit(Arc<LimitScope>);

/// A limit on connections whose clients wait for a place.
#[derive(Clone, Debug)]
pub struct WaitingLimit {
    /// Whose limit.
    pub scope: Arc<LimitScope>,
    /// Its value.
    pub max: usize,
}

impl LimitScope {
    pub(super) fn new(
        id: u32,
        name: &str,
        workers: usize,
        sources: SourceTable,
        clock: Clock,
    ) -> Self {
        Self {
            id,
            name: name.into(),
            in_use: AtomicUsize::new(0),
            freed: Notify::new(),
            waits: LimitUse::new(format!("limits.connections of {name}"), 0),
            bucket: AtomicU64::new(0),
            handshakes: Gate::new(format!("limits.handshakes of {name}"), 0),
            bandwidth: RouteBandwidth::default(),
            pending: PendingConnections::new(workers),
            sources,
            clock,
            refused: Default::default(),
            warnings: LimitKind::ALL.map(|_| Warnings::new()),
            dry_run: Default::default(),
        }
    }

    /// Applies a configuration: changes how many handshakes have a permit, and the bandwidth of connections
    /// that are there. Without a limit nobody waits any more.
    pub(super) fn resize(&self, limits: &Limits) {
        self.handshakes
            .resize(limits.handshakes.unwrap_or(usize::MAX));
        for way in Way::BOTH {
            self.bandwidth.set(way, limits.rates(way), limits.dry_run);
        }
    }

    /// Lifts the limits for those that they still hold back.
    pub(super) fn lift(&self) {
        self.handshakes.resize(usize::MAX);
        for way in Way::BOTH {
            self.bandwidth.set(way, Rates::default(), false);
        }
    }

    /// One direction of a new connection, if its bandwidth is limited.
    pub fn flow(&self, limits: &Limits, way: Way) -> Option<Flow> {
        let is_limited = limits.rates(way).is_any();
        is_limited.then(|| Flow::new(&self.bandwidth, way))
    }

    /// What is counted for the limits of bandwidth in one direction.
    pub fn bandwidth(&self, way: Way) -> BandwidthUse {
        self.bandwidth.used(way)
    }

    /// Takes a place for a connection, if fewer than `max` are taken.
    pub(super) fn try_enter(self: &Arc<Self>, max: usize) -> Option<ScopePermit> {
        let more = |taken: usize| (taken < max).then_some(taken + 1);
        let entered = self
            .in_use
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        entered.is_ok().then(|| ScopePermit(Arc::clone(self)))
    }

    /// Takes a place beyond the limit.
    fn enter(self: &Arc<Self>) -> ScopePermit {
        self.in_use.fetch_add(1, Ordering::AcqRel);
        ScopePermit(Arc::clone(self))
    }

    /// Is ready when a place may be free.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Counts a client that has to wait for a place, and warns once a minute.
    pub(super) fn count_wait(&self, max: usize) {
        self.waits.set_max(max);
        self.waits.count();
    }

    /// Takes a place for a connection, at once or in place of the oldest connection that has said nothing.
    ///
    /// # Errors
    ///
    /// If all places are taken, unless it is a dry run.
    pub async fn connect_or_drop(self: &Arc<Self>, limits: &Limits) -> Result<Entered, LimitKind> {
        let Some(max) = limits.connections else {
            return Ok(Entered::default());
        };
        if let Some(permit) = self.try_enter(max) {
            return Ok(Entered::within(permit));
        }
        if !limits.dry_run && self.pending.drop_oldest() {
            let end = Instant::now() + DROP_MAX;
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                freed.as_mut().enable();
                if let Some(permit) = self.try_enter(max) {
                    return Ok(Entered::within(permit));
                }
                if timeout_at(end, freed).await.is_err() {
                    break;
                }
            }
        }
        self.beyond(LimitKind::Connections, limits)?;
        Ok(Entered {
            permit: Some(self.enter()),
            is_over: true,
        })
    }

    /// Takes a place for a connection.
    ///
    /// # Errors
    ///
    /// If all places are taken, unless it is a dry run.
    pub fn connect(self: &Arc<Self>, limits: &Limits) -> Result<Entered, LimitKind> {
        let Some(max) = limits.connections else {
            return Ok(Entered::default());
        };
        if let Some(permit) = self.try_enter(max) {
            return Ok(Entered::within(permit));
        }
        self.beyond(LimitKind::Connections, limits)?;
        Ok(Entered {
            permit: Some(self.enter()),
            is_over: true,
        })
    }

    /// Takes one of the source's connections, and one of its new ones.
    ///
    /// # Errors
    ///
    /// If there is none left, unless it is a dry run; `over` has the limits that were reached in a dry run.
    pub fn connect_source(
        &self,
        limits: &Limits,
        address: IpAddr,
        over: &mut impl FnMut(LimitKind),
    ) -> Result<Option<SourcePermit>, LimitKind> {
        if !limits.has_source() {
            return Ok(None);
        }
        let key = SourceKey::new(self.id, address, limits.prefix);
        let (permit, reached) = self.sources.connect(key, limits.source, !limits.dry_run);
        for (is_reached, kind) in [
            (reached.connections, LimitKind::PerSource),
            (reached.new, LimitKind::NewPerSource),
        ] {
            if is_reached {
                self.beyond(kind, limits)?;
                over(kind);
            }
        }
        Ok(permit)
    }

    /// Takes one of the new connections.
    ///
    /// # Errors
    ///
    /// If there is none left, unless it is a dry run.
    pub fn take_new(
        &self,
        limits: &Limits,
        over: &mut impl FnMut(LimitKind),
    ) -> Result<(), LimitKind> {
        match limits.new {
            Some(rate) if !self.take(rate) => {
                self.beyond(LimitKind::New, limits)?;
                over(LimitKind::New);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take(&self, rate: Rate) -> bool {
        let now = self.clock.now();
        let mut has_one = false;
        let take = |bucket| {
            let mut bucket = Bucket(bucket);
            has_one = rate.take(&mut bucket, now);
            Some(bucket.0)
        };
        let _ = self
            .bucket
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        has_one
    }

    /// Takes one of the source's handshakes.
    ///
    /// # Errors
    ///
    /// If there is none left, unless it is a dry run.
    pub fn handshake_source(
        &self,
        limits: &Limits,
        address: IpAddr,
        over: &mut impl FnMut(LimitKind),
    ) -> Result<Option<SourcePermit>, LimitKind> {
        let Some(max) = limits.handshakes_per_source else {
            return Ok(None);
        };
        let key = SourceKey::new(self.id, address, limits.prefix);
        let (permit, is_reached) = self.sources.handshake(key, max, !limits.dry_run);
        if is_reached {
            self.beyond(LimitKind::HandshakesPerSource, limits)?;
            over(LimitKind::HandshakesPerSource);
        }
        Ok(permit)
    }

    /// The gate of its handshakes, if they have a limit, with the current number of permits.
    pub fn handshakes(&self, limits: &Limits) -> Option<&Gate> {
        limits.handshakes?;
        Some(&self.handshakes)
    }

    /// Counts a client that a limit refuses, or would refuse, and warns about those that are.
    ///
    /// # Errors
    ///
    /// The kind, unless it is a dry run.
    pub fn beyond(&self, kind: LimitKind, limits: &Limits) -> Result<(), LimitKind> {
        let counts = match limits.dry_run {
            true => &self.dry_run,
            false => &self.refused,
        };
        if let Some(count) = counts.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if limits.dry_run {
            return Ok(());
        }
        self.warn(kind, limits);
        Err(kind)
    }

    /// Warns about clients that are refused, once a minute for each limit.
    fn warn(&self, kind: LimitKind, limits: &Limits) {
        let warnings = self.warnings.get(kind as usize);
        if warnings.is_some_and(|warnings| warnings.is_due(std::time::Instant::now())) {
            let limit = format_args!("limits.{} of {}", kind.word(), self.name);
            let [times, _] = self.refused(kind);
            let value = limits.value(kind);
            warn!(%limit, value, times, "a limit is reached: clients are refused");
        }
    }

    /// How many of a limit are in use, where they are counted together.
    pub fn used(&self, kind: LimitKind) -> Option<usize> {
        match kind {
            LimitKind::Connections => Some(self.in_use.load(Ordering::Relaxed)),
            LimitKind::Handshakes => Some(self.handshakes.load().in_use.load(Ordering::Relaxed)),
            _ => None,
        }
    }

    /// How full a limit is for a client at this address; `None` if there is no such limit, or it is one by
    /// source and the client has no address.
    pub fn fill(&self, kind: LimitKind, limits: &Limits, address: Option<IpAddr>) -> Option<Fill> {
        let source = || {
            let key = SourceKey::new(self.id, address?, limits.prefix);
            Some(self.sources.state(key))
        };
        let now = self.clock.now();
        let of = |used: usize, max: usize| Fill {
            used: Some(used),
            is_reached: used >= max,
        };
        let of_rate = |rate: Rate, mut bucket| Fill {
            used: None,
            is_reached: !rate.take(&mut bucket, now),
        };
        let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Some(match kind {
            LimitKind::Connections | LimitKind::Handshakes => {
                of(self.used(kind)?, limits.most(kind)?)
            }
            LimitKind::PerSource => of(
                size(source()?.connections),
                size(limits.source.connections?),
            ),
            LimitKind::HandshakesPerSource => of(
                size(source()?.handshakes),
                size(limits.handshakes_per_source?),
            ),
            LimitKind::New => of_rate(limits.new?, Bucket(self.bucket.load(Ordering::Relaxed))),
            LimitKind::NewPerSource => of_rate(limits.source.new?, source()?.bucket),
        })
    }

    /// How many clients a limit has refused, and would have refused in dry runs.
    pub fn refused(&self, kind: LimitKind) -> [u64; 2] {
        [&self.refused, &self.dry_run].map(|counts| {
            let count = counts.get(kind as usize);
            count.map_or(0, |count| count.load(Ordering::Relaxed))
        })
    }
}

impl Drop for ScopePermit {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

/// How full a limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// How much of it is in use; a rate has no such number.
    pub used: Option<usize>,
    /// Whether there is no room for another client.
    pub is_reached: bool,
}

/// A connection of a scope.
#[derive(Debug, Default)]
pub struct Entered {
    /// Its place, if places are counted.
    pub permit: Option<ScopePermit>,
    /// Whether the limit was reached, and it is a dry run.
    pub is_over: bool,
}

impl Entered {
    const fn within(permit: ScopePermit) -> Self {
        Self {
            permit: Some(permit),
            is_over: false,
        }
    }
}

impl WaitingLimit {
    /// The limit of a scope at which clients wait, if it has one.
    pub fn of(scope: Option<&Arc<LimitScope>>, limits: Option<&Limits>) -> Option<Self> {
        let limits = limits.filter(|l| l.when_full == WhenFull::Wait && !l.dry_run)?;
        Some(Self {
            scope: Arc::clone(scope?),
            max: limits.connections?,
        })
    }
}
