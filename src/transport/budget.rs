//! How much work one direction may do per turn, so that the connections of a worker share it fairly.

use std::time::{Duration, Instant};

/// How long a direction may run per turn. A bulk TLS stream moves half a megabyte in a few of these, which
/// is how long the other connections wait.
const TIME: Duration = Duration::from_micros(250);

/// How many records a direction may decrypt per turn: many times the full-sized records of two reads, but
/// only a few of the records that carry a single byte.
const RECORDS: u32 = 512;

/// The clock is read once per this many records.
const RECORDS_PER_CLOCK_READ: u32 = 16;

/// The rest of a turn.
#[derive(Debug)]
pub struct Budget {
    end: Option<Instant>,
    records: u32,
}

impl Budget {
    /// The budget of one direction in one turn.
    pub fn of_turn() -> Self {
        Self {
            end: Some(Instant::now() + TIME),
            records: RECORDS,
        }
    }

    /// No bound except the size of the input.
    pub const fn unbounded() -> Self {
        Self {
            end: None,
            records: u32::MAX,
        }
    }

    /// Whether there is a bound.
    pub(super) const fn is_bounded(&self) -> bool {
        self.end.is_some()
    }

    /// Counts a record; returns whether the turn is over.
    pub(super) fn spend_record(&mut self) -> bool {
        self.records = self.records.saturating_sub(1);
        self.records == 0 || (self.records.is_multiple_of(RECORDS_PER_CLOCK_READ) && self.is_late())
    }

    /// Whether the turn is over.
    pub fn is_spent(&self) -> bool {
        self.records == 0 || self.is_late()
    }

    fn is_late(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }
}
