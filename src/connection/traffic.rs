//! How many bytes of a connection were counted so far.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::access_log::Traffic;
use crate::relay::ConnHandle;

/// The bytes of a connection that were counted so far.
#[derive(Debug, Default)]
pub struct CountedTraffic {
    up: AtomicU64,
    down: AtomicU64,
}

impl CountedTraffic {
    /// Advances to `now`, and returns the bytes in between. Calls may overlap: a byte is new to one of them
    /// only, and a late one with older numbers changes nothing.
    pub(super) fn advance(&self, now: Traffic) -> Traffic {
        let new = |counted: &AtomicU64, now: u64| {
            now.saturating_sub(counted.fetch_max(now, Ordering::Relaxed))
        };
        Traffic {
            up: new(&self.up, now.up),
            down: new(&self.down, now.down),
        }
    }
}

/// What a relay has moved so far.
pub(super) fn traffic(handle: &ConnHandle) -> Traffic {
    let (up, down) = handle.traffic();
    Traffic { up, down }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_counted_once_by_overlapping_readers() {
        let counted = CountedTraffic::default();
        let at = |up, down| Traffic { up, down };
        assert_eq!(counted.advance(at(3, 0)), at(3, 0));
        assert_eq!(counted.advance(at(10, 7)), at(7, 7));
        // One that had read its numbers before.
        assert_eq!(counted.advance(at(5, 7)), at(0, 0));
        assert_eq!(counted.advance(at(11, 8)), at(1, 1));
    }
}
