//! Traces: the steps of chosen connections, for one who watches them for a while.
//!
//! The steps are the events of the process log that carry the `id` of a connection, down to the least level,
//! whatever level is logged. While nobody watches, they cost what a level costs that is off.

mod request;
mod session;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::mpsc;

pub(super) use self::request::Step;
pub use self::request::{TraceFilter, TraceRequest};
use self::session::Session;
use super::access_log::{AccessRecord, Traffic};
use super::format::Format;
use crate::sync::Mutex;

/// How many lines may wait for a reader.
const QUEUE: usize = 4096;

/// The traces of the process.
#[derive(Debug, Default)]
pub struct Traces {
    is_active: AtomicBool,
    sessions: Mutex<Vec<Session>>,
}

impl Traces {
    /// How many there may be at a time.
    pub const MAX: usize = 4;

    /// Whether anybody watches.
    pub fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    /// Begins a trace. Its lines are in the form that was asked for, each with its end. It ends with the
    /// receiver, at the latest when its time is over. `None` if there are too many.
    pub fn begin(&self, request: TraceRequest) -> Option<mpsc::Receiver<String>> {
        let (lines, received) = mpsc::channel(QUEUE);
        let mut sessions = self.sessions.lock();
        sessions.retain(Session::is_watched);
        if sessions.len() >= Self::MAX {
            return None;
        }
        let mut session = Session::new(request, lines);
        session.begin();
        sessions.push(session);
        self.is_active.store(true, Ordering::Relaxed);
        drop(sessions);
        // Events that nobody wanted until now are made from here on.
        tracing::callsite::rebuild_interest_cache();
        Some(received)
    }

    /// Ends the traces whose time is over, or that nobody watches any more.
    pub fn expire(&self) {
        let now = Instant::now();
        let mut sessions = self.sessions.lock();
        sessions.retain_mut(|session| match session.ended(now) {
            Some(why) => {
                session.end(why);
                false
            }
            None => {
                session.beat(now);
                true
            }
        });
        if !sessions.is_empty() {
            return;
        }
        let was_active = self.is_active.swap(false, Ordering::Relaxed);
        drop(sessions);
        if was_active {
            tracing::callsite::rebuild_interest_cache();
        }
    }

    /// A step of a connection, and its line.
    pub(super) fn step(&self, step: &Step<'_>, line: impl Fn(Format) -> String) {
        for session in self.sessions.lock().iter_mut() {
            session.step(step, &line);
        }
    }

    /// What an established connection has moved by now. Call it about once a second for each of them, as long
    /// as anybody watches.
    pub fn moved(&self, record: &AccessRecord, moved: Traffic) {
        for session in self.sessions.lock().iter_mut() {
            session.moved(record, moved);
        }
    }
}
