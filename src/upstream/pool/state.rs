//! The state of a pool, behind its one lock. Every method is one critical section: it leaves no slot
//! that a waiter in sight could use. Time is a parameter.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::sync::mpsc;

use super::choose::{Chooser, Taken};
use super::event::{Change, OriginEvent};
use super::request::{PickError, PickRequest};
use super::resolution::Resolution;
use super::waiters::{Ticket, Waiters};
use crate::upstream::balance::Place;
use crate::upstream::definition::{Address, OriginDefinition, UpstreamDefinition};
use crate::upstream::discovery::Source;
use crate::upstream::origin::{Origin, Threshold, Verdict};

/// The shortest interval between two warnings that all origins are at their limits.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct PoolState {
    pub(super) definition: Arc<UpstreamDefinition>,
    pub(super) sources: Vec<Source>,
    /// The origins of today, in file order.
    pub(super) origins: Vec<Origin>,
    /// Where each of them is in that order, by id.
    places: HashMap<u64, usize>,
    /// Those that left the pool while they have connections, or something that an operator has set.
    pub(super) departed: Vec<Origin>,
    pub(super) resolution: Resolution,
    chooser: Chooser,
    waiters: Waiters<Taken>,
    /// The checks that each origin has passed and failed, by name; over all addresses, and for as long as the
    /// pool lives.
    pub(super) checks: HashMap<Arc<str>, [u64; 2]>,
    /// Whether there were origins before: those that come now join others.
    is_at_work: bool,
    /// When the log was last told that connections have to wait.
    warned_full: Option<Instant>,
    events: mpsc::UnboundedSender<OriginEvent>,
    /// To be woken once the lock is released.
    wakers: Vec<Waker>,
}

impl PoolState {
    pub(super) fn new(
        definition: Arc<UpstreamDefinition>,
        random: u64,
        events: mpsc::UnboundedSender<OriginEvent>,
    ) -> Self {
        Self {
            definition,
            sources: Vec::new(),
            origins: Vec::new(),
            places: HashMap::new(),
            departed: Vec::new(),
            resolution: Resolution {
                pending: true,
                ..Resolution::default()
            },
            chooser: Chooser::new(random),
            waiters: Waiters::default(),
            checks: HashMap::new(),
            is_at_work: false,
            warned_full: None,
            events,
            wakers: Vec::new(),
        }
    }

    /// The wakers of those that were served, to be woken without the lock.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }

    /// Takes a slot at once. Waiters come first: what is left is of no use to any of them.
    pub(super) fn pick(&mut self, request: &PickRequest, now: Instant) -> Result<Taken, PickError> {
        // An ejection may have ended since the last event.
        self.serve(now);
        self.choose(request, now)
    }

    /// Takes a slot at another address of the same name, where nobody waits for one.
    pub(super) fn pick_alternate(
        &mut self,
        request: &PickRequest,
        only: &Arc<OriginDefinition>,
        now: Instant,
    ) -> Option<Taken> {
        if !self.waiters.is_empty() {
            return None;
        }
        let (definition, origins) = (&self.definition, &mut self.origins);
        self.chooser
            .choose_alternate(definition, origins, request, only, now)
    }

    /// How many wait in the queue.
    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    /// Whether the log is to be told now that connections have to wait.
    pub(super) fn is_to_warn(&mut self, now: Instant) -> bool {
        let last = self.warned_full;
        let is_due = last.is_none_or(|at| now.saturating_duration_since(at) >= WARN_INTERVAL);
        if is_due {
            self.warned_full = Some(now);
        }
        is_due
    }

    /// Joins the queue, unless it is as long as it may be.
    pub(super) fn join(&mut self, request: PickRequest, now: Instant) -> Result<Ticket, PickError> {
        let limit = self.definition.connect.queue;
        if limit.is_some_and(|limit| self.waiters.len() >= limit) {
            return Err(PickError::QueueFull);
        }
        let ticket = self.waiters.join(request);
        self.serve(now);
        Ok(ticket)
    }

    pub(super) fn poll_waiter(
        &mut self,
        ticket: Ticket,
        waker: &Waker,
    ) -> Option<Result<Taken, PickError>> {
        self.waiters.poll(ticket, waker)
    }

    /// A waiter gives up. A slot that it was granted meanwhile goes to the next one.
    pub(super) fn leave(&mut self, ticket: Ticket, now: Instant) {
        if let Some(taken) = self.waiters.leave(ticket) {
            self.release(taken.id, now);
        }
    }

