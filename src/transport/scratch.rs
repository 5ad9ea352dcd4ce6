//! The buffers of a worker thread, shared by all of its connections.
//!
//! A connection holds no buffer while it waits: it borrows these for one synchronous step and keeps only
//! the bytes that the step could not finish. This keeps idle connections small.

use std::cell::RefCell;

/// How many bytes one read asks for: large, because each write to a peer wakes it, but small enough for a
/// core's second-level cache. It also bounds the bytes kept for a peer that does not read.
pub const READ_CHUNK: usize = 256 * 1024;

/// How many bytes one read asks for outside of the relay. These are processed in one turn, so the size
/// bounds the turn.
pub const FLIGHT_CHUNK: usize = 16 * 1024;

/// Room in front of a read for the bytes that a TLS connection retained from the last one: at most one
/// partial record, or one handshake message split over records.
pub(super) const RETAINED_MAX: usize = 96 * 1024;

/// An output buffer whose memory is initialised once and reused.
#[derive(Debug, Default)]
pub struct OutBuf {
    bytes: Vec<u8>,
    len: usize,
}

impl OutBuf {
    /// An empty buffer with room for `capacity` bytes; it grows on demand.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity],
            len: 0,
        }
    }

    /// The bytes written so far.
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether it holds no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Discards the bytes and keeps the memory.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Appends `bytes`.
    pub fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// The free room, grown to at least `required` bytes.
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

/// The two buffers of a worker.
#[derive(Debug)]
pub struct Scratch {
    /// Bytes read from a socket.
    pub input: Box<[u8]>,
    /// Bytes to write to one; empty at the start of a step.
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
