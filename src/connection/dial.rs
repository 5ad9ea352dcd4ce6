//! Reaching an origin: attempts in turn, each at an origin that is chosen, connected and, where the
//! mode says so, sealed, until one stands or a failure is final.

use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::record::Recorder;
use crate::outcome::{Failure, Fault, Reason, Stage};
use crate::tls::connector::{
    HandshakeParams, Offer, OriginRefusal, TlsConnector, after_resumption,
};
use crate::tls::info::TlsFacts;
use crate::transport::Transport;
use crate::upstream::{
    self, Address, Ask, Group, Held, Origin, Origins, OwnListeners, Picked, Unpicked,
};

/// How long one address has before another one of the same name is tried beside it (RFC 8305).
const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// What is to be reached, and how.
pub(super) struct Dial<'a> {
    pub(super) origins: &'a Origins,
    /// Where this process listens.
    pub(super) listeners: &'a OwnListeners,
    /// The PROXY header that comes before all else, if one is sent.
    pub(super) header: Option<&'a [u8]>,
    pub(super) tls: Option<&'a TlsConnector>,
    /// The client's address, if it has one.
    pub(super) source: Option<IpAddr>,
    pub(super) client_sni: Option<ServerName<'static>>,
    pub(super) client_alpn: Option<Vec<u8>>,
    /// When all of it must be done.
    pub(super) deadline: Instant,
}

/// Dials one origin after the other. A refusal, an unreachable address, a timeout, or an end or reset
/// in the handshake is followed by the next attempt, while attempts and the deadline last; an alert,
/// and a failure of trust or name, is final. Each failure that is the origin's fault is told of it. No
/// byte of the client has been sent yet.
pub(super) async fn dial(
    dial: Dial<'_>,
    record: &mut Recorder<'_>,
) -> Result<(Transport, Held), Failure> {
    // A connection is born with a configuration only after its origins were taken in.
    let Some(group) = dial.origins.group.get() else {
        return Err(Reason::NoOrigin.into());
    };
    let mut ask = Ask::new(dial.source);
    let mut last: Option<(Stage, u64, Failure)> = None;
    for _ in 0..dial.origins.connect.attempts {
        let mut picked = match dial.pick(group, &ask, record).await {
            Ok(picked) => picked,
            Err((stage, failure)) => {
                // What became of the origins that there were says more.
                let last = last.map(|(stage, _, failure)| (stage, failure));
                let (stage, failure) = last.unwrap_or((stage, failure));
                record.enter(stage);
                return Err(failure);
            }
        };
        if let Some((stage, id, failure)) = &last
            && failure.reason == Reason::LocalPortsExhausted
            && picked.held.state().id() == *id
        {
            // Towards the same address, a moment does not give one back.
            record.enter(*stage);
            break;
        }
        match dial.attempt(group, &mut ask, &mut picked, record).await {
            Ok(transport) => {
                group.succeeded(&picked.held, dial.asked_name());
                return Ok((transport, picked.held));
            }
            Err(refusal) => {
                dial.note_failure(group, &picked, &refusal, record.stage());
                if !refusal.may_retry || Instant::now() >= dial.deadline {
                    return Err(refusal.failure);
                }
                let state = picked.held.state();
                last = Some((record.stage(), state.id(), refusal.failure));
                ask.tried(state);
            }
        }
    }
    Err(last.map_or_else(
        || Reason::OriginConnectTimeout.into(),
        |(_, _, failure)| failure,
    ))
}