    /// Gives a slot back.
    pub(super) fn release(&mut self, id: u64, now: Instant) {
        if let Some(origin) = self.by_id(id) {
            origin.connections = origin.connections.saturating_sub(1);
        }
        if let Some(place) = self.places.get(&id) {
            let (definition, origins) = (&self.definition, &mut self.origins);
            self.chooser.recount(definition, origins, *place, now);
        }
        self.departed
            .retain(|origin| origin.connections > 0 || origin.is_administered());
        self.serve(now);
    }

    /// A connection was established, for a client that asked for this name where it has one.
    pub(super) fn succeeded(&mut self, id: u64, asked: Option<&ServerName<'_>>, now: Instant) {
        if self.definition.outlier.is_none() {
            return;
        }
        if let Some(origin) = self.by_id(id) {
            origin.outlier.succeeded(now);
            if let Some(name) = asked {
                origin.served.add(name);
            }
        }
    }

    /// Whether the origin has served a client that asked for this name.
    pub(super) fn serves(&mut self, id: u64, name: &ServerName<'_>) -> bool {
        self.by_id(id).is_some_and(|origin| origin.served.has(name))
    }

    /// A connection failed by the origin's fault, which may eject it.
    pub(super) fn failed(&mut self, id: u64, now: Instant) {
        let Some(policy) = self.definition.outlier else {
            return;
        };
        let may_eject = self.may_eject(id, policy.max_ejected, now);
        let Some(origin) = self.by_id(id) else { return };
        if !origin.outlier.failed(&policy, now) || !may_eject {
            return;
        }
        let time = origin.eject(&policy, now);
        let (name, address) = (Arc::clone(&origin.definition.name), origin.address.clone());
        self.chooser.mark_stale();
        self.emit(&name, &address, Change::Ejected(time));
        self.serve(now);
    }

    /// Whether one more may be ejected: at least one usable origin stays, and no more than
    /// `max_ejected` percent are away.
    fn may_eject(&self, id: u64, max_ejected: u32, now: Instant) -> bool {
        let is_ejected = |o: &&Origin| o.outlier.ejected_for(now).is_some();
        let away = self.origins.iter().filter(is_ejected).count() + 1;
        let share = u64::from(max_ejected) * self.origins.len() as u64;
        let mut others = self.origins.iter().filter(|o| o.id != id);
        others.any(|o| o.is_usable() && !is_ejected(&o)) && away as u64 * 100 <= share
    }

    /// A check of an origin has ended.
    pub(super) fn checked(
        &mut self,
        id: u64,
        verdict: Verdict,
        threshold: Threshold,
        now: Instant,
    ) {
        let why = match &verdict {
            Verdict::Fail(why) | Verdict::ForceDown(why) => Arc::clone(why),
            Verdict::Pass | Verdict::ForceUp => "".into(),
        };
        let Some(place) = self.places.get(&id).copied() else {
            return;
        };
        let Some(origin) = self.origins.get_mut(place) else {
            return;
        };
        let name = Arc::clone(&origin.definition.name);
        let [passed, failed] = self.checks.entry(name).or_default();
        *(if verdict.is_pass() { passed } else { failed }) += 1;
        let change = match origin.checked(verdict, threshold, now) {
            Some(true) => Change::Up,
            Some(false) => Change::Down { why },
            None => return,
        };
        let (name, address) = (Arc::clone(&origin.definition.name), origin.address.clone());
        let (definition, origins) = (&self.definition, &mut self.origins);
        self.chooser.restate(definition, origins, place, now);
        self.emit(&name, &address, change);
        self.serve(now);
    }

    /// Nothing checks the origins any more.
    pub(super) fn unchecked(&mut self, now: Instant) {
        for origin in &mut self.origins {
            origin.unchecked(now);
        }
        self.chooser.mark_stale();
        self.serve(now);
    }

    /// Changes every origin of this name or address; returns how many there are.
    pub(super) fn administer(
        &mut self,
        which: &str,
        set: impl Fn(&mut Origin),
        now: Instant,
    ) -> usize {
        let mut count = 0;
        for origin in &mut self.origins {
            if &*origin.definition.name == which || origin.address.to_string() == which {
                set(origin);
                count += 1;
            }
        }
        self.chooser.mark_stale();
        self.serve(now);
        count
    }

    /// Takes over another definition of the same upstream. With an equal one, nothing is touched.
    /// Returns whether the sources are to be made anew.
    pub(super) fn redefine(&mut self, definition: &Arc<UpstreamDefinition>) -> bool {
        let is_equal = self.definition == *definition;
        self.definition = Arc::clone(definition);
        self.chooser.mark_stale();
        !is_equal
    }

