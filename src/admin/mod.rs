//! The admin socket and the metrics listener: HTTP/1.1 and JSON, for `reseal ctl`, curl and Prometheus.
//!
//! Requests become values of [`Request`], which the process's control loop answers; this module knows
//! HTTP, who may ask, and limits, and nothing of what it takes to do what is asked.

mod auth;
mod commands;
mod listeners;
mod places;
mod response;
mod serve;

use std::fmt;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tracing::level_filters::LevelFilter;

pub use self::listeners::AdminListeners;
pub use self::serve::Probes;

/// How many requests may wait for the control loop.
const QUEUE: usize = 32;

/// What somebody asks of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// How it is.
    Status,
    /// The live connections.
    Connections,
    /// The certificates that are presented.
    Certificates,
    /// The effective configuration.
    Config,
    /// The origins and how they are.
    Origins,
    /// What level is logged, or a new one.
    LogLevel(Option<LevelFilter>),
    /// Reads the configuration again, or only says what that would change.
    Reload {
        /// Say it, and change nothing.
        plan: bool,
    },
    /// Lets the connections of an endpoint finish and takes no new ones; without a name, of all.
    Drain {
        /// The endpoint's name.
        endpoint: Option<String>,
    },
    /// Ends the connection of this id.
    Kill(u64),
    /// Changes how an origin is used.
    Origin {
        /// The upstream's name.
        upstream: String,
        /// The origin's name.
        origin: String,
        /// What is to become of it.
        action: OriginAction,
    },
}

/// What is to become of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginAction {
    /// No new connections; those that are there may finish.
    Drain,
    /// No new connections, and those that are there end.
    Disable,
    /// As configured.
    Enable,
    /// Another weight.
    Weight(u32),
}

impl fmt::Display for OriginAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain => f.write_str("drain"),
            Self::Disable => f.write_str("disable"),
            Self::Enable => f.write_str("enable"),
            Self::Weight(weight) => write!(f, "weight {weight}"),
        }
    }
}

/// Why a request is not done, or was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which of the classes of refusals it is.
    pub kind: RefusalKind,
    /// One sentence.
    pub message: String,
}

/// The classes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request makes no sense.
    Invalid,
    /// What it names is not there.
    NotFound,
    /// It makes no sense now: the state of the process, or the configuration, does not allow it.
    Conflict,
    /// The process cannot do it at the moment.
    Unavailable,
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// The answer to a request: an object for people and programs, or why not.
pub type Answer = Result<Value, Refusal>;

/// A request, and where its answer goes.
#[derive(Debug)]
pub struct AdminCall {
    /// What is asked.
    pub request: Request,
    /// Takes the answer; whoever asked may have gone.
    pub reply: oneshot::Sender<Answer>,
}

/// Asks the control loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(mpsc::Sender<AdminCall>);

/// A way to ask, and the end at which the control loop takes the calls.
pub fn channel() -> (Handle, mpsc::Receiver<AdminCall>) {
    let (calls, receiver) = mpsc::channel(QUEUE);
    (Handle(calls), receiver)
}

impl Handle {
    /// Asks, and waits for the answer for as long as it takes.
    pub async fn ask(&self, request: Request) -> Answer {
        let ending = || Refusal::new(RefusalKind::Unavailable, "the process is ending");
        let (reply, answer) = oneshot::channel();
        let sent = self.0.send(AdminCall { request, reply }).await;
        sent.map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?
    }
}
