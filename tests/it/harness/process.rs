//! Runs the binary to its end, and reads the resource usage of a running process.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::TIMEOUT;
use super::lines::Lines;

/// The exit code and output of a command.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Its whole output.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn must_exit_with(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.text());
        self
    }

    #[track_caller]
    pub fn must_print(&self, what: &str) -> &Self {
        assert!(
            self.text().contains(what),
            "does not say {what:?}:\n{}",
            self.text()
        );
        self
    }
}

/// Runs `reseal` with these arguments to its end.
pub fn reseal<A: AsRef<OsStr>>(arguments: &[A]) -> Finished {
    reseal_in(&std::env::temp_dir(), arguments)
}

/// Runs `reseal` in a directory.
pub fn reseal_in<A: AsRef<OsStr>>(directory: &Path, arguments: &[A]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
    command
        .args(arguments)
        .current_dir(directory)
        .env_remove("RESEAL_CONFIG");
    finish(command, b"")
}

/// Runs `reseal run` with this file under another program, such as `prlimit`, to its end.
pub fn finish_under(launcher: &[&str], config: &Path) -> Finished {
    let mut command = Command::new(launcher[0]);
    command
        .args(&launcher[1..])
        .args([env!("CARGO_BIN_EXE_reseal"), "run", "--config"])
        .arg(config);
    finish(command, b"")
}

/// Runs a command to its end with this standard input. On a timeout it is killed and the test fails.
#[track_caller]
pub fn finish(mut command: Command, input: &[u8]) -> Finished {
    let what = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{what}: {e}"));
    let stdout = Lines::of(child.stdout.take().unwrap());
    let stderr = Lines::of(child.stderr.take().unwrap());
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input has closed it.
        let _ = std::io::Write::write_all(&mut stdin, input);
    }
    let code = wait(&mut child, TIMEOUT);
    let _ = child.kill();
    let _ = child.wait();
    let finished = Finished {
        code: code.flatten(),
        stdout: stdout.to_end(TIMEOUT).join("\n"),
        stderr: stderr.to_end(TIMEOUT).join("\n"),
    };
    assert!(
        code.is_some(),
        "{what} did not end in {TIMEOUT:?}:\n{}",
        finished.text()
    );
    finished
}

/// Waits for a child's end. The outer option is absent when it did not end in time, the inner one
/// when a signal ended it.
pub fn wait(child: &mut Child, time: Duration) -> Option<Option<i32>> {
    let end = Instant::now() + time;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.code());
        }
        if Instant::now() >= end {
            return None;
        }
        // SIGCHLD is not for a library to catch, so it polls.
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// The resources that a process uses.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub descriptors: usize,
    /// Those of sockets: the log, its files and pipes, and what is open for a moment are left out.
    pub sockets: usize,
    /// The threads, without those that the control plane starts to read files: they end after a second.
    pub threads: usize,
    /// Resident memory in bytes.
    pub memory: usize,
    /// Time on a processor since its start.
    pub cpu: Duration,
}

impl Usage {
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| -> usize {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let open: Vec<_> = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().collect();
        let links = open
            .iter()
            .filter_map(|link| fs::read_link(link.as_ref().unwrap().path()).ok());
        Self {
            descriptors: open.len(),
            sockets: links
                .filter(|target| target.to_string_lossy().starts_with("socket:"))
                .count(),
            threads: threads(pid),
            memory: field("VmRSS:") * 1024,
            cpu: cpu(pid),
        }
    }
}

fn threads(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.trim_end() != "control").count()
}

fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name may hold anything, spaces included, but ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<_> = rest.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // Linux reports in units of USER_HZ, which is 100 on every architecture that Reseal runs on.
    Duration::from_millis(ticks * 10)
}
