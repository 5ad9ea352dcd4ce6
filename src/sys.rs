//! The few system calls that have no safe wrapper. The only file where `unsafe` is allowed.
#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

use std::ffi::{CStr, CString};
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
/// and never will; for a unix socket, the memory that its peer's unread bytes take (unix(7), `SIOCOUTQ`).
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

/// Whether a TCP connection is over in both directions: ended by both sides, reset, or timed out.
pub(crate) fn is_closed(socket: BorrowedFd<'_>) -> bool {
    tcp_state(socket) == TCP_CLOSE
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

/// A user of the system's databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserEntry {
    pub(crate) name: CString,
    pub(crate) uid: u32,
    /// The number of its own group.
    pub(crate) gid: u32,
}

/// The number of a user, from the system's databases (NSS); `None` if there is no such user. A directory
/// service may be queried over the network. musl's C library reads /etc/passwd, and queries nscd if that is
/// running.
pub(crate) fn user_id(name: &CStr) -> io::Result<Option<u32>> {
    Ok(user_by_name(name)?.map(|entry| entry.uid))
}

/// The user of this name, likewise.
pub(crate) fn user_by_name(name: &CStr) -> io::Result<Option<UserEntry>> {
    // SAFETY: the name ends with a NUL; the rest as `user` demands.
    user(|entry, buffer, len, found| unsafe {
        libc::getpwnam_r(name.as_ptr(), entry, buffer, len, found)
    })
}

/// The user of this number, likewise.
pub(crate) fn user_by_id(uid: u32) -> io::Result<Option<UserEntry>> {
    // SAFETY: as `user` demands.
    user(|entry, buffer, len, found| unsafe { libc::getpwuid_r(uid, entry, buffer, len, found) })
}

/// `find` looks a user up. It gets pointers to live values, and the length of the second one. It returns an
/// error number, and leaves the last one null or pointing to the first one, which is then initialised, with
/// texts in the second one.
fn user(
    find: impl Fn(
        *mut libc::passwd,
        *mut libc::c_char,
        libc::size_t,
        *mut *mut libc::passwd,
    ) -> libc::c_int,
) -> io::Result<Option<UserEntry>> {
    look_up(|buffer| {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = std::ptr::null_mut();
        let error = find(
            entry.as_mut_ptr(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            &mut found,
        );
        // SAFETY: `found` is null or points to `entry`, whose name points into `buffer` and ends with a NUL.
        let found = unsafe { found.as_ref() }.map(|entry| UserEntry {
            name: unsafe { CStr::from_ptr(entry.pw_name) }.to_owned(),
            uid: entry.pw_uid,
            gid: entry.pw_gid,
        });
        (error, found)
    })
}

/// The number of a group, likewise.
pub(crate) fn group_id(name: &CStr) -> io::Result<Option<u32>> {
    look_up(|buffer| {
        let mut entry = MaybeUninit::<libc::group>::uninit();
        let mut found = std::ptr::null_mut();
        // SAFETY: the name ends with a NUL, the other pointers are to live values of ours, and the length is
        // that of the buffer. `found` is null or points to `entry`, which is then initialised.
        unsafe {
            let error = libc::getgrnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                &mut found,
            );
            (error, found.as_ref().map(|entry| entry.gr_gid))
        }
    })
}

/// Retries with a larger buffer as long as the C library reports that it is too small: a group may have
/// thousands of users.
fn look_up<T>(
    mut call: impl FnMut(&mut [u8]) -> (libc::c_int, Option<T>),
) -> io::Result<Option<T>> {
    const LEN_MAX: usize = 1 << 22;
    let mut buffer = vec![0; 4096];
    loop {
        match call(&mut buffer) {
            (libc::ERANGE, _) if buffer.len() < LEN_MAX => {
                let len = buffer.len() * 4;
                buffer.resize(len, 0);
            }
            (libc::EINTR, _) => {}
            // What the manual names for "not found", besides success without an entry.
            (0, found) => return Ok(found),
            (libc::ENOENT | libc::ESRCH, _) => return Ok(None),
            (error, _) => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Makes all threads of this process run as this user, for good: with its groups, which are found by its
/// name, or with its own group alone. Root alone can.
pub(crate) fn become_user(name: Option<&CStr>, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: the name ends with a NUL, and `setgroups` reads one number. The others take numbers.
    unsafe {
        done(match name {
            Some(name) => libc::initgroups(name.as_ptr(), gid),
            None => libc::setgroups(1, &gid),
        })?;
        done(libc::setresgid(gid, gid, gid))?;
        done(libc::setresuid(uid, uid, uid))?;
        if uid != 0 && libc::setuid(0) == 0 {
            return Err(io::Error::other("root could be had back"));
        }
    }
    Ok(())
}

/// Calls `look` as this user, on a thread of its own that ends then. The process stays what it is: the kernel
/// has a user for each thread, and only the C library changes those of all. Root alone can.
pub(crate) fn as_user<T: Send>(
    name: Option<&CStr>,
    uid: u32,
    gid: u32,
    look: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    let groups = match name {
        Some(name) => groups_of(name, gid),
        None => vec![gid],
    };
    let look = || {
        // SAFETY: the first call reads that many numbers of a live list; the others take numbers.
        unsafe {
            done(libc::syscall(
                libc::SYS_setgroups,
                groups.len(),
                groups.as_ptr(),
            ))?;
            done(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
            done(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
        }
        Ok(look())
    };
    let looked = std::thread::scope(|scope| scope.spawn(look).join());
    looked.map_err(|_| io::Error::other("a defect of Reseal"))?
}

/// The groups of a user, `gid` among them.
fn groups_of(name: &CStr, gid: u32) -> Vec<u32> {
    let mut count = 64;
    loop {
        let mut groups = vec![0; usize::try_from(count).unwrap_or_default()];
        let before = count;
        // SAFETY: the name ends with a NUL, and `count` is the length of the list; the call sets it to the
        // number of groups.
        let found =
            unsafe { libc::getgrouplist(name.as_ptr(), gid, groups.as_mut_ptr(), &mut count) };
        groups.truncate(usize::try_from(count).unwrap_or_default());
        // A list that was too short is told by its new length.
        if found >= 0 || count <= before {
            return groups;
        }
    }
}

fn done(result: impl Into<libc::c_long>) -> io::Result<()> {
    match result.into() {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The newest ABI of Landlock that the kernel has. Fails if it has none, or if Landlock is off.
pub(crate) fn landlock_abi() -> io::Result<u32> {
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call reads nothing: the pointer has to be null and the length 0.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            VERSION,
        )
    };
    match u32::try_from(abi) {
        Ok(abi) if abi > 0 => Ok(abi),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel filters system calls (`seccomp(2)`), and can refuse one with an error.
pub(crate) fn has_seccomp_filters() -> bool {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the call reads the one number that the pointer is to.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_GET_ACTION_AVAIL,
            0,
            std::ptr::from_ref(&action),
        )
    };
    result == 0
}
