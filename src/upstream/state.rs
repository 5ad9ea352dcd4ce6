//! What is alive of one origin: its connections, its health, and what an operator has ordered. It
//! outlives a reload and holds no number of the configuration.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::ServerName;

use super::passive::{PassivePolicy, ServedNames, Trouble};
use super::queue::Queue;
use super::{Address, Origin};

/// The live state of one origin at one address.
#[derive(Debug)]
pub struct OriginState {
    /// Tells states of this process apart.
    id: u64,
    address: Address,
    queue: Arc<Queue>,
    live: AtomicUsize,
    /// The most connections that it may have, as it is configured now.
    cap: AtomicUsize,
    down: AtomicBool,
    /// Moments, as [`moment`] counts them; 0 is never.
    ejected_until: AtomicU64,
    risen: AtomicU64,
    /// Whether there are failures that a success has to wipe out.
    troubled: AtomicBool,
    /// Whether its address has left the answers of the resolver.
    gone: AtomicBool,
    order: AtomicU8,
    /// An operator's weight; 0 is none.
    weight: AtomicU32,
    notes: Mutex<Notes>,
}

/// What is not asked for each connection.
#[derive(Debug, Default)]
struct Notes {
    /// Results in a row that contradict what the origin is taken for.
    streak: u32,
    check: Option<CheckNote>,
    trouble: Trouble,
    served: ServedNames,
    /// The configuration that the operator's orders were about.
    ordered_for: Option<Arc<Origin>>,
}

/// The last check of an origin.
#[derive(Clone, Debug)]
pub struct CheckNote {
    /// When it ended.
    pub at: SystemTime,
    /// What it found.
    pub verdict: Verdict,
}

/// What a check says of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is well.
    Well,
    /// It does not do what it should, and why.
    Unwell(Arc<str>),
    /// It says by itself that it is the right one; that needs no second check.
    Willing,
    /// It says by itself that it does not want connections, and why.
    Unwilling(Arc<str>),
}

/// How many checks in a row it takes to believe them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// Good ones.
    pub rise: u32,
    /// Bad ones.
    pub fall: u32,
}

/// What an operator has ordered for an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As it comes.
    Enable,
    /// No new connections; it is still checked.
    Drain,
    /// No new connections, and no checks.
    Disable,
}

/// A live connection's place at its origin, given up on drop.
#[derive(Debug)]
pub struct Held(Arc<OriginState>);

impl Held {
    /// The state of the origin.
    pub const fn state(&self) -> &Arc<OriginState> {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Who joins the queue looks at this count after that of the queue, and here it is the other way
        // round: in one order of all four, nobody is overlooked.
        self.0.live.fetch_sub(1, Ordering::SeqCst);
        self.0.queue.serve();
    }
}