impl Dial<'_> {
    /// The origin of the next attempt, at once unless a name has no answer yet, or all are full.
    async fn pick(
        &self,
        group: &Arc<Group>,
        ask: &Ask,
        record: &mut Recorder<'_>,
    ) -> Result<Picked, (Stage, Failure)> {
        let mut picked = group.pick(ask);
        if picked.as_ref().is_err_and(|u| *u == Unpicked::Unresolved) {
            record.enter(Stage::Resolve);
            picked = timeout_at(self.deadline, group.resolved(ask))
                .await
                .unwrap_or(Err(Unpicked::Unresolved));
        }
        if picked.as_ref().is_err_and(|u| *u == Unpicked::Full) {
            record.enter(Stage::Queue);
            picked = timeout_at(self.deadline, group.queue(ask.clone()))
                .await
                .unwrap_or(Err(Unpicked::QueueTimeout));
        }
        picked.map_err(explain)
    }

    /// One attempt. The origin that it ends with may be at another address than it began with.
    async fn attempt(
        &self,
        group: &Arc<Group>,
        ask: &mut Ask,
        picked: &mut Picked,
        record: &mut Recorder<'_>,
    ) -> Result<Transport, OriginRefusal> {
        record.enter(Stage::Connect);
        record.origin(&picked.origin, Some(&picked.address));
        if picked.again {
            self.pause(upstream::RETRY_PAUSE).await;
        }
        let deadline = self
            .deadline
            .min(Instant::now() + self.origins.connect.timeout);
        let connected = self.happy_eyeballs(group, ask, picked, deadline).await;
        record.origin(&picked.origin, Some(&picked.address));
        let mut transport = connected?;
        self.greet(&mut transport, picked, deadline, record).await?;
        let Some(tls) = self.tls else {
            return Ok(transport);
        };
        record.enter(Stage::OriginTls);
        match self
            .handshake(tls, picked, &mut transport, deadline, Offer::Session)
            .await
        {
            Ok(()) => {}
            Err(Unsealed {
                refusal,
                offered: false,
            }) => return Err(refusal),
            Err(Unsealed { refusal: first, .. }) => {
                drop(transport);
                transport = self
                    .seal_in_full(tls, picked, record, &first.failure)
                    .await?;
            }
        }
        if let Some(tls) = &transport.tls {
            record.origin_tls(TlsFacts::of(tls.facts()));
        }
        Ok(transport)
    }

    /// Connects once more and does a full handshake, within the same attempt: an origin may be well and
    /// answer every session that it is offered with an alert, as servers on OpenSSL do that ask for
    /// certificates and set no session id context.
    async fn seal_in_full(
        &self,
        tls: &TlsConnector,
        picked: &Picked,
        record: &mut Recorder<'_>,
        first: &Failure,
    ) -> Result<Transport, OriginRefusal> {
        let deadline = self
            .deadline
            .min(Instant::now() + self.origins.connect.timeout);
        let sealed = async {
            record.enter(Stage::Connect);
            let mut transport = self
                .connect(&picked.origin, &picked.address, deadline)
                .await?;
            self.greet(&mut transport, picked, deadline, record).await?;
            record.enter(Stage::OriginTls);
            let sealed = self.handshake(tls, picked, &mut transport, deadline, Offer::Nothing);
            sealed.await.map_err(|unsealed| unsealed.refusal)?;
            Ok(transport)
        };
        sealed
            .await
            .map_err(|refusal| after_resumption(refusal, first))
    }

    /// Notes where a connection comes from, and sends the PROXY header if there is one.
    async fn greet(
        &self,
        transport: &mut Transport,
        picked: &Picked,
        deadline: Instant,
        record: &mut Recorder<'_>,
    ) -> Result<(), OriginRefusal> {
        record.origin_local(&transport.socket);
        match self.header {
            Some(header) => send_proxy_header(transport, header, &picked.address, deadline).await,
            None => Ok(()),
        }
    }

    /// Connects to `picked`, and when that takes long and its name has another address, to that one as
    /// well: whichever is connected first (RFC 8305), and it is in `picked` then.
    async fn happy_eyeballs(
        &self,
        group: &Arc<Group>,
        ask: &mut Ask,
        picked: &mut Picked,
        deadline: Instant,
    ) -> Result<Transport, OriginRefusal> {
        let (origin, address) = (Arc::clone(&picked.origin), picked.address.clone());
        let mut first = pin!(self.connect(&origin, &address, deadline));
        if let Ok(connected) = timeout(CONNECTION_ATTEMPT_DELAY, &mut first).await {
            return connected;
        }
        let Some(mut other) = group.sibling(ask, picked) else {
            return first.await;
        };
        let address = other.address.clone();
        let mut second = pin!(self.connect(&origin, &address, deadline));
        let (connected, is_first) = tokio::select! {
            connected = &mut first => (connected, true),
            connected = &mut second => (connected, false),
        };
        if !is_first {
            std::mem::swap(picked, &mut other);
        }
        let Err(refusal) = connected else {
            return connected;
        };
        self.note_failure(group, picked, &refusal, Stage::Connect);
        ask.tried(picked.held.state());
        std::mem::swap(picked, &mut other);
        if is_first { second.await } else { first.await }
    }

    /// The name that origins are asked for, where it is the client's.
    fn asked_name(&self) -> Option<&ServerName<'static>> {
        let by_name = self.tls.is_some_and(TlsConnector::sends_client_name);
        self.client_sni.as_ref().filter(|_| by_name)
    }

    /// Counts a failure against the origin if it is its fault, and none that a client could bring
    /// about: nobody may have origins ejected by what they ask for.
    /// What an origin does once it was asked for a name of the client's may be its answer to that
    /// name: an alert, and for a name that it has never served an end, a reset or silence as well.
    fn note_failure(&self, group: &Group, picked: &Picked, refusal: &OriginRefusal, stage: Stage) {
        let reason = refusal.failure.reason;
        let asked = self.asked_name().filter(|_| stage == Stage::OriginTls);
        let by_client =
            asked.is_some_and(|name| !refusal.may_retry || !picked.held.state().serves(name));
        if reason.fault() == Some(Fault::Origin) && reason != Reason::OriginAlpn && !by_client {
            group.failed(&picked.origin, &picked.held);
        }
    }

    /// Waits, but not beyond the deadline.
    async fn pause(&self, pause: Duration) {
        sleep(pause.min(self.deadline.saturating_duration_since(Instant::now()))).await;
    }

    async fn connect(
        &self,
        origin: &Origin,
        address: &Address,
        deadline: Instant,
    ) -> Result<Transport, OriginRefusal> {
        if self.listeners.lead_back(&origin.address, address) {
            let failure = Failure::new(Reason::OriginLoop);
            return Err(retry(
                failure.detail(format!("this process listens at {address}")),
            ));
        }
        let connect = &self.origins.connect;
        let connecting = upstream::connect(address, &self.origins.tcp, &connect.sources);
        match timeout_at(deadline, connecting).await {
            Ok(Ok(socket)) => Ok(Transport::plain(socket)),
            Ok(Err(error)) => {
                let reason = upstream::reason_for(&error);
                Err(OriginRefusal {
                    failure: Failure::new(reason).detail(format!("{address}: {error}")),
                    // What this machine lacks, it lacks for the next origin, too, but for ports: one is
                    // taken towards one address only, and so is a way to a family of addresses.
                    may_retry: reason != Reason::LocalDescriptors,
                })
            }
            Err(_) => Err(retry(
                Failure::new(Reason::OriginConnectTimeout).detail(address.to_string()),
            )),
        }
    }

    async fn handshake(
        &self,
        tls: &TlsConnector,
        picked: &Picked,
        transport: &mut Transport,
        deadline: Instant,
        offer: Offer,
    ) -> Result<(), Unsealed> {
        let last = |refusal| Unsealed {
            refusal,
            offered: false,
        };
        let give_up = |failure| {
            last(OriginRefusal {
                failure,
                may_retry: false,
            })
        };
        // The configuration gives every origin that is spoken to in TLS a name; without one, nothing
        // may be sent at all.
        let Some(name) = &picked.origin.server_name else {
            return Err(give_up(Reason::OriginTlsName.into()));
        };
        let about = HandshakeParams {
            origin: picked.held.state().id(),
            name,
            client_sni: self.client_sni.clone(),
            client_alpn: self.client_alpn.clone(),
        };
        let handshake = tls.begin(about, offer).map_err(give_up)?;
        let offered = handshake.offers_session();
        timeout_at(deadline, handshake.drive(transport))
            .await
            .unwrap_or_else(|_| Err(retry(Reason::OriginTlsTimeout.into())))
            .map_err(|refusal| Unsealed { refusal, offered })
    }
}

