//! What a server needs of the machine, opened before anything is started.

use std::io;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::acme::{HttpPlace, Responder};
use crate::admin::AdminListeners;
use crate::control::listeners::{Listeners, PendingListeners};
use crate::control::rlimit;
use crate::control::sd_notify::Notifier;
use crate::listener::BindError;
use crate::observe::access_log::AccessLog;
use crate::observe::sink::{Output, Sink};
use crate::sandbox::RunAs;
use crate::snapshot::Snapshot;
use crate::snapshot::admin::AdminListen;
use crate::takeover::Taking;
use crate::tls;

/// Why a server cannot start.
#[derive(Debug)]
pub enum StartError {
    /// Listening sockets cannot be bound.
    Bind(Vec<BindError>),
    /// The admin socket or the metrics listener cannot be bound: one sentence.
    Admin(String),
    /// A listener for validations cannot be bound: one sentence.
    Acme(String),
    /// The sockets of the running process cannot be taken: one sentence.
    Takeover(String),
    /// Nothing says where the running process is.
    NoPredecessor,
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
    pub(super) sockets: Sockets,
}

/// The sockets of a server, and the process that some of them are taken from.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) bound: PendingListeners,
    pub(super) admin: AdminListeners,
    pub(super) responders: Vec<Responder>,
    pub(super) taking: Option<Taking>,
    /// Connected before the process gives up reaching such a socket.
    pub(super) notifier: Notifier,
}

/// Which process a server takes over from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// The one that serves the admin socket of the configuration.
    OfConfiguration,
    /// The one that serves this admin socket.
    At(PathBuf),
}

impl Resources {
    /// Opens what a snapshot needs, and takes what `predecessor` has of it. Nothing is accepted yet, and the
    /// predecessor serves.
    pub fn open(
        snapshot: &Snapshot,
        predecessor: Option<&Predecessor>,
    ) -> Result<Self, StartError> {
        tls::seed_randomness()
            .map_err(|_| StartError::System("no randomness to be had".to_owned()))?;
        let access_log = AccessLog::open(&snapshot.access_log)
            .map_err(|e| StartError::Log(snapshot.access_log.output.clone(), e))?;
        for warning in rlimit::warnings(snapshot) {
            warn!("{warning}");
        }
        let workers = snapshot.process.workers.unwrap_or_else(rlimit::cores);
        rlimit::raise()?;
        let mut taking = predecessor
            .map(|from| take_from(from, snapshot))
            .transpose()?;
        let bound = Listeners::first(snapshot, workers, taking.as_mut());
        let bound = bound.map_err(StartError::Bind)?;
        let admin = AdminListeners::bind(&snapshot.admin, taking.as_mut());
        let admin = admin.map_err(StartError::Admin)?;
        let responders = responders(snapshot).map_err(StartError::Acme)?;
        let own = admin.descriptors() + responders.len() * Responder::DESCRIPTORS;
        let reserved = bound.descriptors(workers) + own;
        let connections = rlimit::connections(snapshot.process.connections, workers, reserved)
            .map_err(StartError::System)?;
        Ok(Self {
            workers,
            connections,
            access_log,
            sockets: Sockets {
                bound,
                admin,
                responders,
                taking,
                notifier: Notifier::from_environment(),
            },
        })
    }

    /// The sink of the access log.
    pub const fn access_log(&self) -> &Sink {
        self.access_log.sink()
    }

    /// The generation of the first snapshot: that after the one of the predecessor.
    pub(super) fn generation(&self) -> u64 {
        let taking = self.sockets.taking.as_ref();
        taking.map_or(1, |taking| taking.generation().saturating_add(1))
    }
}

/// The listeners for validations by http-01. The error is one sentence.
fn responders(snapshot: &Snapshot) -> Result<Vec<Responder>, String> {
    let bind = |place: HttpPlace| {
        let bound = Responder::bind(place);
        bound.map_err(|error| format!("cannot listen on {}: {error}", place.address))
    };
    snapshot.http_places().into_iter().map(bind).collect()
}

fn take_from(predecessor: &Predecessor, snapshot: &Snapshot) -> Result<Taking, StartError> {
    let path: &Path = match (predecessor, &snapshot.admin.listen) {
        (Predecessor::At(path), _) => path,
        (Predecessor::OfConfiguration, Some(AdminListen::Unix { path, .. })) => path,
        (Predecessor::OfConfiguration, _) => return Err(StartError::NoPredecessor),
    };
    // A user that cannot be found ends the start later, with its reason.
    let account = snapshot.process.run_as.as_ref().map(RunAs::find);
    let becomes = account.and_then(|account| Some(account.ok()?.uid()));
    Taking::begin(path, becomes).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "; no process serves there, so start without --takeover"
            }
            _ => "",
        };
        StartError::Takeover(format!("unix:{}: {error}{hint}", path.display()))
    })
}
