//! The admin socket and the metrics listener: HTTP/1.1 and JSON, for `reseal ctl`, curl and Prometheus.
//!
//! This module parses HTTP, authorises requests and enforces limits. It turns each request into a
//! [`Request`] for the control loop and knows nothing of how that is handled.

mod audit;
mod auth;
mod body;
mod commands;
mod dashboard;
mod listeners;
mod open;
mod permits;
mod query;
mod read_query;
mod refused;
mod request;
mod response;
mod serve;
mod spare;
mod successor;
#[cfg(test)]
mod tests;
mod tls;

pub use self::listeners::AdminListeners;
pub use self::open::OpenAdminListeners;
pub use self::permits::ConnPermits;
pub use self::query::{ConnFilter, ConnKey, ConnQuery, FailureQuery, StageFilter};
pub use self::request::{
    Handle, OriginAction, PendingRequest, Received, Refusal, RefusalKind, Request, RequestResult,
    channel,
};
pub use self::serve::{DrainedEndpoints, PendingCertificates, Probes};
