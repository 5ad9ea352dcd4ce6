//! The few system calls that have no safe wrapper. The only file where `unsafe` is allowed.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::ioctl::{Getter, Opcode, ioctl};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `SIOCOUTQ` of `linux/sockios.h`, the same number on every architecture that we build for.
const SIOCOUTQ: Opcode = 0x5411;

/// How many bytes of a TCP socket's send queue its peer has not acknowledged and still may.
pub(crate) fn undelivered(socket: BorrowedFd<'_>) -> usize {
    match unacknowledged(socket) {
        // After a reset the queue stays as it was.
        bytes if bytes > 0 && tcp_state(socket) != TCP_CLOSE => bytes,
        _ => 0,
    }
}

/// How many bytes written to a TCP socket its peer has not acknowledged, even if it has reset the connection
/// and never will.
pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> usize {
    // SAFETY: SIOCOUTQ writes one C int through the pointer it is given, which is what `Getter`
    // provides, and touches nothing else.
    let queued: rustix::io::Result<i32> = unsafe { ioctl(socket, Getter::<SIOCOUTQ, i32>::new()) };
    let queued = queued.ok().and_then(|bytes| usize::try_from(bytes).ok());
    queued.unwrap_or(0)
}

/// Whether the peer of a TCP socket has ended its stream or reset the connection; bytes that it sent before
/// may still be in the receive queue.
pub(crate) fn peer_has_ended(socket: BorrowedFd<'_>) -> bool {
    const OPEN: [u8; 3] = [TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2];
    !OPEN.contains(&tcp_state(socket))
}

const TCP_ESTABLISHED: u8 = 1;
const TCP_FIN_WAIT1: u8 = 4;
const TCP_FIN_WAIT2: u8 = 5;
const TCP_CLOSE: u8 = 7;

/// The state of a TCP connection, numbered as in `net/tcp_states.h`; closed if the kernel does not say.
fn tcp_state(socket: BorrowedFd<'_>) -> u8 {
    // `tcpi_state` is the first byte of `struct tcp_info`, and the kernel writes no more than asked.
    let mut state = 0_u8;
    let mut len: libc::socklen_t = 1;
    // SAFETY: both pointers are to live values of ours, and `len` is the size of the first.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            std::ptr::from_mut(&mut state).cast(),
            &mut len,
        )
    };
    if result == 0 { state } else { TCP_CLOSE }
}

/// Lets a listening socket accept data with the SYN (RFC 7413), for up to `queue` connections at once.
pub(crate) fn set_fast_open(socket: BorrowedFd<'_>, queue: libc::c_int) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of_val(&queue)).map_err(io::Error::other)?;
    // SAFETY: TCP_FASTOPEN reads one C int, which lives on our stack for the call, of that length.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_FASTOPEN,
            std::ptr::from_ref(&queue).cast(),
            len,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Takes a listening TCP socket out of the kernel's search for new connections: a SYN goes to another socket
/// that listens at its address, or is refused. Connections whose SYN it has received are still completed
/// and queued.
///
/// The socket is bound to a network device that does not exist, so no later SYN matches it, while its
/// connections keep the device of their SYN. Fails on Linux before 5.7, which requires CAP_NET_RAW.
pub(crate) fn stop_receiving_connections(socket: BorrowedFd<'_>) -> io::Result<()> {
    let no_device = libc::c_int::MAX;
    let len = libc::socklen_t::try_from(size_of_val(&no_device)).map_err(io::Error::other)?;
    // SAFETY: the option reads one C int, which lives on our stack for the call, of that length.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BINDTOIFINDEX,
            std::ptr::from_ref(&no_device).cast(),
            len,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Lets the kernel tune a socket's buffer sizes again after they were set (`SO_BUF_LOCK`, since Linux 5.14).
/// Older kernels keep the sizes, which is not an error.
pub(crate) fn let_kernel_tune_buffers(socket: BorrowedFd<'_>) -> io::Result<()> {
    let none: libc::c_int = 0;
    let len = libc::socklen_t::try_from(size_of_val(&none)).map_err(io::Error::other)?;
    // SAFETY: the option reads one C int, which lives on our stack for the call, of that length.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BUF_LOCK,
            std::ptr::from_ref(&none).cast(),
            len,
        )
    };
    match result {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
            error => Err(error),
        },
    }
}

/// The buffers of a socket whose size was set, as bits of `SO_BUF_LOCK`; 0 for none.
#[cfg(test)]
pub(crate) fn fixed_buffers(socket: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    let mut fixed: libc::c_int = 0;
    let mut len = libc::socklen_t::try_from(size_of_val(&fixed)).map_err(io::Error::other)?;
    // SAFETY: both pointers are to live values of ours, and `len` is the size of the first.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_BUF_LOCK,
            std::ptr::from_mut(&mut fixed).cast(),
            &mut len,
        )
    };
    match result {
        0 => Ok(fixed),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Delays the choice of the local port of a bound socket to the connect (`IP_BIND_ADDRESS_NO_PORT`):
/// sockets can then share a local port as long as their peers differ.
pub(crate) fn bind_without_port(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of_val(&on)).map_err(io::Error::other)?;
    // SAFETY: the option reads one C int, which lives on our stack for the call, of that length.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            std::ptr::from_ref(&on).cast(),
            len,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Registers a read-only descriptor (a listening socket, inotify) with this thread's runtime.
pub(crate) fn watch(listener: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, is the same descriptor all its life, and is closed only by
    // the `AsyncFd` that owns it from here on.
    let watched = unsafe { AsyncFd::register_with_interest(listener, Interest::READABLE) };
    watched.map_err(|e| e.into_parts().1)
}

/// Takes ownership of a descriptor that the process inherited (systemd's socket activation).
pub(crate) fn inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the borrowed descriptor lives for one `fcntl`, which fails when it is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: it is open (checked above). The code that reads LISTEN_FDS takes each descriptor once, at the
    // start; nothing else in the process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(borrowed.as_raw_fd()) })
}

/// Whether signals are blocked or delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// They stay pending.
    Blocked,
    /// They are delivered, pending ones at once.
    Open,
}

/// Blocks or unblocks `signals` for this thread and the threads that it starts later.
pub(crate) fn deliver(signals: &[libc::c_int], delivery: Delivery) -> io::Result<()> {
    let how = match delivery {
        Delivery::Blocked => libc::SIG_BLOCK,
        Delivery::Open => libc::SIG_UNBLOCK,
    };
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set that it is given, `sigaddset` changes one that is, and
    // `pthread_sigmask` reads it and, with no place for the old mask, writes nothing.
    let error = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut())
    };
    match error {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}
