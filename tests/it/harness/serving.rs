//! Commands that serve without a configuration file.

use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Lines, ListenAddr, TIMEOUT};

/// A serving command, killed on drop.
pub struct Serving {
    child: Child,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Serving {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
        command.args(arguments);
        Self::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The address that it reports.
    #[track_caller]
    pub fn listen_addr(&self) -> ListenAddr {
        let address = self.stderr.wait(TIMEOUT, |lines| {
            let line = lines.iter().find(|line| line.contains("\"listening\""))?;
            let record: Value = serde_json::from_str(line).unwrap();
            Some(record["address"].as_str().unwrap().to_owned())
        });
        let address = address.unwrap_or_else(|| panic!("{}", self.stderr.all().join("\n")));
        ListenAddr::parse(&address)
    }

    /// One INT ends it at once, with exit code 0.
    #[track_caller]
    pub fn must_end_at_once(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
