//! Which origins are to have no connections any more, whoever has made them and when.

use std::sync::Arc;

use super::group::Group;
use super::member::Member;
use super::state::Order;
use super::{Address, OnGone};

/// An origin at one address whose connections may have to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// The origin's name; of an address that is gone, nobody knows any more.
    pub origin: Option<Arc<str>>,
    /// Where it is.
    pub address: Address,
    /// Why.
    pub why: Why,
}

/// Why connections to an origin may have to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Checks have found it down.
    Down,
    /// An operator has disabled it.
    Disabled,
    /// Its address left the answers of the resolver, and connections to it are to be drained then.
    Gone,
}

impl Group {
    /// The origins to part from, as of now. Connections that are being made are not stopped by it, so
    /// whoever ends them has to ask again.
    pub fn partings(&self) -> Vec<Parting> {
        let members = self.members();
        let mut partings: Vec<_> = members.iter().filter_map(parting).collect();
        if self.on_gone == OnGone::Drain {
            let gone = self.ledger.states().into_iter();
            partings.extend(gone.filter(|state| state.is_gone()).map(|state| Parting {
                origin: None,
                address: state.address().clone(),
                why: Why::Gone,
            }));
        }
        partings
    }
}

fn parting(member: &Member) -> Option<Parting> {
    let why = match member.state.order() {
        Order::Disable => Why::Disabled,
        Order::Enable | Order::Drain if member.state.is_down() => Why::Down,
        Order::Enable | Order::Drain => return None,
    };
    Some(Parting {
        origin: Some(Arc::clone(&member.origin.name)),
        address: member.address.clone(),
        why,
    })
}
