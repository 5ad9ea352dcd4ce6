//! From the origins of the file to members: what their names stand for at the moment, and the news of
//! who joined and who is gone.

use std::sync::Arc;
use std::time::Instant;

use super::group::{Group, Unpicked};
use super::ledger::Change;
use super::member::Member;
use super::names::{Known, Name};
use super::roster::OriginStatus;
use super::state::{Order, OriginState};
use super::{Address, Origin, balance};

/// An origin of the file, and its name where it has to be resolved.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) origin: Arc<Origin>,
    pub(super) name: Option<Arc<Name>>,
}

/// How the names of the sources stood when the members were last made of them.
#[derive(Debug, Default)]
pub(super) struct NameStanding {
    /// Whether one of them had no answer yet.
    pub(super) pending: bool,
    /// What kept each source from being resolved.
    pub(super) trouble: Vec<Option<Arc<str>>>,
}

impl NameStanding {
    /// Why there is nobody to choose.
    pub(super) fn nobody(&self, members: &[Member]) -> Unpicked {
        match self.trouble.iter().flatten().next() {
            _ if self.pending => Unpicked::Unresolved,
            Some(why) if members.is_empty() => Unpicked::Unresolvable(Arc::clone(why)),
            _ => Unpicked::NoOrigin,
        }
    }
}

impl Source {
    /// Where the origin is, with the priority and weight of each address.
    fn addresses(&self, known: Option<&Known>) -> Vec<(Address, u16, u32)> {
        match known {
            None => vec![(self.origin.address.clone(), 0, 1)],
            Some(known) => {
                let found = known.found.iter();
                found
                    .map(|f| (Address::Ip(f.address), f.priority, u32::from(f.weight)))
                    .collect()
            }
        }
    }
}

impl Group {
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<Name>> {
        self.sources
            .iter()
            .filter_map(|source| source.name.as_ref())
    }

    /// The origins whose names have no address yet, or none any more.
    pub(super) fn unresolved(&self) -> Vec<OriginStatus> {
        let of = |source: &Source| {
            let known = source.name.as_ref()?.known();
            let why = match &known {
                None => "the resolver has not answered yet".into(),
                Some(known) if known.found.is_empty() => {
                    let why = || "the name has no address".into();
                    known.trouble.clone().unwrap_or_else(why)
                }
                Some(_) => return None,
            };
            let origin = &source.origin;
            Some(OriginStatus {
                upstream: Arc::clone(self.upstream()),
                origin: Arc::clone(&origin.name),
                address: origin.address.clone(),
                unresolved: Some(why),
                backup: origin.backup,
                is_up: false,
                ejected_for: None,
                order: Order::Enable,
                weight: origin.weight.into(),
                live: 0,
                connections: origin.connections,
                last_check: None,
            })
        };
        self.sources.iter().filter_map(of).collect()
    }

    /// Takes in what the names stand for now.
    pub(super) fn refresh(&self) {
        let now = Instant::now();
        let (mut members, mut names) = (Vec::<Member>::new(), NameStanding::default());
        for source in &self.sources {
            let known = source.name.as_ref().map(|name| {
                let known = name.known();
                names.pending |= known.is_none();
                known.unwrap_or_default()
            });
            for (address, priority, weight) in source.addresses(known.as_deref()) {
                if members.iter().any(|m| m.address == address) {
                    continue;
                }
                let (state, joins) = self.ledger.state(&address);
                if joins {
                    state.rise(now);
                    self.tell(&source.origin, &state, Change::Joined);
                }
                state.configured(&source.origin);
                state.set_gone(false);
                members.push(Member {
                    tier: u32::from(source.origin.backup) << 16 | u32::from(priority),
                    record_weight: weight,
                    identity: balance::hash(address.to_string().as_bytes()),
                    origin: Arc::clone(&source.origin),
                    address,
                    state,
                });
            }
            names
                .trouble
                .push(known.and_then(|known| known.trouble.clone()));
        }
        if !members.is_empty() {
            self.ledger.begin_work();
        }
        let old = self.replace(members, names);
        for (origin, state) in old {
            state.set_gone(true);
            self.tell(&origin, &state, Change::Gone);
        }
        self.changed.send_replace(());
        self.ledger.queue.serve();
    }

    /// Puts the new members in place of the old ones; those that are gone.
    fn replace(
        &self,
        members: Vec<Member>,
        names: NameStanding,
    ) -> Vec<(Arc<Origin>, Arc<OriginState>)> {
        let mut turn = self.turn();
        let is_left = |m: &Member| members.iter().any(|new| new.address == m.address);
        let gone = turn.members.iter().filter(|m| !is_left(m));
        let gone = gone.map(|m| (Arc::clone(&m.origin), Arc::clone(&m.state)));
        let gone = gone.collect();
        let owed = |new: &Member| {
            let old = turn.members.iter().position(|m| m.address == new.address);
            old.and_then(|index| turn.credits.get(index).copied())
        };
        let credits = members.iter().map(|new| owed(new).unwrap_or(0)).collect();
        let old = std::mem::replace(&mut turn.names, names);
        let new_trouble: Vec<_> = std::iter::zip(&self.sources, &turn.names.trouble)
            .zip(&old.trouble)
            .filter(|((_, now), before)| now.is_some() && before.is_none())
            .filter_map(|((source, now), _)| Some((Arc::clone(&source.origin), now.clone()?)))
            .collect();
        turn.members = members;
        turn.credits = credits;
        drop(turn);
        for (origin, why) in new_trouble {
            self.ledger
                .tell(&origin.name, &origin.address, Change::Unresolved(why));
        }
        gone
    }

    /// It is not of the configuration any more; `now` are those that are.
    pub(super) fn retire(&self, now: &Self) {
        let now = now.members();
        for member in self.members() {
            if !now.iter().any(|m| m.address == member.address) {
                self.tell(&member.origin, &member.state, Change::Removed);
            }
        }
    }

    /// Its upstream is not of the configuration any more.
    pub(super) fn retire_all(&self) {
        for member in self.members() {
            self.tell(&member.origin, &member.state, Change::Removed);
        }
    }
}
