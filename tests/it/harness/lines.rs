//! The output of a process, line by line, with waits.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// The lines of a pipe.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    closed: bool,
}

impl Lines {
    /// Reads `pipe` to its end on a thread of its own.
    pub fn of(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
        }));
        let shared = Arc::clone(&lines.0);
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n') {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                shared.state.lock().unwrap().lines.push(line);
                shared.changed.notify_all();
            }
            shared.state.lock().unwrap().closed = true;
            shared.changed.notify_all();
        });
        lines
    }

    /// Waits until `find` returns a value, or the pipe is closed. `find` may remove lines.
    pub fn wait<T>(
        &self,
        time: Duration,
        mut find: impl FnMut(&mut Vec<String>) -> Option<T>,
    ) -> Option<T> {
        let end = Instant::now() + time;
        let mut state = self.0.state.lock().unwrap();
        loop {
            if let Some(found) = find(&mut state.lines) {
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.closed || left.is_zero() {
                return None;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// All lines so far that no test has removed.
    pub fn all(&self) -> Vec<String> {
        self.0.state.lock().unwrap().lines.clone()
    }

    /// All lines, once the pipe is closed.
    pub fn to_end(&self, time: Duration) -> Vec<String> {
        let end = Instant::now() + time;
        let mut state = self.0.state.lock().unwrap();
        while !state.closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap().0;
        }
        state.lines.clone()
    }
}
