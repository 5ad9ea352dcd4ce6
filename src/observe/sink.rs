//! The destination of log lines: a thread with a bounded queue, so that a full disk or a stopped terminal
//! never blocks a connection. Lines that do not fit are dropped, counted and reported.

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

/// Capacity of the queue, in lines.
const QUEUE: usize = 16 * 1024;

/// The shortest interval between two reports of lost lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// How long the process waits for the queue to be written before it ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause between two attempts to flush a full queue when the process ends.
const FLUSH_RETRY_PAUSE: Duration = Duration::from_millis(2);

/// A destination for log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// No output.
    None,
    /// A file to append to.
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

enum LogMessage {
    Line(String),
    /// Wakes the thread to check its flags; carries no line.
    Wake,
    Flush(SyncSender<()>),
}

/// A handle to a writer thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: Option<SyncSender<LogMessage>>,
    shared: Arc<SinkShared>,
}

#[derive(Debug, Default)]
struct SinkShared {
    /// Lines lost since the last report.
    lost: AtomicU64,
    /// Lines that were never written, since the start.
    dropped: AtomicU64,
    reopen: AtomicBool,
}

impl Sink {
    /// Opens the output and starts its thread.
    pub fn open(output: &Output) -> io::Result<Self> {
        let shared = Arc::<SinkShared>::default();
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

    /// Whether there is an output.
    pub const fn is_open(&self) -> bool {
        self.queue.is_some()
    }

    /// Queues a line, which ends in a newline. Never waits.
    pub fn line(&self, line: String) {
        if let Some(queue) = &self.queue
            && queue.try_send(LogMessage::Line(line)).is_err()
        {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of lines that were never written because the output was too slow or failed.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Opens the file again under its name, after a log rotation. Never waits.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Release);
        if let Some(queue) = &self.queue {
            // If the queue is full, the thread is awake anyway.
            let _ = queue.try_send(LogMessage::Wake);
        }
    }

    /// Waits, within bounds, until the queue is written.
    pub fn flush(&self) {
        let Some(queue) = &self.queue else {
            return;
        };
        let end = Instant::now() + FLUSH_TIMEOUT;
        let (flushed, done) = sync_channel(1);
        let mut message = LogMessage::Flush(flushed);
        while let Err(TrySendError::Full(back)) = queue.try_send(message) {
            if Instant::now() >= end {
                return;
            }
            message = back;
            thread::sleep(FLUSH_RETRY_PAUSE);
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
            // Keep the old file if the new one cannot be opened, so that no line is lost.
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

/// The writer thread: writes lines from the queue and flushes whenever the queue is empty.
fn write(messages: &Receiver<LogMessage>, destination: Destination, shared: &SinkShared) {
    let mut out = BufWriter::with_capacity(64 * 1024, destination);
    let mut report = LossReport::new();
    loop {
        let message = match messages.recv_timeout(Duration::ZERO) {
            Ok(message) => Ok(message),
            Err(RecvTimeoutError::Timeout) => {
                report.note(out.flush(), 0);
                report.write(&shared.lost);
                if report.is_due(&shared.lost) {
                    // Losses are still unreported, and there may never be another line to wake this thread.
                    match messages.recv_timeout(REPORT_INTERVAL) {
                        Err(RecvTimeoutError::Timeout) => continue,
                        message => message,
                    }
                } else {
                    messages.recv().map_err(|_| RecvTimeoutError::Disconnected)
                }
            }
            Err(error) => Err(error),
        };
        // Reports also under a load that never empties the queue.
        report.write(&shared.lost);
        if shared.reopen.swap(false, Ordering::AcqRel) {
            report.note(out.flush(), 0);
            report.note(out.get_mut().reopen(), 0);
        }
        match message {
            Ok(LogMessage::Line(line)) => {
                let written = out.write_all(line.as_bytes());
                if written.is_err() {
                    shared.dropped.fetch_add(1, Ordering::Relaxed);
                }
                report.note(written, 1);
            }
            Ok(LogMessage::Wake) => {}
            Ok(LogMessage::Flush(done)) => {
                report.note(out.flush(), 0);
                let _ = done.send(());
            }
            Err(_) => return,
        }
    }
}

/// Reports output errors and lost lines on standard error, at a limited rate.
struct LossReport {
    last: Option<Instant>,
    failed: u64,
    error: Option<io::Error>,
}

impl LossReport {
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

    /// Whether there is anything to report.
    fn is_due(&self, lost: &AtomicU64) -> bool {
        lost.load(Ordering::Relaxed) > 0 || self.error.is_some()
    }

    fn write(&mut self, lost: &AtomicU64) {
        let dropped = lost.load(Ordering::Relaxed);
        if !self.is_due(lost) || self.last.is_some_and(|at| at.elapsed() < REPORT_INTERVAL) {
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
