//! Prepares a reload: everything that can fail, before anything is changed.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;

use crate::config::Severity;
use crate::config::compile::{Files, LoadOptions, Purpose, Reread, Running};
use crate::config::file_stamps::FileStamps;
use crate::config::load::{Loaded, Source};
use crate::config::reader::read::Located;
use crate::config::spec::{Admin, Process, Spec};
use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::control::reload::plan::{self, Change};
use crate::control::rlimit;
use crate::fleet::{Document, FleetSettings};
use crate::observe::access_log::AccessLogSettings;
use crate::observe::logging::LogSettings;
use crate::sandbox::Sandbox;
use crate::snapshot::admin::AdminSettings;
use crate::snapshot::{ProcessSettings, Snapshot};
use crate::tls::sessions::{Sessions, TicketSecret};

/// What a reload reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// The files that the configuration names. One that cannot be read keeps its previous content.
    Materials,
    /// The configuration file and all files that it names. Any error refuses the whole reload.
    All,
}

/// The active configuration, and its source.
#[derive(Clone, Debug)]
pub(crate) struct ActiveConfig {
    pub(crate) source: Source,
    pub(crate) loaded: Arc<Loaded>,
    pub(crate) sessions: Arc<Sessions>,
    /// The secrets of tickets that the fleet shares.
    pub(crate) tickets: Vec<TicketSecret>,
    pub(crate) fixed: Arc<StartupSettings>,
    pub(crate) sandbox: Arc<Sandbox>,
}

/// A configuration that is ready to replace the active one.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Where it came from.
    pub(crate) source: Source,
    pub(crate) loaded: Loaded,
    pub(crate) snapshot: Snapshot,
    /// Its warnings.
    pub(crate) warnings: Vec<String>,
    /// Keys whose new value needs a restart.
    pub(crate) restart: Vec<&'static str>,
    /// What it changes, and how many live connections each change concerns.
    pub(crate) changes: Vec<Change>,
}

/// Why a reload was refused.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    /// One sentence for each reason, with file, line and column.
    pub(crate) reasons: Vec<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("\n"))
    }
}

impl ActiveConfig {
    /// The same with this document of the fleet in place of the one that is in force.
    pub(crate) fn with(mut self, document: Option<Arc<Document>>) -> Self {
        if let Some(document) = document {
            self.source = self.source.with(document);
        }
        self
    }

    /// Reads and compiles what has changed since `snapshot`, which is running. `stamps` of the files, if they
    /// were taken for this renewal, are not taken again. Counts the connections of `table` that a change
    /// concerns. Blocks on files: must not run on a worker or in the control loop.
    pub(crate) fn prepare(
        &self,
        scope: Scope,
        stamps: Option<&FileStamps>,
        snapshot: &Snapshot,
        table: &ConnTable<ConnInfo>,
    ) -> Result<Prepared, Refused> {
        let options = LoadOptions {
            files: Files::Read,
            purpose: Purpose::Serve,
            running: Some(Running {
                snapshot,
                materials: &self.loaded.materials,
                reread: match scope {
                    Scope::Materials => Reread::Changed,
                    Scope::All => Reread::All,
                },
                stamps,
            }),
            sessions: &self.sessions,
            tickets: &self.tickets,
            sandbox: Some(&self.sandbox),
        };
        let loaded = match scope {
            Scope::Materials => Ok(self.source.load_files(&self.loaded, options)),
            Scope::All => self.source.load(options),
        };
        let mut loaded = loaded.map_err(|error| {
            let path = self.source.path();
            let hidden = (error.kind() == ErrorKind::PermissionDenied)
                .then(|| self.sandbox.keeps_from(path))
                .flatten();
            let why = hidden.unwrap_or_else(|| error.to_string());
            Refused {
                reasons: vec![format!("{}: cannot be read: {why}", path.display())],
            }
        })?;
        let reasons: Vec<_> = loaded.lines(Severity::Error).collect();
        let mut warnings: Vec<_> = loaded.lines(Severity::Warning).collect();
        match loaded.snapshot.take() {
            Some(new) => {
                if new.fleet.is_some() != self.fixed.fleet.is_some() {
                    let path = loaded.path.display();
                    let why = "`fleet` came or went, which needs a restart";
                    return Err(Refused {
                        reasons: vec![format!("{path}: {why}")],
                    });
                }
                let lacks = match scope {
                    Scope::All => self.sandbox.lacks(&new.rights()),
                    Scope::Materials => Vec::new(),
                };
                if !lacks.is_empty() {
                    return Err(Refused { reasons: lacks });
                }
                warnings.extend(rlimit::warnings(&new));
                let changes = match (&self.loaded.spec, &loaded.spec) {
                    (Some(old_spec), Some(new_spec)) => {
                        plan::changes((old_spec, snapshot), (new_spec, &new), table)
                    }
                    // A spec exists whenever a snapshot was compiled.
                    _ => Vec::new(),
                };
                Ok(Prepared {
                    source: self.source.clone(),
                    restart: self.fixed.differences(&new),
                    changes,
                    loaded,
                    snapshot: new,
                    warnings,
                })
            }
            None if reasons.is_empty() => Err(Refused {
                reasons: vec![format!(
                    "{}: nothing can be served by it",
                    loaded.path.display()
                )],
            }),
            None => Err(Refused { reasons }),
        }
    }
}

