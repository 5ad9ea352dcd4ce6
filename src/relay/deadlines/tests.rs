//! Deadlines of a relay.

use super::super::limits::OnTruncation;
use super::*;

/// What happens at a second of the fake clock.
enum Event {
    Progress,
    /// A direction ends.
    End,
    Command(Command),
}
use Event::{End, Progress};

/// The clock of these tests: it starts at some moment and advances when a test says so.
#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn at(self, second: u64) -> Instant {
        self.0 + Duration::from_secs(second)
    }

    fn limits(self, idle: u64, half_close: u64, lifetime: u64) -> Limits {
        let limit = |seconds: u64| (seconds > 0).then(|| Duration::from_secs(seconds));
        Limits {
            idle: limit(idle),
            half_close: limit(half_close),
            lifetime: (lifetime > 0).then(|| self.at(lifetime)),
            client_truncation: OnTruncation::Reset,
            origin_truncation: OnTruncation::Reset,
        }
    }

    fn drain(self, idle_after: u64, from: u64, until: Option<u64>) -> Event {
        Event::Command(Command::Drain {
            idle_after: Duration::from_secs(idle_after),
            from: self.at(from),
            until: until.map(|until| self.at(until)),
        })
    }

    fn end(self, at: u64) -> Event {
        let at = self.at(at);
        let reason = Reason::Killed;
        Event::Command(Command::End { reason, at })
    }

    /// Plays the events, then checks that `limit` is reached at `second` and not just before.
    #[track_caller]
    fn reaches(self, limits: Limits, events: Vec<(u64, Event)>, second: u64, limit: RelayLimit) {
        let mut deadlines = Deadlines::new(limits, self.at(0));
        for (at, event) in events {
            let now = self.at(at);
            assert_eq!(deadlines.expired(now), None, "at {at} s");
            match event {
                Progress => deadlines.progress(now),
                End if deadlines.is_ending() => {}
                End => deadlines.first_end(now),
                Event::Command(command) => deadlines.set_command(Some(command)),
            }
        }
        let deadline = self.at(second);
        assert_eq!(deadlines.next_check(self.at(0), DELIVERED), deadline);
        assert_eq!(deadlines.expired(deadline - Duration::from_nanos(1)), None);
        assert_eq!(deadlines.expired(deadline), Some(limit));
    }
}

/// The kernel has delivered everything.
const DELIVERED: Look = Look {
    undelivered: Some(0),
    is_stalled: false,
};

#[test]
fn the_sockets_are_looked_at_soon_after_the_last_progress_and_in_the_middle_of_half_close() {
    let clock = Clock(Instant::now());
    let deadlines = Deadlines::new(clock.limits(16, 6, 0), clock.at(0));
    let check = |second, undelivered, is_stalled| {
        let look = Look {
            undelivered,
            is_stalled,
        };
        deadlines.next_check(clock.at(second), look)
    };
    assert_eq!(check(0, None, false), clock.at(2), "the first look");
    assert_eq!(check(2, Some(0), false), clock.at(16));
    assert_eq!(check(10, Some(5), false), clock.at(12), "part by part");
    assert_eq!(check(15, Some(5), false), clock.at(16));
    assert_eq!(check(2, Some(0), true), clock.at(5));
    let mut ended = deadlines;
    ended.unread_end();
    assert_eq!(ended.expired(clock.at(6)), Some(RelayLimit::HalfClose));
    let deadlines = Deadlines::new(clock.limits(0, 0, 9), clock.at(0));
    let look = Look {
        undelivered: None,
        is_stalled: false,
    };
    assert_eq!(deadlines.next_check(clock.at(0), look), clock.at(9));
}

const DRAINED: RelayLimit = RelayLimit::Commanded(Reason::Drain);
const CLOSED: RelayLimit = RelayLimit::Commanded(Reason::Killed);

#[test]
#[rustfmt::skip]
fn every_limit_is_reached_to_the_nanosecond_and_the_earliest_counts() {
    let c = Clock(Instant::now());
    for (limits, events, second, limit) in [
        (c.limits(10, 0, 0), vec![], 10, RelayLimit::Idle),
        (c.limits(10, 0, 0), vec![(9, Progress)], 19, RelayLimit::Idle),
        (c.limits(10, 0, 15), vec![(9, Progress)], 15, RelayLimit::Lifetime),
        (c.limits(0, 0, 7), vec![(6, Progress)], 7, RelayLimit::Lifetime),
        // `half_close` begins with the first end, and progress renews it.
        (c.limits(10, 3, 0), vec![], 10, RelayLimit::Idle),
        (c.limits(10, 3, 0), vec![(4, End)], 7, RelayLimit::HalfClose),
        (c.limits(10, 3, 0), vec![(4, End), (6, Progress)], 9, RelayLimit::HalfClose),
        (c.limits(10, 3, 0), vec![(4, End), (6, End)], 7, RelayLimit::HalfClose),
        (c.limits(2, 3, 0), vec![(1, End)], 3, RelayLimit::Idle),
        // A drain ends what is idle, not before `from`, and everything at `until`.
        (c.limits(0, 0, 0), vec![(5, c.drain(2, 5, None))], 5, RelayLimit::Drain),
        (c.limits(0, 0, 0), vec![(4, Progress), (5, c.drain(2, 5, None))], 6, RelayLimit::Drain),
        (c.limits(0, 0, 0), vec![(5, c.drain(2, 8, None))], 8, RelayLimit::Drain),
        (c.limits(0, 0, 0), vec![
            (5, c.drain(2, 6, Some(9))), (5, Progress), (6, Progress), (7, Progress), (8, Progress),
        ], 9, DRAINED),
        (c.limits(3, 0, 0), vec![(2, c.drain(2, 8, None))], 3, RelayLimit::Idle),
        // A command to end takes effect despite progress.
        (c.limits(10, 3, 20), vec![(1, c.end(4)), (3, Progress)], 4, CLOSED),
    ] {
        c.reaches(limits, events, second, limit);
    }
}

#[test]
fn without_a_limit_nothing_expires() {
    let clock = Clock(Instant::now());
    let mut deadlines = Deadlines::new(clock.limits(0, 0, 0), clock.at(0));
    deadlines.first_end(clock.at(1));
    assert!(deadlines.is_ending());
    let year = clock.at(365 * 24 * 3600);
    assert_eq!(deadlines.expired(year), None);
    assert_eq!(deadlines.next_check(year, DELIVERED), year + NEVER);
}

#[test]
fn a_command_that_is_withdrawn_sets_no_deadline() {
    let clock = Clock(Instant::now());
    let mut deadlines = Deadlines::new(clock.limits(10, 0, 0), clock.at(0));
    let (reason, at) = (Reason::Drain, clock.at(1));
    deadlines.set_command(Some(Command::End { reason, at }));
    assert_eq!(deadlines.expired(at), Some(DRAINED));
    deadlines.set_command(None);
    assert_eq!(deadlines.expired(at), None);
    assert_eq!(deadlines.next_check(at, DELIVERED), clock.at(10));
}

#[test]
fn a_limit_beyond_the_clock_is_no_limit() {
    let clock = Clock(Instant::now());
    let limits = Limits {
        idle: Some(Duration::MAX),
        ..clock.limits(0, 0, 0)
    };
    let deadlines = Deadlines::new(limits, clock.at(0));
    assert_eq!(deadlines.expired(clock.at(1000)), None);
}
