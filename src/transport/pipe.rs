//! Pipes for splice(2), which moves bytes between two sockets without copying them to us and back.
//!
//! A worker keeps a few pipes and lends them to connections while bytes are in flight; an idle
//! connection holds none. A pipe that still holds bytes when it is given back is closed: it must
//! never show one connection's bytes to another.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// How many bytes a pipe may hold. An unprivileged user's pipes may have 64 MiB in all (pipe(7)),
/// beyond which the kernel makes them one page small.
const CAPACITY: usize = 256 * 1024;

/// How many pipes a worker may have, two descriptors each. Connections that find none go on copying.
pub const PIPES_PER_WORKER: usize = 32;

/// A pipe that a connection has for a while.
#[derive(Debug)]
pub struct Pipe {
    ends: Option<Ends>,
    held: usize,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Ends>,
    made: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

impl Pipe {
    /// A pipe of this worker, empty; `None` when it has no more, or the system makes none.
    pub fn borrow() -> Option<Self> {
        POOL.with_borrow_mut(|pool| {
            let ends = match pool.idle.pop() {
                Some(ends) => ends,
                None if pool.made < PIPES_PER_WORKER => {
                    let ends = Ends::make().ok()?;
                    pool.made += 1;
                    ends
                }
                None => return None,
            };
            Some(Self {
                ends: Some(ends),
                held: 0,
            })
        })
    }

    /// How many bytes are in it.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Moves bytes into it from a socket, by `splice`, which is told the end to write to and how
    /// much there is room for. Only to be called while it is empty: when it is full the kernel says
    /// the same as when the socket has nothing.
    pub fn fill(
        &mut self,
        splice: impl FnOnce(BorrowedFd<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(ends) = &self.ends else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let moved = splice(ends.write.as_fd(), ends.capacity)?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves bytes out of it, by `splice`, which is told the end to read from and how much there is.
    pub fn drain(
        &mut self,
        splice: impl FnOnce(BorrowedFd<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(ends) = &self.ends else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let moved = splice(ends.read.as_fd(), self.held)?;
        self.held = self.held.saturating_sub(moved);
        Ok(moved)
    }

    /// Takes what is in it back as bytes.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut bytes = vec![0; self.held];
        let mut read = 0;
        while read < bytes.len() {
            let rest = &mut bytes[read..];
            match self.drain(|end, _| Ok(rustix::io::read(end, rest)?)) {
                Ok(n) if n > 0 => read += n,
                _ => break,
            }
        }
        bytes.truncate(read);
        bytes
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let Some(ends) = self.ends.take() else {
            return;
        };
        // At the end of a thread the pool may be gone before its last connections.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if self.held == 0 {
                pool.idle.push(ends);
            } else {
                pool.made -= 1;
            }
        });
    }
}

impl Ends {
    fn make() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // A smaller pipe is slower, not wrong.
        let capacity = fcntl_setpipe_size(&write, CAPACITY).unwrap_or(64 * 1024);
        Ok(Self {
            read,
            write,
            capacity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(pipe: &mut Pipe, bytes: &[u8]) {
        pipe.fill(|end, _| Ok(rustix::io::write(end, bytes)?))
            .unwrap();
    }

    #[test]
    fn a_pipe_with_bytes_left_in_it_is_never_lent_again() {
        let mut pipe = Pipe::borrow().unwrap();
        put(&mut pipe, b"one connection's secret");
        assert_eq!(pipe.held(), 23);
        drop(pipe);
        let pipe = Pipe::borrow().unwrap();
        let end = pipe.ends.as_ref().unwrap();
        assert!(
            rustix::io::read(&end.read, &mut [0; 64]).is_err(),
            "the pipe must be empty"
        );
    }

    #[test]
    fn pipes_are_bounded_and_used_again() {
        let lent: Vec<_> = (0..PIPES_PER_WORKER)
            .map(|_| Pipe::borrow().unwrap())
            .collect();
        assert!(Pipe::borrow().is_none());
        drop(lent);
        assert!(Pipe::borrow().is_some());
        POOL.with_borrow(|pool| assert_eq!(pool.made, PIPES_PER_WORKER));
    }

    #[test]
    fn what_is_in_a_pipe_can_be_taken_back() {
        let mut pipe = Pipe::borrow().unwrap();
        put(&mut pipe, b"abc");
        put(&mut pipe, b"def");
        assert_eq!(pipe.into_bytes(), b"abcdef");
    }
}
