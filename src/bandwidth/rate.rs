//! Rates in bytes per second, and the shares in which they are handed out. Pure.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

/// How much a bucket that nobody takes from gathers, as a part of a second: what a pause may make up for.
const BURSTS_PER_SECOND: u64 = 10;

/// How much a reservation takes at most, as a part of a second. Small for a route, because its connections
/// take turns; for one connection alone larger, because each reservation wakes it.
const ROUTE_SHARES_PER_SECOND: u64 = 400;
const CONNECTION_SHARES_PER_SECOND: u64 = 20;

/// The units, the largest first.
const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// Bytes per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRate(NonZeroU64);

/// The limits of one direction. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of all connections of the route together.
    pub route: Option<ByteRate>,
    /// Of each connection.
    pub connection: Option<ByteRate>,
}

impl Rates {
    /// Whether there is a limit.
    pub const fn is_any(&self) -> bool {
        self.route.is_some() || self.connection.is_some()
    }
}

impl ByteRate {
    /// This many bytes per second; `None` for zero.
    pub fn new(bytes: u64) -> Option<Self> {
        NonZeroU64::new(bytes).map(Self)
    }

    /// Bytes per second.
    pub const fn bytes(self) -> u64 {
        self.0.get()
    }

    /// What may move at once after a pause: a tenth of a second's worth.
    pub(super) fn burst(self) -> u64 {
        (self.bytes() / BURSTS_PER_SECOND).max(1)
    }

    /// The most that one reservation of a route takes.
    pub(super) fn route_share(self) -> u64 {
        (self.bytes() / ROUTE_SHARES_PER_SECOND).max(1)
    }

    /// The most that one reservation of a connection takes.
    pub(super) fn connection_share(self) -> u64 {
        (self.bytes() / CONNECTION_SHARES_PER_SECOND).max(1)
    }

    /// How many bytes this is in a time, rounded down.
    pub(super) fn in_time(self, time: Duration) -> u64 {
        let bytes = time.as_nanos() * u128::from(self.bytes()) / Duration::from_secs(1).as_nanos();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// How long so many bytes take, rounded up.
    pub(super) fn time_for(self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * Duration::from_secs(1).as_nanos();
        let nanos = nanos.div_ceil(u128::from(self.bytes()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes();
        let unit = UNITS.iter().find(|(_, size)| bytes.is_multiple_of(*size));
        let (unit, size) = unit.unwrap_or(&("B", 1));
        write!(f, "{}{unit}/s", bytes / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_printed_in_its_largest_unit() {
        for (bytes, text) in [
            (1, "1B/s"),
            (1500, "1500B/s"),
            (10 << 20, "10MiB/s"),
            (1 << 30, "1GiB/s"),
            (3 << 9, "1536B/s"),
        ] {
            assert_eq!(ByteRate::new(bytes).unwrap().to_string(), text);
        }
        assert_eq!(ByteRate::new(0), None);
    }
}
