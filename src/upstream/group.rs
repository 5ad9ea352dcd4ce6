//! The origins of one upstream as one generation of the configuration has them, and the choice among
//! them. A connection chooses among those that it was born with; what they share with later ones is
//! the live state.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::pki_types::ServerName;
use tokio::sync::watch;
use tokio::time::timeout;

use super::balance::{self, Balance, Candidate, Draw};
use super::following::{NameStanding, Source};
use super::ledger::{Change, Ledger};
use super::member::Member;
use super::passive::PassivePolicy;
use super::state::{Held, OriginState, Threshold, Verdict};
use super::{Address, OnGone, Origin, Origins};

/// The origins of one upstream, and whose turn it is.
#[derive(Debug)]
pub struct Group {
    balance: Balance,
    slow_start: Option<Duration>,
    passive: Option<PassivePolicy>,
    pub(super) on_gone: OnGone,
    queue_limit: Option<usize>,
    queue_timeout: Duration,
    pub(super) ledger: Arc<Ledger>,
    pub(super) sources: Vec<Source>,
    turn: Mutex<Turn>,
    pub(super) changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) members: Vec<Member>,
    pub(super) credits: Vec<i64>,
    candidates: Vec<Candidate>,
    random: u64,
    pub(super) names: NameStanding,
}

/// What one connection asks for.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    source: Option<u64>,
    tried: Vec<u64>,
    /// The only origin that is wanted, at whatever address.
    only: Option<Arc<Origin>>,
}

impl Ask {
    /// A connection of this client; one without an address has none.
    pub fn new(source: Option<IpAddr>) -> Self {
        Self {
            source: source.map(balance::source_key),
            ..Self::default()
        }
    }

    /// This origin was tried; another one is preferred from now on.
    pub fn tried(&mut self, state: &OriginState) {
        self.tried.push(state.id());
    }
}

/// An origin that was chosen, and the place at it.
#[derive(Debug)]
pub struct Picked {
    /// What the file says about it.
    pub origin: Arc<Origin>,
    /// Where it is.
    pub address: Address,
    /// The place, to be held for as long as the connection lasts.
    pub held: Held,
    /// Whether it has been tried before for the same connection.
    pub again: bool,
}

/// Why no origin was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unpicked {
    /// None can be used.
    NoOrigin,
    /// All that can be used have as many connections as they may: queue.
    Full,
    /// The resolver has not answered yet: wait.
    Unresolved,
    /// No name can be resolved, and why.
    Unresolvable(Arc<str>),
    /// The queue is full, too.
    QueueFull,
    /// The time in the queue is over.
    QueueTimeout,
}

impl Group {
    pub(super) fn new(origins: &Origins, ledger: Arc<Ledger>, sources: Vec<Source>) -> Self {
        let names = NameStanding {
            pending: true,
            trouble: vec![None; sources.len()],
        };
        Self {
            balance: origins.balance,
            slow_start: origins.slow_start,
            passive: origins.passive,
            on_gone: origins.on_gone,
            queue_limit: origins.connect.queue,
            queue_timeout: origins.connect.queue_timeout,
            ledger,
            sources,
            turn: Mutex::new(Turn {
                random: seed(),
                names,
                ..Turn::default()
            }),
            changed: watch::Sender::new(()),
        }
    }

    /// Chooses an origin at once.
    pub fn pick(self: &Arc<Self>, ask: &Ask) -> Result<Picked, Unpicked> {
        // Who came earlier is first. What is left then suits nobody who waits.
        self.ledger.queue.serve();
        self.choose(ask)
    }

    /// Another address that the same origin of the file goes by, to be tried beside `picked`.
    pub fn sibling(&self, ask: &Ask, picked: &Picked) -> Option<Picked> {
        // Most have one address, and then there is nothing to look for.
        picked.origin.address.is_name().then_some(())?;
        let mut ask = ask.clone();
        ask.tried(picked.held.state());
        ask.only = Some(Arc::clone(&picked.origin));
        let sibling = self.choose(&ask).ok();
        sibling.filter(|sibling| !sibling.again && self.ledger.queue.is_empty())
    }

    /// Waits in the queue for a place at an origin.
    pub async fn queue(self: &Arc<Self>, ask: Ask) -> Result<Picked, Unpicked> {
        let Some(place) = self.ledger.queue.join(self, ask, self.queue_limit) else {
            return Err(Unpicked::QueueFull);
        };
        match timeout(self.queue_timeout, place).await {
            Ok(Ok(reply)) => reply,
            // The queue outlives whoever waits in it.
            Ok(Err(_)) => Err(Unpicked::NoOrigin),
            Err(_) => Err(Unpicked::QueueTimeout),
        }
    }

    /// Waits until the resolver has answered. The caller bounds the time.
    pub async fn resolved(self: &Arc<Self>, ask: &Ask) -> Result<Picked, Unpicked> {
        let mut changes = self.changes();
        loop {
            match self.pick(ask) {
                Err(Unpicked::Unresolved) => {}
                other => return other,
            }
            tokio::select! {
                _ = changes.changed() => {}
                // Nobody follows the names of a configuration that is not the present one any more.
                () = self.all_answered() => self.refresh(),
            }
        }
    }

    async fn all_answered(&self) {
        for name in self.names() {
            // It cannot end before the name does, which this group has.
            let _ = name.changes().wait_for(Option::is_some).await;
        }
    }

