//! What a server needs of the machine, opened before anything is started.

use std::io;

use tracing::warn;

use crate::admin::AdminListeners;
use crate::control::listeners::{Listeners, PendingListeners};
use crate::control::rlimit;
use crate::control::sd_notify::Notifier;
use crate::listener::BindError;
use crate::observe::access_log::AccessLog;
use crate::observe::sink::{Output, Sink};
use crate::snapshot::Snapshot;
use crate::tls;

/// Why a server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// Listening sockets cannot be bound.
    Bind(Vec<BindError>),
    /// The admin socket or the metrics listener cannot be bound: one sentence.
    Admin(String),
    /// The access log cannot be opened.
    Log(Output, io::Error),
    /// The user cannot be changed, or rights not be given up: one sentence.
    Privileges(String),
    /// Threads, descriptors or randomness are missing.
    System(String),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error.to_string())
    }
}

/// Sockets that are bound, the access log, and what the descriptor limit allows.
#[derive(Debug)]
pub struct Resources {
    pub(super) workers: usize,
    /// The most connections at once.
    pub(super) connections: usize,
    pub(super) access_log: AccessLog,
    pub(super) bound: PendingListeners,
    pub(super) admin: AdminListeners,
    /// Connected before the process gives up reaching such a socket.
    pub(super) notifier: Notifier,
}

impl Resources {
    /// Opens what a snapshot needs. Nothing is accepted yet.
    pub fn open(snapshot: &Snapshot) -> Result<Self, StartError> {
        tls::seed_randomness()
            .map_err(|_| StartError::System("no randomness to be had".to_owned()))?;
        let access_log = AccessLog::start(&snapshot.access_log)
            .map_err(|e| StartError::Log(snapshot.access_log.output.clone(), e))?;
        for warning in rlimit::warnings(snapshot) {
            warn!("{warning}");
        }
        let workers = snapshot.process.workers.unwrap_or_else(rlimit::cores);
        rlimit::raise()?;
        let bound = Listeners::first(snapshot, workers).map_err(StartError::Bind)?;
        let admin = AdminListeners::bind(&snapshot.admin).map_err(StartError::Admin)?;
        // Each accept socket has a second descriptor, with its worker.
        let reserved = 2 * bound.sockets() + admin.descriptors();
        let connections = rlimit::connections(snapshot.process.connections, workers, reserved)
            .map_err(StartError::System)?;
        Ok(Self {
            workers,
            connections,
            access_log,
            bound,
            admin,
            notifier: Notifier::from_environment(),
        })
    }

    /// The sink of the access log.
    pub const fn access_log(&self) -> &Sink {
        self.access_log.sink()
    }
}
