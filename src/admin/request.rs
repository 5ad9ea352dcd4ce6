//! Requests to the control loop, their results, and the channel that carries both.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tracing::level_filters::LevelFilter;

use super::query::{ConnFilter, ConnQuery, FailureQuery};
use crate::snapshot::admin::Role;
use crate::takeover::Giving;

/// How many requests may wait for the control loop.
const QUEUE: usize = 32;

/// A request to the control loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The status of the process.
    Status,
    /// The counters of endpoints, routes and origins, and why connections ended.
    Stats {
        /// Whether to wait for rates, if there are none yet.
        rates: bool,
    },
    /// Live connections.
    Connections(ConnQuery),
    /// The latest failures.
    Failures(FailureQuery),
    /// The certificates in use, with their expiry dates.
    Certificates,
    /// The effective configuration.
    Config,
    /// The origins and their state.
    Origins,
    /// The last reloads.
    Reloads,
    /// How full the limits of an endpoint and a route are.
    Limits {
        /// The endpoint's name.
        endpoint: String,
        /// The route's name, for its limits as well.
        route: Option<String>,
        /// The client's address, for the limits by source.
        source: Option<IpAddr>,
    },
    /// The log level, or a new one.
    LogLevel(Option<LevelFilter>),
    /// Reloads the configuration, or only reports what that would change.
    Reload {
        /// Report only.
        plan: bool,
    },
    /// Closes an endpoint, and drains its connections.
    Drain {
        /// The endpoint's name.
        endpoint: String,
    },
    /// Opens an endpoint again that was drained.
    Undrain {
        /// The endpoint's name.
        endpoint: String,
    },
    /// Drains the process, which then exits.
    Stop,
    /// Closes these connections.
    Kill(ConnFilter),
    /// Orders the certificate of this name, and does not install it.
    TryOrder(String),
    /// Changes how an origin is used.
    Origin {
        /// The upstream's name.
        upstream: String,
        /// The origin's name.
        origin: String,
        /// The change.
        action: OriginAction,
    },
}

impl Request {
    /// What a client must be allowed to do for it. What is not listed changes something.
    pub(super) const fn role(&self) -> Role {
        match self {
            Self::Status
            | Self::Stats { .. }
            | Self::Connections(_)
            | Self::Failures(_)
            | Self::Certificates
            | Self::Config
            | Self::Origins
            | Self::Reloads
            | Self::Limits { .. }
            | Self::LogLevel(None)
            | Self::Reload { plan: true } => Role::Read,
            Self::Stop => Role::All,
            _ => Role::Operate,
        }
    }
}

/// A change to how an origin is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginAction {
    /// No new connections; existing ones may finish.
    Drain,
    /// No new connections; existing ones are closed.
    Disable,
    /// Back to the configured use.
    Enable,
    /// A new weight.
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

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its class.
    pub kind: RefusalKind,
    /// One sentence.
    pub message: String,
}

/// The classes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request is malformed.
    Invalid,
    /// It names something that does not exist.
    NotFound,
    /// The state of the process or the configuration does not allow it.
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

/// The result of a request: a JSON object, or why it failed.
pub type RequestResult = Result<Value, Refusal>;

/// A request with the channel for its result.
#[derive(Debug)]
pub struct PendingRequest {
    /// The request.
    pub request: Request,
    /// Takes the result; it is closed if the client has disconnected.
    pub reply: oneshot::Sender<RequestResult>,
}

/// Sends requests to the control loop. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<PendingRequest>,
    successors: mpsc::Sender<Giving>,
}

/// What the admin socket sends to the control loop.
#[derive(Debug)]
pub struct Received {
    /// Requests.
    pub requests: mpsc::Receiver<PendingRequest>,
    /// Processes that want to take over, one at a time.
    pub successors: mpsc::Receiver<Giving>,
}

/// The two ends of the channel between the admin socket and the control loop.
pub fn channel() -> (Handle, Received) {
    let (requests, received) = mpsc::channel(QUEUE);
    let (successors, asking) = mpsc::channel(1);
    let handle = Handle {
        requests,
        successors,
    };
    let received = Received {
        requests: received,
        successors: asking,
    };
    (handle, received)
}

impl Handle {
    /// Sends a request, and waits for its result without a limit of time.
    pub async fn request(&self, request: Request) -> RequestResult {
        let ending = || Refusal::new(RefusalKind::Unavailable, "the process is ending");
        let (reply, result) = oneshot::channel();
        let sent = self.requests.send(PendingRequest { request, reply }).await;
        sent.map_err(|_| ending())?;
        result.await.map_err(|_| ending())?
    }

    /// Passes on a process that wants to take over; gives it back if another one waits.
    pub fn take_over(&self, successor: Giving) -> Result<(), Giving> {
        let sent = self.successors.try_send(successor);
        sent.map_err(mpsc::error::TrySendError::into_inner)
    }
}
