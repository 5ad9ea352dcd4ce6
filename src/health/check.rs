//! One check of one origin.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use super::body::BodySearch;
use super::greeting::Greeting;
use super::policy::{Check, HealthPolicy};
use super::{io, request};
use crate::outcome::{Failure, Fault, OriginRefusal, Reason};
use crate::tls::connector::{HandshakeParams, Offer, TlsConnector, after_resumption};
use crate::transport::{TcpOptions, Transport};
use crate::upstream::{self, Address, OriginStatus, Verdict};

/// Why a check failed before its request.
pub(super) enum CheckError {
    /// The origin failed, and how.
    Origin(Failure),
    /// The proxy failed, for example without a free port: the result says nothing about the origin.
    Local(Failure),
}

/// Checks an origin and reports the verdict as soon as there is one, then closes the connection. A failure
/// of the proxy itself is not reported.
pub(super) async fn run(
    policy: &HealthPolicy,
    origin: &OriginStatus,
    offer: Offer,
    report: impl Fn(Verdict),
) {
    let deadline = Instant::now() + policy.timeout;
    if policy.sends_nothing() {
        return match probe(policy, origin, deadline).await {
            Ok(()) => report(Verdict::Pass),
            Err(CheckError::Origin(failure)) => report(Verdict::Fail(why(&failure))),
            Err(CheckError::Local(_)) => {}
        };
    }
    let mut transport = match open(policy, origin, None, deadline, offer).await {
        Ok(transport) => transport,
        Err(CheckError::Origin(failure)) => return report(Verdict::Fail(why(&failure))),
        Err(CheckError::Local(_)) => return,
    };
    match &policy.check {
        Check::Connect => report(Verdict::Pass),
        Check::Http(request) => {
            let answered = timeout_at(deadline, exchange(&mut transport, request, origin)).await;
            report(answered.unwrap_or_else(|_| Verdict::Fail("no answer in time".into())));
            io::drain(&mut transport).await;
        }
        Check::Greeting(greeting) => {
            // Where TLS began inside the protocol, the greeting came before it.
            let begun = policy.negotiate.as_ref();
            let was_greeted = begun.is_some_and(|begun| begun.protocol.server_speaks_first());
            let greeted = match was_greeted {
                true => Ok(Ok(Verdict::Pass)),
                false => timeout_at(deadline, greeting_of(&mut transport, *greeting)).await,
            };
            match greeted.unwrap_or_else(|_| Err("no greeting in time".into())) {
                Ok(verdict) => {
                    report(verdict);
                    let message = greeting.closing_message();
                    let _ = timeout_at(deadline, transport.write_all(&message)).await;
                    io::drain(&mut transport).await;
                }
                // To a server that has not greeted yet, a client that talks is one that sends spam.
                Err(why) => report(Verdict::Fail(why)),
            }
        }
    }
    io::lingering_close(transport).await;
}

/// The words of a failure.
fn why(failure: &Failure) -> Arc<str> {
    let reason = failure.reason;
    match &failure.detail {
        Some(detail) => format!("{reason}: {detail}").into(),
        None => reason.code().into(),
    }
}

/// Connects, and does the TLS handshake if checks use TLS; `client` is the server name of a client, for
/// upstreams that pass it on. As for a client's connection, a handshake that fails while a session is offered
/// is followed by a full one over a new connection.
pub(super) async fn open(
    policy: &HealthPolicy,
    origin: &OriginStatus,
    client: Option<&ServerName<'static>>,
    deadline: Instant,
    offer: Offer,
) -> Result<Transport, CheckError> {
    let mut transport = connect(policy, origin, deadline).await?;
    let Some(tls) = &policy.tls else {
        return Ok(transport);
    };
    match handshake(tls, origin, client, &mut transport, deadline, offer).await {
        Ok(()) => Ok(transport),
        Err((refusal, false)) => Err(refusal.into()),
        Err((first, true)) => {
            let mut transport = connect(policy, origin, deadline).await?;
            let full = Offer::Nothing;
            let full = handshake(tls, origin, client, &mut transport, deadline, full).await;
            full.map_err(|(refusal, _)| after_resumption(refusal, &first.failure))?;
            Ok(transport)
        }
    }
}

/// Finds out whether the origin accepts connections, without one that it would see.
async fn probe(
    policy: &HealthPolicy,
    origin: &OriginStatus,
    deadline: Instant,
) -> Result<(), CheckError> {
    let address = address_of(policy, origin);
    let probing = upstream::probe(&address, &policy.tcp, &policy.sources);
    connected(timeout_at(deadline, probing).await)
}

/// Where an origin is checked.
fn address_of(policy: &HealthPolicy, origin: &OriginStatus) -> Address {
    match (&origin.address, policy.port) {
        (Address::Ip(address), Some(port)) => Address::Ip((address.ip(), port).into()),
        (Address::Host(host, _), Some(port)) => Address::Host(Arc::clone(host), port),
        (address, _) => address.clone(),
    }
}

fn connected<T>(result: Result<std::io::Result<T>, Elapsed>) -> Result<T, CheckError> {
    match result {
        Ok(Ok(connected)) => Ok(connected),
        Ok(Err(error)) => {
            let reason = upstream::reason_for(&error);
            let failure = Failure::new(reason).detail(error.to_string());
            Err(match reason.fault() {
                Some(Fault::Proxy) => CheckError::Local(failure),
                _ => CheckError::Origin(failure),
            })
        }
        Err(_) => Err(CheckError::Origin(Reason::OriginConnectTimeout.into())),
    }
}

