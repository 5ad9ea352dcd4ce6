//! What the machine lets the process have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors that are not connections: logs, listening sockets, epoll, pipes, certificates.
const RESERVE: u64 = 256;

/// Each connection is two sockets.
const PER_CONNECTION: u64 = 2;

/// Raises the soft descriptor limit to the hard one, and says how many connections fit: the
/// configured number, clamped with a warning, or all that there is room for.
pub(super) fn connections(configured: Option<usize>) -> io::Result<usize> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    // Without a limit the kernel's own (nr_open, a million by default) still holds.
    let descriptors = limit.maximum.unwrap_or(1 << 20);
    let reserve = RESERVE.min(descriptors / 4);
    let room = usize::try_from((descriptors - reserve) / PER_CONNECTION).unwrap_or(usize::MAX);
    let room = room.clamp(1, tokio::sync::Semaphore::MAX_PERMITS);
    match configured {
        Some(wanted) if wanted > room => {
            warn!(
                wanted,
                room,
                descriptors,
                "process.limits.connections is more than the descriptor limit allows and is clamped"
            );
            Ok(room)
        }
        Some(wanted) => Ok(wanted),
        None => Ok(room),
    }
}

/// The cores that this process may use; affinity and cgroup quota are counted by the standard library.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}
