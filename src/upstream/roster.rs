//! Who is at work: the origins of every upstream of the process, their live state carried over from
//! one configuration to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::following::Source;
use super::group::Group;
use super::ledger::{Ledger, OriginEvent};
use super::names::{Names, Question};
use super::state::{CheckNote, Order};
use super::{Address, Origins};

/// The origins of the process.
#[derive(Debug)]
pub struct Roster {
    control: Handle,
    names: Names,
    events: mpsc::UnboundedSender<OriginEvent>,
    upstreams: Mutex<HashMap<Arc<str>, Entry>>,
}

#[derive(Debug)]
struct Entry {
    ledger: Arc<Ledger>,
    group: Arc<Group>,
    /// The tasks that follow the group's names.
    followers: Vec<AbortHandle>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        for follower in &self.followers {
            follower.abort();
        }
    }
}

/// What is known of one origin at one address.
#[derive(Clone, Debug)]
pub struct OriginStatus {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// The origin's name.
    pub origin: Arc<str>,
    /// Where it is; of a name that has no address, that name.
    pub address: Address,
    /// Why its name has no address, where that is so.
    pub unresolved: Option<Arc<str>>,
    /// Whether it is a backup.
    pub backup: bool,
    /// Whether checks find it up; it is until the first result.
    pub is_up: bool,
    /// How long it is still ejected.
    pub ejected_for: Option<Duration>,
    /// What an operator has ordered.
    pub order: Order,
    /// Its weight.
    pub weight: u64,
    /// Its live connections, those being established included.
    pub live: usize,
    /// The most that it may have.
    pub connections: Option<usize>,
    /// Its last check.
    pub last_check: Option<CheckNote>,
}

impl Roster {
    /// An empty roster, whose tasks run on `control`, and the news of it.
    pub fn new(control: Handle) -> (Self, mpsc::UnboundedReceiver<OriginEvent>) {
        let (events, news) = mpsc::unbounded_channel();
        let roster = Self {
            names: Names::new(control.clone()),
            control,
            events,
            upstreams: Mutex::default(),
        };
        (roster, news)
    }

    /// Takes the origins of a configuration in. It has to be called before connections get that
    /// configuration; it cannot fail, and waits for nothing. What is alive of an upstream of the same
    /// name, and of an origin at the same address, is carried over.
    pub fn apply<'a>(&self, origins: impl Iterator<Item = &'a Origins>) {
        let mut upstreams = self.upstreams();
        let mut old = std::mem::take(&mut *upstreams);
        for origins in origins {
            let before = old.get(&origins.name);
            let ledger = before.map_or_else(
                || Arc::new(Ledger::new(Arc::clone(&origins.name), self.events.clone())),
                |before| Arc::clone(&before.ledger),
            );
            let sources = origins.members.iter().map(|origin| Source {
                origin: Arc::clone(origin),
                name: question(&origin.address).map(|question| self.names.name(&question)),
            });
            let sources = sources.collect();
            let new = || Arc::new(Group::new(origins, Arc::clone(&ledger), sources));
            let group = Arc::clone(origins.group.get_or_init(new));
            group.refresh();
            if let Some(before) = before {
                before.group.retire(&group);
            }
            let followers = self.follow(&group);
            let entry = Entry {
                ledger,
                group,
                followers,
            };
            // The old one stays until all are in: names that both use are not asked for anew.
            upstreams.insert(Arc::clone(&origins.name), entry);
        }
        for (name, entry) in old.drain() {
            if !upstreams.contains_key(&name) {
                entry.group.retire_all();
            }
        }
    }

    /// Lets a group know what becomes of its names.
    fn follow(&self, group: &Arc<Group>) -> Vec<AbortHandle> {
        let follow = |mut changes: tokio::sync::watch::Receiver<_>| {
            let group = Arc::downgrade(group);
            // What came since the group was made must not be missed.
            changes.mark_changed();
            let following = async move {
                while changes.changed().await.is_ok() {
                    match group.upgrade() {
                        Some(group) => group.refresh(),
                        None => return,
                    }
                }
            };
            self.control.spawn(following).abort_handle()
        };
        group.names().map(|name| follow(name.changes())).collect()
    }

    /// All origins at all their addresses.
    pub fn list(&self) -> Vec<OriginStatus> {
        let now = Instant::now();
        let upstreams = self.upstreams();
        let mut list = Vec::new();
        for entry in upstreams.values() {
            for member in entry.group.members() {
                let state = &member.state;
                list.push(OriginStatus {
                    upstream: Arc::clone(entry.group.upstream()),
                    origin: Arc::clone(&member.origin.name),
                    backup: member.origin.backup,
                    is_up: !state.is_down(),
                    ejected_for: state.ejected_for(now),
                    order: state.order(),
                    weight: member.weight(),
                    live: state.live(),
                    connections: member.origin.connections,
                    last_check: state.last_check(),
                    address: member.address.clone(),
                    unresolved: None,
                });
            }
            list.extend(entry.group.unresolved());
        }
        list.sort_by(|a, b| a.upstream.cmp(&b.upstream));
        list
    }

    /// Orders something for an upstream's origins of this name or address; for how many. It holds
    /// until their line of the configuration changes.
    pub fn order(&self, upstream: &str, origin: &str, order: Order) -> usize {
        self.with(upstream, |group| {
            group.order(origin, |m| m.state.set_order(order, &m.origin))
        })
    }

    /// Sets the weight of an upstream's origins of this name or address, or takes it back; for how
    /// many. It holds until their line of the configuration changes.
    pub fn set_weight(&self, upstream: &str, origin: &str, weight: Option<u32>) -> usize {
        self.with(upstream, |group| {
            group.order(origin, |m| m.state.set_weight(weight, &m.origin))
        })
    }

    fn with(&self, upstream: &str, act: impl FnOnce(&Group) -> usize) -> usize {
        let group = self
            .upstreams()
            .get(upstream)
            .map(|entry| Arc::clone(&entry.group));
        group.map_or(0, |group| act(&group))
    }

    fn upstreams(&self) -> MutexGuard<'_, HashMap<Arc<str>, Entry>> {
        self.upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn question(address: &Address) -> Option<Question> {
    match address {
        Address::Host(host, port) => Some(Question::Host(Arc::clone(host), *port)),
        Address::Srv(service) => Some(Question::Srv(Arc::clone(service))),
        Address::Ip(_) | Address::Unix(_) => None,
    }
}
