//! The buffers of a worker thread, shared by all of its connections.
//!
//! A connection holds no buffer while it waits: it borrows these for one synchronous step and keeps
//! only what the step could not finish. That is what makes an idle connection small.

use std::cell::RefCell;

/// How much one read asks of a socket, in bytes: as much as a fast sender may have for us, since each
/// write wakes a peer, and little enough to stay in a core's second-level cache. It bounds what is kept
/// for a peer that does not read.
pub const READ_CHUNK: usize = 256 * 1024;

/// How much one read asks for, in bytes, outside of the relay: what it gives is processed whole, so it
/// bounds the turn.
pub const FLIGHT_CHUNK: usize = 16 * 1024;

/// Room in front of a read for what a TLS connection kept from the last one: at most one partial
/// record, or one handshake message that is split over records.
pub(super) const RETAINED_MAX: usize = 96 * 1024;

/// Bytes on their way out, in memory that is initialised once and used again.
#[derive(Debug, Default)]
pub struct OutBuf {
    bytes: Vec<u8>,
    len: usize,
}

impl OutBuf {
    /// An empty buffer with room for `capacity` bytes; it grows when more is asked of it.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            len: 0,
        }
    }

    /// What has been put in.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether nothing has been put in.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets what was put in; the memory stays.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// All the free room, at least `required` bytes.
    pub(super) fn room(&mut self, required: usize) -> &mut [u8] {
        if self.bytes.len() < self.len + required {
            self.bytes.resize(self.len + required, 0);
        }
        &mut self.bytes[self.len..]
    }

    /// Counts `written` bytes of the room as filled.
    pub(super) const fn advance(&mut self, written: usize) {
        self.len += written;
    }
}

/// The two buffers of a step.
#[derive(Debug)]
pub struct Scratch {
    /// What is read from a socket.
    pub input: Box<[u8]>,
    /// What is to be written to one; empty at the start of a step.
    pub output: OutBuf,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        input: vec![0; READ_CHUNK + RETAINED_MAX].into_boxed_slice(),
        output: OutBuf::with_capacity(READ_CHUNK + 4096),
    });
}

/// Lends the worker's buffers to one synchronous step. `step` must not call this again.
pub fn with_scratch<R>(step: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with(|scratch| {
        let scratch = &mut *scratch.borrow_mut();
        scratch.output.clear();
        step(scratch)
    })
}
