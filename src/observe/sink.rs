//! Where log lines go: a thread of its own with a bounded queue, so that a full disk or a stopped
//! terminal never holds up a connection. What does not fit is dropped, counted and told.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::log_file::append;

/// How many lines may wait to be written.
const QUEUE: usize = 16 * 1024;

/// How often lost lines are told of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(5);

/// How long the end of the process waits for what is queued.
const LAST_LINES: Duration = Duration::from_secs(2);

/// How long the end of the process waits before it looks at a full queue again.
const FULL_PAUSE: Duration = Duration::from_millis(2);

/// A place for log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Nowhere.
    None,
    /// A file, appended to.
    File(PathBuf),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Stderr => f.write_str("standard error"),
            Self::None => f.write_str("nothing"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

enum Message {
    Line(String),
    /// Nothing to write, but something to look at.
    Nudge,
    Flush(SyncSender<()>),
}

/// A handle to a writer thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: Option<SyncSender<Message>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Lines that did not fit, and were not told of yet.
    lost: AtomicU64,
    /// Lines that were never written, since the start.
    dropped: AtomicU64,
    reopen: AtomicBool,
}

impl Sink {
    /// Opens the output and starts its thread.
    pub fn open(output: &Output) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let queue = match output {
            Output::None => None,
            output => {
                let destination = Destination::open(output)?;
                let (queue, messages) = sync_channel(QUEUE);
                let shared = Arc::clone(&shared);
                thread::Builder::new()
                    .name("log".to_owned())
                    .spawn(move || write(&messages, destination, &shared))?;
                Some(queue)
            }
        };
        Ok(Self { queue, shared })
    }

    /// Whether lines go anywhere.
    pub const fn is_open(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues a line, which ends in a newline. Never waits.
    pub fn line(&self, line: String) {
        if let Some(queue) = &self.queue
            && queue.try_send(Message::Line(line)).is_err()
        {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were never written, because the output was too slow or failed.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Opens the file again under its name, after a log rotation. Never waits.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        if let Some(queue) = &self.queue {
            // With a full queue the thread has enough to wake up for.
            let _ = queue.try_send(Message::Nudge);
        }
    }

    /// Waits, within bounds, until what is queued has been written.
    pub fn flush(&self) {
        let Some(queue) = &self.queue else {
            return;
        };
        let end = Instant::now() + LAST_LINES;
        let (tell, done) = sync_channel(1);
        let mut message = Message::Flush(tell);
        while let Err(TrySendError::Full(back)) = queue.try_send(message) {
            if Instant::now() >= end {
                return;
            }
            message = back;
            thread::sleep(FULL_PAUSE);
        }
        let _ = done.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

enum Destination {
    Stdout,
    Stderr,
    File(PathBuf, File),
}

impl Destination {
    fn open(output: &Output) -> io::Result<Self> {
        Ok(match output {
            Output::Stdout | Output::None => Self::Stdout,
            Output::Stderr => Self::Stderr,
            Output::File(path) => Self::File(path.clone(), append(path)?),
        })
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Self::File(path, file) = self {
            // The old file is kept when the new one cannot be had: no line is lost for it.
            *file = append(path)?;
        }
        Ok(())
    }
}

impl Write for Destination {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().write(buf),
            Self::Stderr => io::stderr().write(buf),
            Self::File(_, file) => file.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().flush(),
            Self::Stderr => io::stderr().flush(),
            Self::File(_, file) => file.flush(),
        }
    }
}

/// The writer thread: writes what is queued, flushes whenever the queue is empty.
fn write(messages: &Receiver<Message>, destination: Destination, shared: &Shared) {
    let mut out = BufWriter::with_capacity(64 * 1024, destination);
    let mut complaints = Complaints::new();
    loop {
        let message = match messages.recv_timeout(Duration::ZERO) {
            Ok(message) => Ok(message),
            Err(RecvTimeoutError::Timeout) => {
                complaints.note(out.flush(), 0);
                complaints.tell(&shared.lost);
                if complaints.has_any(&shared.lost) {
                    // It was told of others just now; nobody may ever log again.
                    match messages.recv_timeout(COMPLAIN_EVERY) {
                        Err(RecvTimeoutError::Timeout) => continue,
                        message => message,
                    }
                } else {
                    messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
                }
            }
            Err(error) => Err(error),
        };
        // Also under a load that never lets the queue run empty.
        complaints.tell(&shared.lost);
        if shared.reopen.swap(false, Ordering::AcqRel) {
            complaints.note(out.flush(), 0);
            complaints.note(out.get_mut().reopen(), 0);
        }
        match message {
            Ok(Message::Line(line)) => {
                let written = out.write_all(line.as_bytes());
                if written.is_err() {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
                complaints.note(written, 1);
            }
            Ok(Message::Nudge) => {}
            Ok(Message::Flush(done)) => {
                complaints.note(out.flush(), 0);
                let _ = done.send(());
            }
            Err(_) => return,
        }
    }
}

/// Trouble with the output is told on standard error, and not too often.
struct Complaints {
    last: Option<Instant>,
    failed: u64,
    error: Option<io::Error>,
}

impl Complaints {
    const fn new() -> Self {
        Self {
            last: None,
            failed: 0,
            error: None,
        }
    }

    fn note(&mut self, result: io::Result<()>, lines: u64) {
        if let Err(error) = result {
            self.failed += lines;
            self.error = Some(error);
        }
    }

    /// Whether there is something to tell.
    fn has_any(&self, lost: &AtomicU64) -> bool {
        lost.load(Ordering::Relaxed) > 0 || self.error.is_some()
    }

    fn tell(&mut self, lost: &AtomicU64) {
        let dropped = lost.load(Ordering::Relaxed);
        if !self.has_any(lost) || self.last.is_some_and(|at| at.elapsed() < COMPLAIN_EVERY) {
            return;
        }
        self.last = Some(Instant::now());
        lost.fetch_sub(dropped, Ordering::Relaxed);
        let reason = match self.error.take() {
            Some(error) => error.to_string(),
            None => "the output is too slow".to_owned(),
        };
        let lines = dropped + std::mem::take(&mut self.failed);
        let what = match lines {
            0 => "the log cannot be written at the moment".to_owned(),
            lines => format!("log lines lost: {lines}"),
        };
        let _ = writeln!(io::stderr(), "reseal: {what}: {reason}");
    }
}
