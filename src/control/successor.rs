//! Starts a new process of this program, which takes over: what USR2 requests.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::takeover::SILENCE;

/// Variables that are meant for this process alone (sd_listen_fds(3), sd_watchdog_enabled(3)).
const OWN_VARIABLES: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// How often a new process is looked at. Only its parent is told that it has ended.
const PAUSE: Duration = Duration::from_millis(50);

/// The program to start, and whether it runs.
#[derive(Debug)]
pub(crate) struct Successors {
    program: Option<PathBuf>,
    is_starting: Arc<AtomicBool>,
    has_taken_over: Arc<AtomicBool>,
}

impl Successors {
    /// The program of this process, by the name that it was started with: an upgrade may change where a
    /// symbolic link leads.
    pub(crate) fn of_this_program() -> Self {
        let program = env::current_exe().ok();
        let name = env::args_os().next().map(PathBuf::from);
        let name = name.filter(|name| name.components().count() > 1);
        let name = name.and_then(|name| std::path::absolute(name).ok());
        let is_program = |name: &PathBuf| name.canonicalize().ok() == program;
        Self {
            program: name.filter(is_program).or(program),
            is_starting: Arc::default(),
            has_taken_over: Arc::default(),
        }
    }

    /// Starts a process with this configuration file. It finds this one by its admin socket. If it ends or is
    /// not ready in time, that is logged, and this process continues.
    pub(crate) fn start(&self, config: &Path, admin: Option<&Path>, may_execute: bool) {
        if !may_execute {
            warn!(
                "USR2 is ignored: in a sandbox a process may start no program; `process.sandbox: off` lets it, \
                 and `reseal run --takeover` takes over without its help"
            );
            return;
        }
        let (Some(program), Some(admin)) = (&self.program, admin) else {
            warn!(
                "USR2 is ignored: a new process takes over by the admin socket, and there is no \
                 `admin.listen: unix:PATH`; HUP reloads the configuration"
            );
            return;
        };
        if self.is_starting.swap(true, Ordering::AcqRel) {
            warn!("USR2 is ignored: a new process is being started already");
            return;
        }
        let is_started = spawn(program, config, admin).and_then(|child| self.watch(child));
        if let Err(error) = is_started {
            self.is_starting.store(false, Ordering::Release);
            error!(%error, program = %program.display(), "a new process cannot be started; this one continues");
        }
    }

    /// The new process serves: it is no longer watched.
    pub(crate) fn taken_over(&self) {
        self.has_taken_over.store(true, Ordering::Release);
    }

    /// Waits for the end of the child on a thread of its own.
    fn watch(&self, mut child: Child) -> io::Result<()> {
        info!(pid = child.id(), "starting a new process, which takes over");
        let (is_starting, is_done) = (
            Arc::clone(&self.is_starting),
            Arc::clone(&self.has_taken_over),
        );
        // A part of the time is its start.
        let end = Instant::now() + 2 * SILENCE;
        let watch = move || {
            while !is_done.load(Ordering::Acquire) {
                if let Ok(Some(status)) = child.try_wait() {
                    error!(%status, "the new process has ended; this one continues");
                    break;
                }
                if Instant::now() >= end {
                    error!(
                        "the new process has not taken over in time and is killed; this one continues"
                    );
                    let _ = child.kill();
                    let _ = child.wait();
                    break;
                }
                thread::sleep(PAUSE);
            }
            is_starting.store(false, Ordering::Release);
        };
        let watching = thread::Builder::new().name("successor".to_owned());
        watching.spawn(watch).map(|_| ())
    }
}

fn spawn(program: &Path, config: &Path, admin: &Path) -> io::Result<Child> {
    let mut takeover = OsString::from("--takeover=unix:");
    takeover.push(std::path::absolute(admin)?);
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(config).arg(takeover);
    for variable in OWN_VARIABLES {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).spawn()
}