    /// Chooses, whoever waits. `Full` is for the queue to know.
    pub(super) fn choose(&self, ask: &Ask) -> Result<Picked, Unpicked> {
        let now = Instant::now();
        let mut turn = self.turn();
        let Turn {
            members,
            credits,
            candidates,
            random,
            names,
        } = &mut *turn;
        // Who is ejected is better than nobody.
        let ejected = !members.iter().any(|m| m.is_able() && !m.is_ejected(now));
        let wanted = |m: &Member| {
            ask.only
                .as_ref()
                .is_none_or(|only| Arc::ptr_eq(only, &m.origin))
        };
        let able = |m: &Member| m.is_able() && wanted(m) && (ejected || !m.is_ejected(now));
        let fresh = |m: &Member| able(m) && !ask.tried.contains(&m.state.id());
        let again = !members.iter().any(fresh);
        let fits = |m: &Member| if again { able(m) } else { fresh(m) };
        let Some(tier) = members.iter().filter(|m| fits(m)).map(|m| m.tier).min() else {
            return Err(names.nobody(members));
        };
        loop {
            let in_tier = members.iter().enumerate();
            let in_tier = in_tier.filter(|(_, m)| m.tier == tier && fits(m) && m.state.has_room());
            candidates.clear();
            candidates.extend(in_tier.map(|(index, m)| m.candidate(index, self.slow_start, now)));
            let mut draw = Draw {
                source: ask.source,
                credits: credits.as_mut_slice(),
                random: &mut *random,
            };
            let chosen = balance::choose(self.balance, candidates, &mut draw);
            let Some(member) = chosen.and_then(|index| members.get(index)) else {
                return Err(Unpicked::Full);
            };
            if let Some(held) = member.state.take() {
                return Ok(Picked {
                    origin: Arc::clone(&member.origin),
                    address: member.address.clone(),
                    held,
                    again,
                });
            }
            // A connection of another generation was faster; there is one place less to look at.
        }
    }

    /// A connection to it was established, under a name of the client's choice where it has one.
    pub fn succeeded(&self, held: &Held, asked: Option<&ServerName<'_>>) {
        if self.passive.is_some() {
            held.state().succeeded(Instant::now());
            if let Some(name) = asked {
                held.state().served(name);
            }
        }
    }

    /// A connection to it failed, by the origin's fault.
    pub fn failed(&self, origin: &Origin, held: &Held) {
        let Some(policy) = &self.passive else {
            return;
        };
        let (now, state) = (Instant::now(), held.state());
        let may_eject = || self.may_eject(state, policy, now);
        if let Some(time) = state.failed(policy, now, may_eject) {
            self.tell(origin, state, Change::Ejected(time));
            self.ledger.queue.serve();
        }
    }

    /// Whether one more may be ejected: somebody must be left, and not too many be away.
    fn may_eject(&self, state: &OriginState, policy: &PassivePolicy, now: Instant) -> bool {
        let turn = self.turn();
        let away = turn.members.iter().filter(|m| m.is_ejected(now)).count() + 1;
        let share = u64::from(policy.max_ejected) * turn.members.len() as u64;
        let others = turn.members.iter().filter(|m| m.state.id() != state.id());
        let left = others.filter(|m| m.is_able() && !m.is_ejected(now)).count();
        left > 0 && away as u64 * 100 <= share
    }

    /// A check of a member has ended.
    pub fn checked(&self, member: &Member, verdict: Verdict, threshold: Threshold) {
        let why = match &verdict {
            Verdict::Unwell(why) | Verdict::Unwilling(why) => Arc::clone(why),
            Verdict::Well | Verdict::Willing => "".into(),
        };
        let change = match member.state.checked(verdict, threshold, Instant::now()) {
            Some(true) => Change::Up,
            Some(false) => Change::Down { why },
            None => return,
        };
        self.tell(&member.origin, &member.state, change);
        self.ledger.queue.serve();
    }

    /// Nothing checks the origins any more.
    pub fn unchecked(&self) {
        for member in self.members() {
            member.state.unchecked();
        }
        self.ledger.queue.serve();
    }

    /// Whether this is still one of the origins.
    pub fn has(&self, member: &Member) -> bool {
        let id = member.state.id();
        self.turn().members.iter().any(|m| m.state.id() == id)
    }

    /// The origins at their addresses, as far as they are known.
    pub fn members(&self) -> Vec<Member> {
        self.turn().members.clone()
    }

    /// Tells when the members have changed, or an answer of the resolver has come.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The upstream's name.
    pub fn upstream(&self) -> &Arc<str> {
        &self.ledger.upstream
    }

    /// An operator's order for those called `which`, by name or address; how many there are.
    pub(super) fn order(&self, which: &str, order: impl Fn(&Member)) -> usize {
        let members = self.members();
        let meant = |m: &&Member| &*m.origin.name == which || m.address.to_string() == which;
        let count = members
            .iter()
            .filter(meant)
            .map(|member| {
                order(member);
                self.ledger.ordered(&member.state);
            })
            .count();
        // Some may be usable now, or none at all.
        self.ledger.queue.serve();
        count
    }

    pub(super) fn tell(&self, origin: &Origin, state: &OriginState, change: Change) {
        self.ledger.tell(&origin.name, state.address(), change);
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the random numbers of a group begin: several proxies must not draw the same.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanoseconds = now.map_or(0, |now| u64::from(now.subsec_nanos()));
    nanoseconds << 32 | u64::from(std::process::id())
}
