use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::*;
use crate::admission::by_source::SourceTable;
use crate::admission::rate::{Clock, Rate};
use crate::admission::source::SourcePrefix;

const PREFIX: SourcePrefix = SourcePrefix { v4: 32, v6: 64 };
const SECOND: u64 = 1_000_000_000;

fn v4(bits: u32) -> SourceKey {
    SourceKey::new(1, Ipv4Addr::from(bits).into(), PREFIX)
}

fn rate(count: u32) -> SourceLimits {
    SourceLimits {
        connections: None,
        new: Some(Rate::new(count, Duration::from_secs(1))),
    }
}

impl Shard {
    fn admits(&mut self, key: SourceKey, limits: SourceLimits, now: u64) -> bool {
        self.connect(key, limits, true, Nanos(now)) == SourceReached::default()
    }

    /// A connection that ends at once.
    fn visits(&mut self, key: SourceKey, limits: SourceLimits, now: u64) -> bool {
        let is_admitted = self.admits(key, limits, now);
        if is_admitted {
            self.leave(key, Kind::Connection, Nanos(now));
        }
        is_admitted
    }

    /// The entries of a list, checked in both directions.
    fn list(&self, list: List) -> Vec<SourceKey> {
        let ends = match list {
            List::Refused => self.refused,
            List::Fresh | List::Live => self.fresh,
        };
        let (mut at, mut before, mut keys) = (ends.first, NONE, Vec::new());
        while let Some(entry) = self.entry(at) {
            assert_eq!((entry.list, entry.before), (list, before));
            keys.push(entry.key);
            (before, at) = (at, entry.after);
        }
        assert_eq!((ends.last, ends.len), (before, keys.len()));
        keys
    }

    /// Checks what holds after each step.
    fn check(&self) {
        let (fresh, refused) = (self.list(List::Fresh), self.list(List::Refused));
        assert!(fresh.len() + refused.len() <= IDLE_MAX);
        let live = self.index.values().filter(|at| {
            let entry = self.entry(**at).unwrap();
            assert_eq!(self.index[&entry.key], **at);
            let is_live = entry.connections + entry.handshakes > 0;
            assert_eq!(is_live, entry.list == List::Live);
            is_live
        });
        assert_eq!(live.count() + fresh.len() + refused.len(), self.index.len());
        assert_eq!(self.index.len() + self.free.len(), self.entries.len());
    }
}

impl SourceTable {
    fn counts(&self, key: SourceKey) -> (u32, u32) {
        let state = self.state(key);
        (state.connections, state.handshakes)
    }
}

#[test]
fn a_source_is_a_prefix_of_its_address_within_a_scope() {
    let key = |scope, text: &str, prefix| SourceKey::new(scope, text.parse().unwrap(), prefix);
    let same = |a, b| key(1, a, PREFIX) == key(1, b, PREFIX);
    assert!(same("2001:db8::1", "2001:db8::ffff:1") && !same("2001:db8::1", "2001:db8:0:1::1"));
    assert!(same("192.0.2.1", "::ffff:192.0.2.1") && !same("192.0.2.1", "192.0.2.2"));
    assert!(!same("::", "0.0.0.0"));
    assert_ne!(key(1, "192.0.2.1", PREFIX), key(2, "192.0.2.1", PREFIX));
    let wide = SourcePrefix { v4: 24, v6: 48 };
    assert_eq!(key(1, "192.0.2.1", wide), key(1, "192.0.2.200", wide));
    assert_eq!(
        key(1, "2001:db8:0:1::1", wide),
        key(1, "2001:db8:0:2::1", wide)
    );
    let none = SourcePrefix { v4: 0, v6: 0 };
    assert_eq!(key(1, "192.0.2.1", none), key(1, "10.0.0.1", none));
    assert_ne!(key(1, "192.0.2.1", none), key(1, "2001:db8::1", none));
}

#[test]
fn a_permit_is_returned_on_drop_and_nothing_of_the_source_is_left() {
    let table = SourceTable::new(Clock::start());
    let limits = SourceLimits {
        connections: Some(2),
        new: None,
    };
    let connect = || table.connect(v4(1), limits, true).0;
    let first = connect();
    let second = connect();
    assert!(first.is_some() && second.is_some() && connect().is_none());
    assert_eq!(table.counts(v4(1)), (2, 0));
    drop(first);
    let third = connect();
    assert!(third.is_some() && connect().is_none());
    // Without enforcement all are counted, so that enforcing it later knows them.
    let (over, reached) = table.connect(v4(1), limits, false);
    assert!(over.is_some() && reached.connections && table.counts(v4(1)) == (3, 0));
    let handshake = table.handshake(v4(1), 1, true).0;
    assert!(handshake.is_some() && table.handshake(v4(1), 1, true).0.is_none());
    drop((second, third, over, handshake));
    assert_eq!((table.known(), table.counts(v4(1))), (0, (0, 0)));
}

