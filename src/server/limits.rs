//! What the machine lets the process have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

use crate::leg::PIPES_PER_WORKER;

/// Descriptors that are neither connections nor pipes: logs, listening sockets, epoll, certificates.
const RESERVE: u64 = 128;

/// Each connection is two sockets.
const PER_CONNECTION: u64 = 2;

/// Raises the soft descriptor limit to the hard one, and says how many connections fit: the
/// configured number, clamped with a warning, or all that there is room for.
pub(super) fn connections(configured: Option<usize>, workers: usize) -> io::Result<usize> {
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
    let pipes = u64::try_from(2 * PIPES_PER_WORKER * workers).unwrap_or(u64::MAX);
    let reserve = RESERVE.saturating_add(pipes).min(descriptors / 4);
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
