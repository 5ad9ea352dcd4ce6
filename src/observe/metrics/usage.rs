//! What the process uses of the machine, read when somebody looks.

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// The `process_*` metrics. What the kernel does not tell is absent.
#[derive(Debug)]
pub(super) struct ProcessUsage {
    /// CPU time of all threads, in seconds.
    pub(super) cpu: f64,
    /// Resident memory in bytes.
    pub(super) resident: Option<u64>,
    /// Virtual memory in bytes.
    pub(super) virtual_memory: Option<u64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<u64>,
    /// The most of them; absent without a limit.
    pub(super) max_fds: Option<u64>,
}

impl ProcessUsage {
    pub(super) fn read() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        let [virtual_memory, resident] = memory();
        Self {
            cpu: cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9,
            resident,
            virtual_memory,
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current,
        }
    }
}

/// The first two numbers of /proc/self/statm, in bytes: virtual and resident memory.
fn memory() -> [Option<u64>; 2] {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split_whitespace();
    let mut next = || {
        let pages: u64 = pages.next()?.parse().ok()?;
        pages.checked_mul(u64::try_from(rustix::param::page_size()).ok()?)
    };
    [next(), next()]
}

fn open_fds() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    // Since Linux 6.2 this is the number, at a cost that does not grow with it.
    let size = std::fs::metadata(DIRECTORY).ok()?.len();
    if size > 0 {
        return Some(size);
    }
    let count = std::fs::read_dir(DIRECTORY).ok()?.count();
    // Without the one that reads the directory.
    u64::try_from(count).ok()?.checked_sub(1)
}
