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
    end: End,
    records: u32,
    bytes: usize,
}

/// When a turn ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Never,
    /// The turn has processed one record at most, which is all that most turns do: they read no clock.
    NotSet,
    At(Instant),
}

impl Budget {
    /// The budget of one direction in one turn.
    pub const fn of_turn() -> Self {
        Self {
            end: End::NotSet,
            records: RECORDS,
            bytes: usize::MAX,
        }
    }

    /// No bound except the size of the input.
    pub const fn unbounded() -> Self {
        Self {
            end: End::Never,
            records: u32::MAX,
            bytes: usize::MAX,
        }
    }

    /// Sets how many bytes the next read may take.
    pub const fn allow(&mut self, bytes: usize) {
        self.bytes = bytes;
    }

    /// How many bytes the next read may take.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is a bound.
    pub(super) const fn is_bounded(&self) -> bool {
        !matches!(self.end, End::Never)
    }

    /// Counts a record; returns whether the turn is over.
    pub(super) fn spend_record(&mut self) -> bool {
        self.records = self.records.saturating_sub(1);
        if self.records < RECORDS - 1 {
            self.set_end();
        }
        self.records == 0 || (self.records.is_multiple_of(RECORDS_PER_CLOCK_READ) && self.is_late())
    }

    /// Counts input without data in it; returns whether the turn is over.
    pub(super) fn spend_window(&mut self) -> bool {
        self.set_end();
        self.is_spent()
    }

    fn set_end(&mut self) {
        if let End::NotSet = self.end {
            self.end = End::At(Instant::now() + TIME);
        }
    }

    /// Whether the turn is over.
    pub fn is_spent(&self) -> bool {
        self.records == 0 || self.is_late()
    }

    fn is_late(&self) -> bool {
        matches!(self.end, End::At(end) if Instant::now() >= end)
    }
}