impl OriginState {
    pub(super) fn new(address: Address, queue: Arc<Queue>) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Self {
            id: COUNT.fetch_add(1, Ordering::Relaxed),
            address,
            queue,
            live: AtomicUsize::new(0),
            cap: AtomicUsize::new(usize::MAX),
            down: AtomicBool::new(false),
            ejected_until: AtomicU64::new(0),
            risen: AtomicU64::new(0),
            troubled: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            order: AtomicU8::new(0),
            weight: AtomicU32::new(0),
            notes: Mutex::default(),
        }
    }

    /// Tells this state from every other of the process.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Where the origin is.
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Its live connections, those that are being established included.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    /// Whether active checks have found it down.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }

    /// How long it is still ejected.
    pub fn ejected_for(&self, now: Instant) -> Option<Duration> {
        let until = self.ejected_until.load(Ordering::Acquire);
        let left = until.checked_sub(moment(now)).filter(|left| *left > 0)?;
        Some(Duration::from_millis(left))
    }

    /// Whether it has come up, or joined, less than `time` ago; how long ago.
    pub(super) fn rising(&self, time: Duration, now: Instant) -> Option<Duration> {
        let risen = self.risen.load(Ordering::Acquire);
        if risen == 0 {
            return None;
        }
        let ago = Duration::from_millis(moment(now).saturating_sub(risen));
        (ago < time).then_some(ago)
    }

    /// It joins others that are at work already, or is at work again.
    pub(super) fn rise(&self, now: Instant) {
        self.risen.store(moment(now), Ordering::Release);
    }

    /// Whether its address has left the answers of the resolver, and not come back.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn set_gone(&self, gone: bool) {
        self.gone.store(gone, Ordering::Release);
    }

    /// Whether an operator has said something about it that still holds.
    pub(super) fn is_ordered(&self) -> bool {
        self.order() != Order::Enable || self.weight().is_some()
    }

    /// What the operator has ordered.
    pub fn order(&self) -> Order {
        match self.order.load(Ordering::Acquire) {
            0 => Order::Enable,
            1 => Order::Drain,
            _ => Order::Disable,
        }
    }

    /// The weight that an operator has set.
    pub fn weight(&self) -> Option<u32> {
        Some(self.weight.load(Ordering::Acquire)).filter(|weight| *weight > 0)
    }

    /// Whether it may have one more connection.
    pub(super) fn has_room(&self) -> bool {
        self.live() < self.cap.load(Ordering::SeqCst)
    }

    /// A place for one more connection, if there is room.
    pub(super) fn take(self: &Arc<Self>) -> Option<Held> {
        let cap = self.cap.load(Ordering::SeqCst);
        let more = |live| (live < cap).then_some(live + 1);
        let taken = self
            .live
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more);
        taken.ok().map(|_| Held(Arc::clone(self)))
    }

    /// A connection was established.
    pub(super) fn succeeded(&self, now: Instant) {
        if self.troubled.load(Ordering::Acquire) {
            let clear = self.notes().trouble.succeeded(now);
            self.troubled.store(!clear, Ordering::Release);
        }
    }

    /// A connection was established under a name that the client had asked for.
    pub(super) fn served(&self, name: &ServerName<'_>) {
        self.notes().served.add(name);
    }

    /// Whether a client has asked for this name before and was served.
    pub fn serves(&self, name: &ServerName<'_>) -> bool {
        self.notes().served.has(name)
    }

    /// A connection failed by the origin's fault. For how long it is ejected, if it is: `may_eject` is
    /// asked once it comes to that.
    pub(super) fn failed(
        &self,
        policy: &PassivePolicy,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> Option<Duration> {
        let mut notes = self.notes();
        self.troubled.store(true, Ordering::Release);
        if !notes.trouble.failed(policy, now) || !may_eject() {
            return None;
        }
        let time = notes.trouble.eject(policy, now);
        let until = now.checked_add(time).unwrap_or(now);
        self.ejected_until.store(moment(until), Ordering::Release);
        self.risen.store(moment(until), Ordering::Release);
        Some(time)
    }

    /// A check has ended. `Some(true)` when the origin is up again by it, `Some(false)` when it is
    /// down.
    pub(super) fn checked(
        &self,
        verdict: Verdict,
        threshold: Threshold,
        now: Instant,
    ) -> Option<bool> {
        let was_down = self.is_down();
        let (well, enough) = match &verdict {
            Verdict::Well => (true, threshold.rise),
            Verdict::Unwell(_) => (false, threshold.fall),
            Verdict::Willing => (true, 1),
            Verdict::Unwilling(_) => (false, 1),
        };
        let mut notes = self.notes();
        notes.check = Some(CheckNote {
            at: SystemTime::now(),
            verdict,
        });
        if well != was_down {
            notes.streak = 0;
            return None;
        }
        notes.streak += 1;
        if notes.streak < enough {
            return None;
        }
        notes.streak = 0;
        drop(notes);
        if well {
            self.rise(now);
        }
        self.down.store(!well, Ordering::Release);
        Some(well)
    }

    /// Nothing checks it any more, so nothing is held against it.
    pub(super) fn unchecked(&self) {
        self.down.store(false, Ordering::Release);
        let mut notes = self.notes();
        notes.streak = 0;
        notes.check = None;
    }

    /// Whether the last checks contradict what the origin is taken for, but not often enough yet.
    pub fn is_in_doubt(&self) -> bool {
        self.notes().streak > 0
    }

    /// The last check.
    pub fn last_check(&self) -> Option<CheckNote> {
        self.notes().check.clone()
    }

    /// An operator's orders, about the origin as it is configured now.
    pub(super) fn set_order(&self, order: Order, configured: &Arc<Origin>) {
        let order = match order {
            Order::Enable => 0,
            Order::Drain => 1,
            Order::Disable => 2,
        };
        self.order.store(order, Ordering::Release);
        self.notes().ordered_for = Some(Arc::clone(configured));
    }

    /// An operator's weight in place of the configured one; `None` takes it back.
    pub(super) fn set_weight(&self, weight: Option<u32>, configured: &Arc<Origin>) {
        self.weight.store(weight.unwrap_or(0), Ordering::Release);
        self.notes().ordered_for = Some(Arc::clone(configured));
    }

    /// How it is configured now. Its cap is that of today for connections of every generation; orders
    /// last until the line that they were about is another.
    pub(super) fn configured(&self, origin: &Arc<Origin>) {
        let cap = origin.connections.unwrap_or(usize::MAX);
        self.cap.store(cap, Ordering::SeqCst);
        let mut notes = self.notes();
        if notes.ordered_for.as_ref().is_some_and(|old| old != origin) {
            notes.ordered_for = None;
            self.order.store(0, Ordering::Release);
            self.weight.store(0, Ordering::Release);
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Milliseconds since shortly before the first call, never 0.
fn moment(at: Instant) -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(|| {
        Instant::now()
            .checked_sub(Duration::from_millis(1))
            .unwrap_or_else(Instant::now)
    });
    let since = at.saturating_duration_since(*START).as_millis();
    u64::try_from(since).unwrap_or(u64::MAX).max(1)
}
