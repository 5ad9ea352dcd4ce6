//! Turns of handshakes. A step of a handshake takes as long as many turns of a relay, so a worker with very
//! many handshakes looks at its sockets after one or two steps, and serves what is ready. Relays then wait
//! for about one step, however many handshakes wait for theirs. Handshakes get as much time as all else
//! takes.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::Instant;

/// How long steps follow each other, at least, before the worker looks at its sockets: one or two of them.
/// The look costs some microseconds; one after each step makes a handshake under load cost a tenth more.
const SLICE_MIN: Duration = Duration::from_micros(200);

/// After a step that is older than this, the worker has looked at its sockets: it does so after a few tasks,
/// or has had nothing to do.
const RECENT: Duration = Duration::from_micros(200);

thread_local! {
    /// The turns of this worker, one at a time and in order.
    static QUEUE: Arc<Semaphore> = Arc::new(Semaphore::new(1));
    static SLICE: Cell<Slice> = const { Cell::new(Slice { end: None, last: None }) };
}

/// The turn of one handshake, over when it is dropped.
#[derive(Debug)]
pub(super) struct HandshakeTurn {
    _permit: Option<OwnedSemaphorePermit>,
}

impl HandshakeTurn {
    /// Waits for a turn to do one step on this worker. Cancelled, it leaves the queue.
    pub(super) async fn take() -> Self {
        // The semaphore is never closed.
        let permit = QUEUE.with(Arc::clone).acquire_owned().await.ok();
        let now = Instant::now();
        let slice = SLICE.get();
        if !slice.has_room(now) {
            let mut start = now;
            if slice.is_recent(now) {
                // The worker looks at its sockets, and serves what is ready.
                yield_now().await;
                start = Instant::now();
            }
            SLICE.set(SLICE.get().renewed(now, start));
        }
        Self { _permit: permit }
    }
}

impl Drop for HandshakeTurn {
    fn drop(&mut self) {
        let last = Some(Instant::now());
        SLICE.set(Slice {
            last,
            ..SLICE.get()
        });
    }
}

/// The time in which steps may follow each other. Pure.
#[derive(Clone, Copy, Debug)]
struct Slice {
    end: Option<Instant>,
    /// When the last step ended.
    last: Option<Instant>,
}

impl Slice {
    fn has_room(self, now: Instant) -> bool {
        self.end.is_some_and(|end| now < end)
    }

    fn is_recent(self, now: Instant) -> bool {
        self.last
            .is_some_and(|last| now.saturating_duration_since(last) < RECENT)
    }

    /// A new slice from `start`, as long as others have been served since `before`.
    fn renewed(self, before: Instant, start: Instant) -> Self {
        let others = start.saturating_duration_since(before);
        Self {
            end: start.checked_add(others.max(SLICE_MIN)),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_micros(150);

    /// How many steps follow each other without a look at the sockets, when others take this long at each.
    fn steps_in_a_row(others: Duration) -> [u32; 3] {
        let mut now = Instant::now();
        let mut slice = Slice {
            end: None,
            last: None,
        };
        let (mut row, mut rows) = (0, Vec::new());
        while rows.len() < 3 {
            if !slice.has_room(now) {
                let before = now;
                if slice.is_recent(now) {
                    rows.push(row);
                    row = 0;
                    now += others;
                }
                slice = slice.renewed(before, now);
            }
            now += STEP;
            slice.last = Some(now);
            row += 1;
        }
        [rows[0], rows[1], rows[2]]
    }

    #[test]
    fn what_is_ready_is_served_after_two_steps_of_waiting_handshakes() {
        assert_eq!(steps_in_a_row(Duration::ZERO), [2, 2, 2]);
    }

    #[test]
    fn handshakes_get_as_much_time_as_busy_relays_take() {
        assert_eq!(steps_in_a_row(10 * STEP), [2, 10, 10]);
    }

    #[test]
    fn a_handshake_of_an_idle_worker_does_not_wait() {
        let now = Instant::now();
        let slice = Slice {
            end: Some(now),
            last: Some(now),
        };
        assert!(slice.is_recent(now + STEP));
        assert!(!slice.is_recent(now + RECENT));
    }

    #[tokio::test]
    async fn a_handshake_that_ends_while_it_waits_keeps_no_turn() {
        let first = HandshakeTurn::take().await;
        let waiting = tokio::spawn(HandshakeTurn::take());
        yield_now().await;
        waiting.abort();
        drop(first);
        HandshakeTurn::take().await;
    }
}
