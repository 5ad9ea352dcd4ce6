//! Reading the configuration again: all that can fail, before anything is changed.

use std::fmt;
use std::sync::Arc;

use crate::config::compile::{Circumstances, Files};
use crate::config::load::{Loaded, Source};
use crate::config::{Problem, Severity};
use crate::snapshot::{ProcessSettings, Snapshot};
use crate::tls::resumption::Sessions;

/// What is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    /// What files hold, under the text that is running. One that cannot be read keeps what it held.
    Materials,
    /// The text, and what files hold. Whatever is wrong refuses all of it.
    All,
}

/// The configuration that is running, and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) source: Source,
    pub(super) loaded: Arc<Loaded>,
    pub(super) sessions: Arc<Sessions>,
}

/// A configuration that can take the place of the running one.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) loaded: Loaded,
    pub(super) snapshot: Snapshot,
    /// What is doubtful in it.
    pub(super) warnings: Vec<String>,
    /// Keys whose new value needs a restart.
    pub(super) restart: Vec<&'static str>,
}

/// Why nothing was changed.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// One sentence for each reason, with its place in the file.
    pub(super) reasons: Vec<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("\n"))
    }
}

impl Running {
    /// Reads and compiles. Takes as long as files take: not for a worker, nor for the control loop.
    pub(super) fn prepare(&self, scope: Scope) -> Result<Prepared, Refused> {
        let (source, kept) = match scope {
            Scope::All => (self.source.clone(), None),
            Scope::Materials => (
                self.source.as_loaded(&self.loaded),
                Some(&self.loaded.materials),
            ),
        };
        let path = self.loaded.path.to_string_lossy().into_owned();
        let circumstances = Circumstances {
            files: Files::Read,
            kept,
            sessions: &self.sessions,
        };
        let mut loaded = source.load(circumstances).map_err(|error| Refused {
            reasons: vec![format!("{path}: cannot be read: {error}")],
        })?;
        let lines = |wanted| {
            let problems = loaded.problems.sorted().into_iter();
            let problems = problems.filter(move |p: &&Problem| p.severity == wanted);
            problems.map(|p| p.to_line(&path)).collect::<Vec<_>>()
        };
        let (reasons, warnings) = (lines(Severity::Error), lines(Severity::Warning));
        match loaded.snapshot.take() {
            Some(snapshot) => {
                if scope == Scope::Materials {
                    loaded.look = self.loaded.look.clone();
                }
                Ok(Prepared {
                    loaded,
                    snapshot,
                    warnings,
                    restart: Vec::new(),
                })
            }
            None if reasons.is_empty() => Err(Refused {
                reasons: vec![format!("{path}: nothing can be served by it")],
            }),
            None => Err(Refused { reasons }),
        }
    }
}

impl Prepared {
    /// Notes the keys that a running process cannot follow.
    pub(super) fn compare(&mut self, running: &Snapshot) {
        let (old, new) = (&running.process, &self.snapshot.process);
        let changed = |is: fn(&ProcessSettings, &ProcessSettings) -> bool| !is(old, new);
        for (differs, key) in [
            (changed(|a, b| a.workers == b.workers), "process.workers"),
            (
                changed(|a, b| (a.connections, a.handshakes) == (b.connections, b.handshakes)),
                "process.limits",
            ),
            (running.log != self.snapshot.log, "log"),
            (running.access_log != self.snapshot.access_log, "access_log"),
            (running.admin != self.snapshot.admin, "admin"),
        ] {
            if differs {
                self.restart.push(key);
            }
        }
    }
}