    /// Makes the origins of what the sources stand for now. An origin keeps its state over changes by
    /// its address. `left` is what happened to those that are not there any more.
    pub(super) fn refresh(&mut self, left: &Change, now: Instant) {
        self.chooser.clear(&mut self.origins);
        let old = std::mem::take(&mut self.origins);
        let mut old: Vec<_> = old.into_iter().map(Some).collect();
        let known = |(at, old): (usize, &Option<Origin>)| {
            old.as_ref().map(|origin| (origin.address.clone(), at))
        };
        let known: HashMap<_, _> = old.iter().enumerate().filter_map(known).collect();
        let mut taken = HashSet::new();
        let before = std::mem::take(&mut self.resolution);
        let sources = std::mem::take(&mut self.sources);
        self.places.clear();
        for source in &sources {
            let resolved = source.resolved();
            self.resolution.pending |= resolved.is_none();
            let resolved = resolved.unwrap_or_default();
            for (address, priority, weight) in source.addresses(&resolved) {
                if !taken.insert(address.clone()) {
                    continue;
                }
                let known = known.get(&address).and_then(|at| old.get_mut(*at)?.take());
                let mut origin = self.take_over(&source.definition, address, known, now);
                origin.tier = u32::from(source.definition.backup) << 16 | u32::from(priority);
                origin.record_weight = weight;
                self.places.insert(origin.id, self.origins.len());
                self.origins.push(origin);
            }
            self.resolution.errors.push(source.error(&resolved));
        }
        self.resolution.follow(&before, now);
        for ((source, now), before) in std::iter::zip(&sources, &self.resolution.errors)
            .zip(before.errors.iter().chain(std::iter::repeat(&None)))
        {
            if let (Some(why), None) = (now, before) {
                let definition = &source.definition;
                let change = Change::Unresolved(Arc::clone(why));
                self.emit(&definition.name, &definition.address, change);
            }
        }
        self.sources = sources;
        self.is_at_work |= !self.origins.is_empty();
        for mut origin in old.into_iter().flatten() {
            self.emit(&origin.definition.name, &origin.address, left.clone());
            origin.is_gone = *left == Change::Gone;
            origin.place = Place::default();
            if origin.connections > 0 || origin.is_administered() {
                self.departed.push(origin);
            }
        }
        self.serve(now);
    }

    /// The origin at `address`: as it was, or a new one.
    fn take_over(
        &mut self,
        definition: &Arc<OriginDefinition>,
        address: Address,
        old: Option<Origin>,
        now: Instant,
    ) -> Origin {
        let known = old.or_else(|| {
            let departed = self.departed.iter().position(|o| o.address == address)?;
            Some(self.departed.remove(departed))
        });
        if let Some(mut origin) = known {
            origin.configure(definition);
            return origin;
        }
        let mut origin = Origin::new(Arc::clone(definition), address);
        origin.joined(now);
        if self.is_at_work {
            origin.mark_up(now);
            self.emit(&definition.name, &origin.address, Change::Joined);
        }
        origin
    }

    /// Gives waiters what there is. To be called whenever there may be a slot more, or none ever.
    fn serve(&mut self, now: Instant) {
        if self.waiters.is_empty() {
            return;
        }
        let mut waiters = std::mem::take(&mut self.waiters);
        let mut wakers = std::mem::take(&mut self.wakers);
        waiters.serve(|request| self.choose(request, now), &mut wakers);
        (self.waiters, self.wakers) = (waiters, wakers);
    }

    fn choose(&mut self, request: &PickRequest, now: Instant) -> Result<Taken, PickError> {
        let (definition, origins) = (&self.definition, &mut self.origins);
        let places = &self.places;
        let chosen = self
            .chooser
            .choose(definition, origins, places, request, now);
        chosen.map_err(|error| match error {
            PickError::NoOrigin => self.resolution.error(self.origins.is_empty()),
            error => error,
        })
    }

    /// The origin of today with this id.
    pub(super) fn origin(&self, id: u64) -> Option<&Origin> {
        self.origins.get(*self.places.get(&id)?)
    }

    fn by_id(&mut self, id: u64) -> Option<&mut Origin> {
        match self.places.get(&id) {
            Some(at) => self.origins.get_mut(*at),
            None => self.departed.iter_mut().find(|origin| origin.id == id),
        }
    }

    fn emit(&self, origin: &Arc<str>, address: &Address, change: Change) {
        // The receiver is gone only while the process ends.
        let _ = self.events.send(OriginEvent {
            upstream: Arc::clone(&self.definition.name),
            origin: Arc::clone(origin),
            address: address.clone(),
            change,
        });
    }

    /// Whether nobody waits, and nothing was granted that nobody took.
    #[cfg(test)]
    pub(super) fn has_no_waiters(&self) -> bool {
        self.waiters.is_idle()
    }

    /// How long the next waiter may wait.
    pub(super) fn queue_timeout(&self) -> Duration {
        self.definition.connect.queue_timeout
    }
}