/// A handshake that failed.
struct Unsealed {
    refusal: OriginRefusal,
    /// Whether a session was offered, and may be why.
    offered: bool,
}

/// Sends the PROXY header. An origin that does not take it is like one that is not there.
async fn send_proxy_header(
    transport: &mut Transport,
    header: &[u8],
    address: &Address,
    deadline: Instant,
) -> Result<(), OriginRefusal> {
    let sent = timeout_at(deadline, transport.socket.write_all(header)).await;
    sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|e| retry(Failure::new(Reason::ProxyHeaderOut).detail(format!("{address}: {e}"))))
}

/// The stage and the reason under which a connection without an origin ends.
fn explain(unpicked: Unpicked) -> (Stage, Failure) {
    match unpicked {
        Unpicked::NoOrigin => (Stage::Connect, Reason::NoOrigin.into()),
        Unpicked::Full | Unpicked::QueueTimeout => (Stage::Queue, Reason::QueueTimeout.into()),
        Unpicked::QueueFull => (Stage::Queue, Reason::QueueFull.into()),
        Unpicked::Unresolved => {
            let failure = Failure::new(Reason::OriginResolve);
            (
                Stage::Resolve,
                failure.detail("the resolver has not answered yet"),
            )
        }
        Unpicked::Unresolvable(why) => {
            let failure = Failure::new(Reason::OriginResolve);
            (Stage::Resolve, failure.detail(&*why))
        }
    }
}

fn retry(failure: Failure) -> OriginRefusal {
    OriginRefusal {
        failure,
        may_retry: true,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// P07: a header that cannot be written fails the attempt, and no byte goes on without it.
    #[tokio::test]
    async fn a_header_that_cannot_be_written_fails_the_attempt() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        let stream = TcpStream::connect(place).await.unwrap();
        let mut transport = Transport::plain(stream.into());
        transport.socket.shutdown_write();
        let deadline = Instant::now() + Duration::from_secs(10);
        let refusal = send_proxy_header(
            &mut transport,
            b"PROXY UNKNOWN\r\n",
            &Address::Ip(place),
            deadline,
        )
        .await
        .unwrap_err();
        assert_eq!(refusal.failure.reason, Reason::ProxyHeaderOut);
        assert!(refusal.may_retry);
        let detail = refusal.failure.detail.unwrap();
        assert!(detail.starts_with(&place.to_string()), "{detail}");
    }
}
