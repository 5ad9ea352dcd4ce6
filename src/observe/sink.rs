//! The destination of log lines: a thread with a bounded queue, so that a full disk or a stopped terminal
//! never blocks a connection. Lines that do not fit are dropped, counted and reported.
//!
//! The output is opened before the thread starts: a process that gives up rights opens its logs before, and
//! has one thread until then. Until then, the thread that logs writes the line itself.

mod output;
mod writer;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use self::output::Destination;
pub use self::output::Output;
use self::writer::write;
use super::queue::LogQueue;
use crate::sync::Mutex;

/// How long the process waits for the queue to be written before it ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// A handle to a writer thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sink(Option<Arc<Handles>>);

/// What all handles of a thread share: it ends with the last of them.
#[derive(Debug)]
struct Handles {
    queue: Arc<LogQueue<String>>,
    /// The output, until the thread has it.
    unstarted: Mutex<Option<Destination>>,
    is_started: AtomicBool,
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.queue.order(|pending| pending.is_closed = true);
    }
}

impl Sink {
    /// Opens the output. Once its thread has started, the first line is written at once, and those that come
    /// within `pause` after it together.
    pub fn open(output: &Output, pause: Duration) -> io::Result<Self> {
        if *output == Output::None {
            return Ok(Self(None));
        }
        let destination = Destination::open(output)?;
        let queue = Arc::new(LogQueue::new(pause));
        Ok(Self(Some(Arc::new(Handles {
            queue,
            unstarted: Mutex::new(Some(destination)),
            is_started: AtomicBool::new(false),
        }))))
    }

    /// Starts the thread that writes the lines, unless it runs.
    pub fn start(&self) -> io::Result<()> {
        let Some(handles) = &self.0 else {
            return Ok(());
        };
        let Some(destination) = handles.unstarted.lock().take() else {
            return Ok(());
        };
        let queue = Arc::clone(&handles.queue);
        let thread = thread::Builder::new().name("log".to_owned());
        thread.spawn(move || write(&queue, destination))?;
        handles.is_started.store(true, Ordering::Release);
        Ok(())
    }

    /// Gives a file that was made for this log to a user, who can then open it again. Does nothing once the
    /// thread has started.
    pub fn give_to(&self, uid: u32) -> io::Result<()> {
        match &self.0 {
            Some(handles) => match &*handles.unstarted.lock() {
                Some(destination) => destination.give_to(uid),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    fn queue(&self) -> Option<&LogQueue<String>> {
        self.0.as_ref().map(|handles| &*handles.queue)
    }

    /// Whether there is an output.
    pub const fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Queues a line, which ends in a newline. Never waits for the output.
    pub fn line(&self, line: String) {
        let Some(handles) = &self.0 else { return };
        if !handles.is_started.load(Ordering::Acquire)
            && let Some(destination) = &mut *handles.unstarted.lock()
        {
            let _ = destination.write_all(line.as_bytes());
            return;
        }
        handles.queue.push(line);
    }

    /// The number of lines that were never written because the output was too slow or failed.
    pub fn dropped(&self) -> u64 {
        let dropped = |queue: &LogQueue<String>| queue.dropped.load(Ordering::Relaxed);
        self.queue().map_or(0, dropped)
    }

    /// Opens the file again under its name, after a log rotation. Never waits for the output.
    pub fn reopen(&self) {
        if let Some(queue) = self.queue() {
            queue.order(|pending| pending.reopen = true);
        }
    }

    /// Waits, within bounds, until the queue is written.
    pub fn flush(&self) {
        let Some(queue) = self.queue() else {
            return;
        };
        // Until the thread has started, nothing is queued.
        if self
            .0
            .as_ref()
            .is_some_and(|handles| handles.unstarted.lock().is_some())
        {
            return;
        }
        let (flushed, done) = sync_channel(1);
        queue.order(|pending| pending.flushes.push(flushed));
        let _ = done.recv_timeout(FLUSH_TIMEOUT);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat};

    use super::*;

    const PAUSE: Duration = Duration::from_millis(10);

    fn lines(count: usize) -> String {
        (0..count).map(|n| format!("{n}\n")).collect()
    }

    #[test]
    fn lines_of_a_busy_log_are_all_written_in_their_order() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let sink = Sink::open(&Output::File(path.clone()), PAUSE).unwrap();
        sink.start().unwrap();
        let read = || fs::read_to_string(&path).unwrap();
        // More than the thread takes at a time, fewer than the queue holds.
        for line in lines(5000).split_inclusive('\n') {
            sink.line(line.to_owned());
        }
        sink.flush();
        assert_eq!(read(), lines(5000), "after a flush");
        sink.line("last\n".to_owned());
        sink.reopen();
        sink.flush();
        assert_eq!(read(), lines(5000) + "last\n");
        assert_eq!(sink.dropped(), 0);
    }

    #[test]
    fn lines_beyond_the_queue_of_a_blocked_output_are_counted_and_the_rest_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &path, FileType::Fifo, mode, 0).unwrap();
        let nonblock = OFlags::NONBLOCK.bits().cast_signed();
        let mut options = fs::OpenOptions::new();
        let reader = options.read(true).custom_flags(nonblock).open(&path);
        let mut reader = reader.unwrap();
        let sink = Sink::open(&Output::File(path), PAUSE).unwrap();
        sink.start().unwrap();
        // One line fills the pipe and the buffer, so the thread waits with it.
        let first = "x".repeat(1 << 20) + "\n";
        sink.line(first.clone());
        poll(&mut [PollFd::new(&reader, PollFlags::IN)], None).unwrap();
        for line in lines(20_000).split_inclusive('\n') {
            sink.line(line.to_owned());
        }
        assert_eq!(sink.dropped(), 20_000 - 16_384);
        // From now on it waits for the writer.
        fcntl_setfl(&reader, OFlags::empty()).unwrap();
        let written = thread::spawn(move || {
            let mut written = String::new();
            reader.read_to_string(&mut written).unwrap();
            written
        });
        drop(sink);
        assert_eq!(written.join().unwrap(), first + &lines(16_384));
    }
}
