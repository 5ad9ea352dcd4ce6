//! One check of one origin.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout_at};

use super::{Check, HealthPolicy, io, request};
use crate::outcome::{Failure, Fault, Reason};
use crate::tls::connector::{
    HandshakeParams, Offer, OriginRefusal, TlsConnector, after_resumption,
};
use crate::transport::Transport;
use crate::upstream::{self, Address, OriginStatus, Verdict};

/// Why a check came to no good end.
enum CheckError {
    /// The origin's fault, and what it is.
    Origin(Arc<str>),
    /// Ours: it says nothing about the origin.
    Local,
}

/// Checks an origin and tells what was found as soon as it is, unless that is nothing about the
/// origin. After that the connection is ended politely.
pub(super) async fn run(
    policy: &HealthPolicy,
    origin: &OriginStatus,
    offer: Offer,
    tell: impl Fn(Verdict),
) {
    let deadline = Instant::now() + policy.timeout;
    let mut transport = match reach(policy, origin, deadline, offer).await {
        Ok(transport) => transport,
        Err(CheckError::Origin(why)) => return tell(Verdict::Fail(why)),
        Err(CheckError::Local) => return,
    };
    match &policy.check {
        Check::Connect => tell(Verdict::Pass),
        Check::Http(request) => {
            let asked = timeout_at(deadline, ask(&mut transport, request, origin)).await;
            tell(asked.unwrap_or_else(|_| Verdict::Fail("no answer in time".into())));
            io::drain(&mut transport).await;
        }
    }
    io::say_farewell(transport).await;
}

/// A connection, over TLS where checks are. As for a client's connection, a handshake that fails while a
/// session is offered is followed by a full one over a connection of its own.
async fn reach(
    policy: &HealthPolicy,
    origin: &OriginStatus,
    deadline: Instant,
    offer: Offer,
) -> Result<Transport, CheckError> {
    let mut transport = connect(policy, origin, deadline).await?;
    let Some(tls) = &policy.tls else {
        return Ok(transport);
    };
    match handshake(tls, origin, &mut transport, deadline, offer).await {
        Ok(()) => Ok(transport),
        Err((refusal, false)) => Err(refusal.into()),
        Err((first, true)) => {
            let mut transport = connect(policy, origin, deadline).await?;
            let sealed = handshake(tls, origin, &mut transport, deadline, Offer::Nothing).await;
            let unsealed = |(refusal, _)| after_resumption(refusal, &first.failure);
            sealed.map_err(unsealed)?;
            Ok(transport)
        }
    }
}

async fn connect(
    policy: &HealthPolicy,
    origin: &OriginStatus,
    deadline: Instant,
) -> Result<Transport, CheckError> {
    let address = match (&origin.address, policy.port) {
        (Address::Ip(address), Some(port)) => Address::Ip((address.ip(), port).into()),
        (address, _) => address.clone(),
    };
    let connecting = upstream::connect(&address, &policy.tcp, &policy.sources);
    let mut transport = match timeout_at(deadline, connecting).await {
        Ok(Ok(socket)) => Transport::plain(socket),
        Ok(Err(error)) => {
            let reason = upstream::reason_for(&error);
            return Err(match reason.fault() {
                Some(Fault::Proxy) => CheckError::Local,
                _ => CheckError::Origin(format!("{reason}: {error}").into()),
            });
        }
        Err(_) => return Err(error(Reason::OriginConnectTimeout)),
    };
    // A fresh socket takes these few bytes at once.
    if !policy.opening.is_empty()
        && let Err(error) = transport.socket.write_all(policy.opening).await
    {
        return Err(CheckError::Origin(
            format!("{}: {error}", Reason::OriginReset).into(),
        ));
    }
    Ok(transport)
}

/// Does the handshake. Beside a failure is whether a session was offered, and may be why.
async fn handshake(
    tls: &TlsConnector,
    origin: &OriginStatus,
    transport: &mut Transport,
    deadline: Instant,
    offer: Offer,
) -> Result<(), (OriginRefusal, bool)> {
    let refuse = |failure: Failure| OriginRefusal {
        failure,
        may_retry: false,
    };
    let Some(name) = &origin.definition.server_name else {
        return Err((refuse(Reason::OriginTlsName.into()), false));
    };
    let about = HandshakeParams {
        origin: origin.id,
        name,
        client_sni: None,
        client_alpn: None,
    };
    let mut handshake = tls.begin(about, offer).map_err(|f| (refuse(f), false))?;
    let offered = handshake.take_offered();
    let is_offered = offered.is_some();
    let done = timeout_at(deadline, handshake.drive(transport)).await;
    if let Some(offered) = offered {
        offered.settle(transport);
    }
    done.unwrap_or_else(|_| Err(refuse(Reason::OriginTlsTimeout.into())))
        .map_err(|refusal| (refusal, is_offered))
}

impl From<OriginRefusal> for CheckError {
    fn from(refusal: OriginRefusal) -> Self {
        let reason = refusal.failure.reason;
        match refusal.failure.detail {
            Some(detail) => Self::Origin(format!("{reason}: {detail}").into()),
            None => error(reason),
        }
    }
}

fn error(reason: Reason) -> CheckError {
    CheckError::Origin(reason.code().into())
}

/// Sends the request and judges the status of its answer.
async fn ask(
    transport: &mut Transport,
    request: &request::Request,
    origin: &OriginStatus,
) -> Verdict {
    let cut = |error: std::io::Error| Verdict::Fail(format!("no answer: {error}").into());
    if let Err(error) = io::write(transport, &request.head(&name_of(origin))).await {
        return cut(error);
    }
    let mut answer = Vec::new();
    loop {
        match io::read(transport).await {
            Ok(words) if words.is_empty() => {
                return Verdict::Fail("the answer ended before its status".into());
            }
            Ok(words) => answer.extend_from_slice(&words),
            Err(error) => return cut(error),
        }
        match request::status(&answer) {
            Ok(Some(status)) => return request.judge(status),
            Ok(None) => {}
            Err(why) => return Verdict::Fail(why),
        }
    }
}

/// What an origin is called by its clients.
fn name_of(origin: &OriginStatus) -> String {
    match (&origin.definition.server_name, &origin.definition.address) {
        (Some(ServerName::DnsName(name)), _) => name.as_ref().to_owned(),
        (_, Address::Host(host, port)) => format!("{host}:{port}"),
        _ => match &origin.address {
            Address::Ip(address) => address.to_string(),
            _ => "localhost".to_owned(),
        },
    }
}