/// Settings that are fixed when the process starts.
#[derive(Debug)]
pub(crate) struct StartupSettings {
    process: ProcessSettings,
    log: LogSettings,
    access_log: AccessLogSettings,
    admin: AdminSettings,
    fleet: Option<Arc<FleetSettings>>,
    spec: Option<Arc<Spec>>,
}

impl StartupSettings {
    pub(crate) fn of(snapshot: &Snapshot, loaded: &Loaded) -> Self {
        Self {
            process: snapshot.process.clone(),
            log: snapshot.log.clone(),
            access_log: snapshot.access_log.clone(),
            admin: snapshot.admin.clone(),
            fleet: snapshot.fleet.clone(),
            spec: loaded.spec.clone(),
        }
    }

    /// The keys whose new value needs a restart.
    fn differences(&self, new: &Snapshot) -> Vec<&'static str> {
        let ProcessSettings {
            workers,
            connections,
            handshakes,
            // A reload applies these.
            drain: _,
            watch: _,
            run_as,
            sandbox,
        } = &self.process;
        let process = &new.process;
        let limits = (process.connections, process.handshakes);
        let keys = [
            (*workers != process.workers, "process.workers"),
            ((*connections, *handshakes) != limits, "process.limits"),
            (*run_as != process.run_as, "process.user"),
            (*sandbox != process.sandbox, "process.sandbox"),
            (self.log != new.log, "log"),
            (self.access_log != new.access_log, "access_log"),
            (!self.admin.has_listeners_of(&new.admin), "admin"),
            (
                self.fleet
                    .as_ref()
                    .zip(new.fleet.as_ref())
                    .is_some_and(|(old, new)| !old.is_alike(new)),
                "fleet",
            ),
        ];
        let differing = keys.into_iter().filter(|(differs, _)| *differs);
        differing.map(|(_, key)| key).collect()
    }

    /// The configuration with the values that are in force.
    pub(crate) fn in_force(&self, spec: &Spec) -> Spec {
        let Some(fixed) = self.spec.as_deref().cloned() else {
            return spec.clone();
        };
        // Without `..`: a new key must be put on one side or the other.
        let Spec {
            process,
            log: _,
            access_log: _,
            admin,
            acme,
            fleet: _,
            vault,
            endpoints,
            upstreams,
        } = spec.clone();
        let Process {
            workers: _,
            limits: _,
            drain,
            key_permissions,
            ticket_secret,
            reload,
            user: _,
            sandbox: _,
        } = process.value;
        let Process {
            workers,
            limits,
            user,
            sandbox,
            ..
        } = fixed.process.value;
        let running = Process {
            workers,
            limits,
            drain,
            key_permissions,
            ticket_secret,
            reload,
            user,
            sandbox,
        };
        Spec {
            process: Located {
                value: running,
                ..process
            },
            log: fixed.log,
            access_log: fixed.access_log,
            admin: admin_in_force(fixed.admin, admin),
            acme,
            fleet: fixed.fleet,
            vault,
            endpoints,
            upstreams,
        }
    }
}

/// The listeners of the start, with the tokens and the TLS policy that a reload has applied.
fn admin_in_force(fixed: Located<Admin>, new: Located<Admin>) -> Located<Admin> {
    let address = |admin: &Admin| admin.listen.as_ref().map(|listen| listen.value.clone());
    if address(&fixed) != address(&new) {
        return fixed;
    }
    let Admin {
        token_file, tls, ..
    } = new.value;
    let value = Admin {
        token_file,
        tls,
        ..fixed.value
    };
    Located { value, ..fixed }
}
