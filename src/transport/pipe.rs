//! Pipes for splice(2), which moves bytes between two sockets without copying them to user space.
//!
//! A worker keeps a few pipes and lends them to connections while bytes are in flight; an idle
//! connection holds none. A pipe that is returned with bytes in it is closed, so that one connection never
//! gets the bytes of another.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

/// The capacity of a pipe in bytes. All pipes of an unprivileged user may have 64 MiB together (pipe(7));
/// beyond that the kernel gives each new one a single page.
const CAPACITY: usize = 256 * 1024;

/// How many pipes a worker may have, two descriptors each. A connection that gets none copies instead.
pub const PIPES_PER_WORKER: usize = 32;

/// A pipe that a connection has borrowed.
#[derive(Debug)]
pub struct Pipe {
    ends: Option<Ends>,
    buffered: usize,
}

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    capacity: usize,
}

#[derive(Default)]
struct PipePool {
    idle: Vec<Ends>,
    made: usize,
}

thread_local! {
    static POOL: RefCell<PipePool> = RefCell::default();
}

impl Pipe {
    /// Borrows an empty pipe of this worker; `None` when all are in use or the system cannot make one.
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
                buffered: 0,
            })
        })
    }

    /// How many bytes are in it.
    pub const fn buffered(&self) -> usize {
        self.buffered
    }

    /// Moves bytes from a socket into the pipe by `splice`, which gets the write end and the room in bytes.
    /// Call it only while the pipe is empty: for a full pipe the kernel returns the same error as for a
    /// socket without data.
    pub fn fill(
        &mut self,
        splice: impl FnOnce(BorrowedFd<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(ends) = &self.ends else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let moved = splice(ends.write.as_fd(), ends.capacity)?;
        self.buffered += moved;
        Ok(moved)
    }

    /// Moves bytes out of the pipe by `splice`, which gets the read end and the number of bytes in it.
    pub fn drain(
        &mut self,
        splice: impl FnOnce(BorrowedFd<'_>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let Some(ends) = &self.ends else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let moved = splice(ends.read.as_fd(), self.buffered)?;
        self.buffered = self.buffered.saturating_sub(moved);
        Ok(moved)
    }

    /// Reads the remaining bytes out of the pipe.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let mut bytes = vec![0; self.buffered];
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
        // When a thread ends, its pool may be dropped before its last connections.
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if self.buffered == 0 {
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
        // A smaller pipe is only slower.
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
        assert_eq!(pipe.buffered(), 23);
        drop(pipe);
        let pipe = Pipe::borrow().unwrap();
        let end = pipe.ends.as_ref().unwrap();
        assert!(
            rustix::io::read(&end.read, &mut [0; 64]).is_err(),
            "the pipe must be empty"
        );
    }

    #[test]
    fn pipes_are_bounded_and_reused() {
        let borrowed: Vec<_> = (0..PIPES_PER_WORKER)
            .map(|_| Pipe::borrow().unwrap())
            .collect();
        assert!(Pipe::borrow().is_none());
        drop(borrowed);
        assert!(Pipe::borrow().is_some());
        POOL.with_borrow(|pool| assert_eq!(pool.made, PIPES_PER_WORKER));
    }

    #[test]
    fn the_bytes_in_a_pipe_can_be_read_back() {
        let mut pipe = Pipe::borrow().unwrap();
        put(&mut pipe, b"abc");
        put(&mut pipe, b"def");
        assert_eq!(pipe.into_bytes(), b"abcdef");
    }
}