async fn connect(
    policy: &HealthPolicy,
    origin: &OriginStatus,
    deadline: Instant,
) -> Result<Transport, CheckError> {
    let target = address_of(policy, origin);
    let proxy = policy
        .tunnel
        .as_ref()
        .map(|tunnel| Address::Ip(tunnel.proxy));
    let address = proxy.as_ref().unwrap_or(&target);
    // A check ends long before the kernel would probe for a silent peer: four calls less for each.
    let tcp = TcpOptions {
        keepalive: None,
        ..policy.tcp
    };
    let connecting = upstream::connect(address, &tcp, &policy.sources);
    let connected = connected(timeout_at(deadline, connecting).await);
    let socket = connected.map_err(|error| match &proxy {
        Some(proxy) => error.of_proxy(proxy),
        None => error,
    })?;
    let mut transport = Transport::plain(socket);
    // The empty send buffer of a new socket takes the PROXY header at once.
    if !policy.opening.is_empty()
        && let Err(error) = transport.socket.write_all(policy.opening).await
    {
        let failure = Failure::new(Reason::OriginReset).detail(error.to_string());
        return Err(CheckError::Origin(failure));
    }
    if let Some(tunnel) = &policy.tunnel {
        let target = target.to_string();
        tunnel
            .open(&target, &mut transport.socket, deadline)
            .await?;
    }
    negotiate(policy, origin, &mut transport, deadline).await?;
    Ok(transport)
}

/// Asks the origin to begin TLS, where it does so inside another protocol.
async fn negotiate(
    policy: &HealthPolicy,
    origin: &OriginStatus,
    transport: &mut Transport,
    deadline: Instant,
) -> Result<(), CheckError> {
    let Some(negotiate) = &policy.negotiate else {
        return Ok(());
    };
    let server = origin.definition.server_name.as_ref();
    let server = server.map(ServerName::to_str).unwrap_or_default();
    let begun = negotiate.with_origin(&server, &mut transport.socket, deadline);
    Ok(begun.await?)
}

/// Does the handshake. Beside a failure it returns whether a session was offered, which may be the cause.
async fn handshake(
    tls: &TlsConnector,
    origin: &OriginStatus,
    client: Option<&ServerName<'static>>,
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
        client_sni: client.cloned(),
        client_alpn: None,
    };
    let mut handshake = tls.begin(about, offer).map_err(|f| (refuse(f), false))?;
    let offered = handshake.take_offered();
    let is_offered = offered.is_some();
    let done = handshake.drive(transport, deadline).await;
    if let Some(offered) = offered {
        offered.settle(transport);
    }
    done.map_err(|refusal| (refusal, is_offered))
}

impl CheckError {
    /// The error of dialling the HTTP proxy in the place of the origin.
    fn of_proxy(mut self, proxy: &Address) -> Self {
        let (Self::Origin(failure) | Self::Local(failure)) = &mut self;
        let why = failure.detail.as_deref().unwrap_or("no answer in time");
        failure.detail = Some(format!("the HTTP proxy {proxy}: {why}"));
        self
    }
}

impl From<OriginRefusal> for CheckError {
    fn from(refusal: OriginRefusal) -> Self {
        match refusal.failure.reason.fault() {
            Some(Fault::Proxy) => Self::Local(refusal.failure),
            _ => Self::Origin(refusal.failure),
        }
    }
}

/// Sends the request and judges the response.
async fn exchange(
    transport: &mut Transport,
    request: &request::Request,
    origin: &OriginStatus,
) -> Verdict {
    let cut = |error: std::io::Error| Verdict::Fail(format!("no answer: {error}").into());
    if let Err(error) = transport.write_all(&request.head(&host_of(origin))).await {
        return cut(error);
    }
    let mut response = Vec::new();
    loop {
        match transport.read().await {
            Ok(bytes) if bytes.is_empty() => {
                return Verdict::Fail("the answer ended before its status".into());
            }
            Ok(bytes) => response.extend_from_slice(&bytes),
            Err(error) => return cut(error),
        }
        let verdict = match request::status(&response) {
            Ok(Some(status)) => request.judge(status),
            Ok(None) => continue,
            Err(why) => return Verdict::Fail(why),
        };
        return match &request.expect_body {
            Some(text) if verdict == Verdict::Pass => body(transport, response, text).await,
            _ => verdict,
        };
    }
}

/// Looks for a text in the body of a response, of which these bytes were read.
async fn body(transport: &mut Transport, mut response: Vec<u8>, text: &str) -> Verdict {
    let mut search = BodySearch::new(text);
    loop {
        if let Some(verdict) = search.take(&response) {
            return verdict;
        }
        response = match transport.read().await {
            Ok(bytes) if bytes.is_empty() => return search.end(),
            Ok(bytes) => bytes,
            Err(error) => return Verdict::Fail(format!("the answer was cut: {error}").into()),
        };
    }
}

/// Reads a whole greeting, and judges it.
async fn greeting_of(transport: &mut Transport, greeting: Greeting) -> Result<Verdict, Arc<str>> {
    let mut received = Vec::new();
    loop {
        match transport.read().await {
            Ok(bytes) if bytes.is_empty() => {
                return Err("the origin ended before its greeting".into());
            }
            Ok(bytes) => received.extend_from_slice(&bytes),
            Err(error) => return Err(format!("no greeting: {error}").into()),
        }
        if let Some(judged) = greeting.judge(&received) {
            return judged;
        }
    }
}

/// The value of `Host` if the request has none: the name that the origin's clients use.
fn host_of(origin: &OriginStatus) -> String {
    match (&origin.definition.server_name, &origin.definition.address) {
        (Some(ServerName::DnsName(name)), _) => name.as_ref().to_owned(),
        (_, Address::Host(host, port)) => format!("{host}:{port}"),
        _ => match &origin.address {
            Address::Ip(address) => address.to_string(),
            _ => "localhost".to_owned(),
        },
    }
}
