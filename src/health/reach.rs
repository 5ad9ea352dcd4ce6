//! Connects to an origin once, as connections of clients do, and tells how it answered.

use std::io;
use std::time::Duration;

use rustls::Error;
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout};

use super::check::{CheckError, open};
use super::io::lingering_close;
use super::policy::HealthPolicy;
use crate::outcome::{Failure, Reason};
use crate::tls::classify;
use crate::tls::connector::Offer;
use crate::tls::info::TlsFacts;
use crate::tls::words;
use crate::transport::Transport;
use crate::upstream::OriginStatus;

/// How long an origin has to show that it does not keep the connection. With TLS 1.3, an origin says only
/// after the handshake that it refuses our certificate, or misses one.
const PATIENCE: Duration = Duration::from_secs(1);

/// An origin that keeps a connection.
#[derive(Debug)]
pub struct Reached {
    /// The facts of the handshake, if there was one.
    pub tls: Option<TlsFacts>,
    /// Whether it sent something by itself, as servers do that speak first.
    pub spoke: bool,
    /// The time that everything up to the end of the handshake took.
    pub took: Duration,
}

/// Opens a connection as `policy` says, with a full handshake, and waits until the origin sends something,
/// ends, or `PATIENCE` is over. `client` is the server name of a client, for upstreams that pass it on.
///
/// # Errors
///
/// Why the origin cannot be used, or this machine cannot connect.
pub async fn reach(
    policy: &HealthPolicy,
    origin: &OriginStatus,
    client: Option<&ServerName<'static>>,
) -> Result<Reached, Failure> {
    let start = Instant::now();
    let deadline = start + policy.timeout;
    let opened = open(policy, origin, client, deadline, Offer::Nothing).await;
    let mut transport = opened.map_err(|error| match error {
        CheckError::Origin(failure) | CheckError::Local(failure) => failure,
    })?;
    let took = start.elapsed();
    let tls = transport.tls.as_ref();
    let tls = tls.map(|tls| TlsFacts::of(tls.facts()));
    let spoke = match timeout(PATIENCE, transport.read()).await {
        Err(_) => false,
        Ok(Ok(bytes)) if !bytes.is_empty() => true,
        Ok(Ok(_)) => return Err(ended(&transport)),
        Ok(Err(error)) => return Err(cut(&error)),
    };
    lingering_close(transport).await;
    Ok(Reached { tls, spoke, took })
}

/// The failure of an origin that ended at once.
fn ended(transport: &Transport) -> Failure {
    Failure::new(Reason::OriginClosed).detail(match transport.tls {
        Some(_) => {
            "right after the handshake, without an alert: it may not accept our certificate, or a client \
             without one"
        }
        None => "right after it had accepted the connection",
    })
}

/// The failure of a connection that broke after its handshake.
fn cut(error: &io::Error) -> Failure {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(error) = tls {
        let error: &Error = error;
        return Failure::new(classify::origin(error)).detail(words::tls(error));
    }
    Failure::new(match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Reason::OriginReset,
        _ => Reason::OriginUnreachable,
    })
    .detail(error.to_string())
}