/// The reason for the two lists: a flood of random sources, each of them once, while an attacker that is over
/// its rate waits for its place to be taken.
#[test]
fn a_flood_of_random_sources_does_not_make_the_table_forget_who_was_refused() {
    let mut shard = Shard::default();
    let limits = rate(5);
    let attacker = v4(0);
    let mut admitted = 0;
    for step in 0..200_000_u32 {
        let now = u64::from(step) * 1000;
        admitted += u32::from(shard.visits(attacker, limits, now));
        assert!(
            shard.visits(v4(step + 1), limits, now),
            "a source of its own"
        );
        assert!(shard.index.len() <= IDLE_MAX);
    }
    shard.check();
    // Five at once, and one more in its second at most: 200 ms have passed.
    assert!(admitted <= 6, "{admitted}");
    assert!(shard.list(List::Refused).contains(&attacker));
    // A live one stays, too, whatever comes.
    let held = v4(u32::MAX);
    let one = SourceLimits {
        connections: Some(1),
        new: None,
    };
    assert!(shard.admits(held, one, 0));
    for step in 0..20_000 {
        shard.visits(v4(1_000_000 + step), limits, SECOND / 5);
    }
    assert!(!shard.admits(held, one, 0));
}

#[test]
fn a_source_is_forgotten_once_its_bucket_is_full_again() {
    let mut shard = Shard::default();
    for source in 0..1000 {
        assert!(shard.visits(v4(source), rate(1), 0));
        assert!(!shard.visits(v4(source), rate(1), 0));
    }
    assert_eq!(shard.list(List::Refused).len(), 1000);
    for source in 1000..2000 {
        shard.visits(v4(source), rate(1), 2 * SECOND);
    }
    assert_eq!(shard.index.len(), 1000, "two go for each that comes");
    shard.forget_full(Nanos(4 * SECOND), IDLE_MAX);
    assert_eq!(shard.index.len(), 0);
    shard.check();
}

/// The shard against a plain map that forgets nothing, as long as there is room.
#[test]
fn the_table_agrees_with_a_plain_map_in_random_order() {
    #[derive(Default)]
    struct Plain {
        bucket: Bucket,
        connections: u32,
        handshakes: u32,
    }
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let (mut shard, mut plain) = (Shard::default(), BTreeMap::<u32, Plain>::new());
    let limits = SourceLimits {
        connections: Some(3),
        new: Some(Rate::new(4, Duration::from_secs(1))),
    };
    let mut now = 0;
    for _ in 0..100_000 {
        now += random(SECOND / 20);
        let (n, at) = (random(40) as u32, Nanos(now));
        let known = plain.entry(n).or_default();
        match random(6) {
            0..=2 => {
                let mut bucket = known.bucket;
                let has_new = limits.new.unwrap().take(&mut bucket, at);
                let expected = known.connections < 3 && has_new;
                assert_eq!(shard.admits(v4(n), limits, now), expected);
                if expected || !has_new {
                    known.bucket = bucket;
                }
                known.connections += u32::from(expected);
            }
            3 if known.connections > 0 => {
                known.connections -= 1;
                shard.leave(v4(n), Kind::Connection, at);
            }
            4 => {
                let expected = known.handshakes < 2;
                assert_eq!(!shard.handshake(v4(n), 2, true, at), expected);
                known.handshakes += u32::from(expected);
            }
            5 if known.handshakes > 0 => {
                known.handshakes -= 1;
                shard.leave(v4(n), Kind::Handshake, at);
            }
            _ => {}
        }
        shard.check();
    }
}

#[test]
fn random_sources_spread_over_the_shards_and_memory_stays_bounded() {
    let table = SourceTable::new(Clock::start());
    for n in 0..300_000_u128 {
        let address = Ipv6Addr::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_9e37_79b9_7f4a_7c15));
        let key = SourceKey::new(1, address.into(), PREFIX);
        let slow = SourceLimits {
            connections: None,
            new: Some(Rate::new(1, Duration::from_secs(60))),
        };
        drop(table.connect(key, slow, true));
    }
    assert!(table.known() <= 56_000);
    assert!(table.known() > 56_000 * 9 / 10, "{}", table.known());
}
