//! Measures a process by the kernel's accounting, and provides a scratch directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

/// A directory that is removed at the end.
pub(crate) struct Scratch(TempDir);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(TempDir::with_prefix("reseal-bench-").expect("a scratch directory"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The path of the plot, which outlives the directory.
    pub(crate) fn plot(&self) -> PathBuf {
        std::env::var_os("PLOT").map_or_else(
            || std::env::temp_dir().join("reseal-bench.svg"),
            PathBuf::from,
        )
    }
}

/// A process and its descendants: some proxies have several processes.
fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten();
        for task in tasks {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    found
}

/// The kernel counts in hundredths of a second for every process.
const TICKS: f64 = 100.0;

/// User and system time of a process and its children, in seconds.
pub(crate) fn cpu(pid: u32) -> f64 {
    let ticks = |pid: u32| -> u64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        fields
            .split_whitespace()
            .skip(11)
            .take(4)
            .filter_map(|n| n.parse::<u64>().ok())
            .sum()
    };
    family(pid).into_iter().map(ticks).sum::<u64>() as f64 / TICKS
}

/// User and system time of the children of this process that have ended, in seconds.
pub(crate) fn cpu_of_ended_children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(13).take(2);
    ticks.filter_map(|n| n.parse::<u64>().ok()).sum::<u64>() as f64 / TICKS
}

/// Waits until a process has done what follows a start or a reload.
pub(crate) fn settle(pid: u32) {
    let mut before = cpu(pid);
    for _ in 0..120 {
        std::thread::sleep(Duration::from_millis(500));
        let now = cpu(pid);
        if now - before < 0.015 {
            return;
        }
        before = now;
    }
}

/// Proportional set size of a process and its children, in KiB.
pub(crate) fn memory(pid: u32) -> f64 {
    let pss = |pid: u32| -> u64 {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        rollup
            .lines()
            .filter_map(|line| line.strip_prefix("Pss:"))
            .filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .sum()
    };
    family(pid).into_iter().map(pss).sum::<u64>() as f64
}

/// Keeps this process off the first core until it is dropped.
pub(crate) struct Cores(usize);

impl Cores {
    pub(crate) fn apart() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        if cores > 1 {
            pin(&format!("1-{}", cores - 1));
        }
        Self(cores)
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        pin(&format!("0-{}", self.0 - 1));
    }
}

/// All threads of this process run on these cores, and those that they start.
fn pin(cores: &str) {
    let pid = std::process::id().to_string();
    let mut taskset = std::process::Command::new("taskset");
    taskset.args(["-a", "-c", "-p", cores, &pid]);
    let done = taskset.stdout(std::process::Stdio::null()).status();
    assert!(done.is_ok_and(|status| status.success()), "taskset");
}
