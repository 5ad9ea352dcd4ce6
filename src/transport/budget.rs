//! How much one connection may do before the others of its worker have their turn.

use std::time::{Duration, Instant};

/// How long one direction may be busy in a turn. The waits of the others are a few of these, in which
/// a sealed stream in bulk moves half a megabyte.
const TIME: Duration = Duration::from_micros(250);

/// How many records one direction may open in a turn: as many as two reads hold of full ones, many times
/// over, but few of those with a single byte.
const RECORDS: u32 = 512;

/// The clock is asked once in so many records.
const RECORDS_PER_LOOK: u32 = 16;

/// What is left of a turn.
#[derive(Debug)]
pub struct Budget {
    end: Option<Instant>,
    records: u32,
}

impl Budget {
    /// That of one direction in one turn.
    pub fn of_turn() -> Self {
        Self {
            end: Some(Instant::now() + TIME),
            records: RECORDS,
        }
    }

    /// No bound but the size of the input.
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

    /// Counts a record. Whether the turn is over.
    pub(super) fn spend_record(&mut self) -> bool {
        self.records = self.records.saturating_sub(1);
        self.records == 0 || (self.records.is_multiple_of(RECORDS_PER_LOOK) && self.is_late())
    }

    /// Whether the turn is over.
    pub fn is_spent(&self) -> bool {
        self.records == 0 || self.is_late()
    }

    fn is_late(&self) -> bool {
        self.end.is_some_and(|end| Instant::now() >= end)
    }
}
