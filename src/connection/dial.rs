//! Dials origins: each attempt picks an origin, connects to it and, if the mode requires it, does a TLS
//! handshake. Attempts continue until one succeeds or a failure is final.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep, timeout_at};

use super::proxy_header::HeaderFacts;
use super::record::Recorder;
use crate::outcome::{Failure, Fault, Reason, Stage};
use crate::snapshot::{Live, Upstream};
use crate::tls::connector::{
    HandshakeParams, Offer, OriginRefusal, TlsConnector, after_resumption,
};
use crate::tls::info::TlsFacts;
use crate::transport::Transport;
use crate::upstream::{
    self, Address, OriginDefinition, OwnListeners, Pick, PickError, PickRequest, Pool, Slot,
    Upstreams, Waiting,
};

/// The parameters of a dial. Until it is connected, a connection uses the current upstream of its route:
/// pool, TLS policy and PROXY header together.
pub(super) struct Dial<'a> {
    /// The upstream in the snapshot that was current at accept, and the generation of that snapshot.
    pub(super) upstream: Arc<Upstream>,
    pub(super) generation: u64,
    pub(super) live: &'a Live,
    pub(super) upstreams: &'a Upstreams,
    /// The addresses this process listens on.
    pub(super) listeners: &'a OwnListeners,
    /// Whether the route's mode requires TLS to the origin.
    pub(super) is_tls: bool,
    /// The facts for a PROXY header.
    pub(super) facts: HeaderFacts<'a>,
    pub(super) client_sni: Option<ServerName<'static>>,
    pub(super) client_alpn: Option<Vec<u8>>,
    /// The deadline of all attempts together.
    pub(super) deadline: Instant,
}

/// Dials one origin after another. The next attempt follows a refusal, an unreachable address, a timeout,
/// or an end or reset during the handshake, while attempts and the deadline last. An alert and a
/// certificate that is not trusted are final. A failure that is the origin's fault counts against the
/// origin. No byte of the client has been sent yet.
pub(super) async fn dial(
    mut dial: Dial<'_>,
    record: &mut Recorder<'_>,
) -> Result<(Transport, Slot, Arc<Upstream>), Failure> {
    let mut request = PickRequest::new(dial.facts.source.map(|address| address.ip()));
    let mut last: Option<(Stage, u64, Failure)> = None;
    for _ in 0..dial.upstream.definition.connect.attempts {
        let (pool, mut pick) = match dial.pick(&request, record).await {
            Ok(picked) => picked,
            Err((stage, failure)) => {
                // An earlier attempt's failure says more than the lack of an origin.
                let last = last.map(|(stage, _, failure)| (stage, failure));
                let (stage, failure) = last.unwrap_or((stage, failure));
                record.enter(stage);
                return Err(failure);
            }
        };
        if let Some((stage, id, failure)) = &last
            && failure.reason == Reason::LocalPortsExhausted
            && pick.slot.origin_id() == *id
        {
            // A port to the same address does not become free within moments.
            record.enter(*stage);
            break;
        }
        match dial.attempt(&pool, &mut request, &mut pick, record).await {
            Ok(transport) => {
                pick.slot.succeeded(dial.client_server_name());
                return Ok((transport, pick.slot, dial.upstream));
            }
            Err(refusal) => {
                dial.note_failure(&pick, &refusal, record.stage());
                if !refusal.may_retry || Instant::now() >= dial.deadline {
                    return Err(refusal.failure);
                }
                request.tried(pick.slot.origin_id());
                last = Some((record.stage(), pick.slot.origin_id(), refusal.failure));
            }
        }
    }
    Err(last.map_or_else(
        || Reason::OriginConnectTimeout.into(),
        |(_, _, failure)| failure,
    ))
}

impl Dial<'_> {
    /// Picks the origin of the next attempt, and returns the pool it is from. Waits while a name is not
    /// resolved or all origins are full.
    async fn pick(
        &mut self,
        request: &PickRequest,
        record: &mut Recorder<'_>,
    ) -> Result<(Arc<Pool>, Pick), (Stage, Failure)> {
        loop {
            let name = Arc::clone(&self.upstream.definition.name);
            let Some(pool) = self.upstreams.pool(&name) else {
                let failure = Failure::new(Reason::NoOrigin);
                let failure = failure.detail("the upstream left the configuration");
                return Err((Stage::Connect, failure));
            };
            let mut waits = None;
            let acquiring = pool.acquire(request, |wait| {
                waits = Some(wait);
                record.enter(match wait {
                    Waiting::Resolver => Stage::Resolve,
                    Waiting::Slot => Stage::Queue,
                });
            });
            let acquired = timeout_at(self.deadline, acquiring).await;
            let pick = acquired.unwrap_or(Err(match waits {
                Some(Waiting::Slot) => PickError::QueueTimeout,
                Some(Waiting::Resolver) | None => PickError::Unresolved,
            }));
            let pick = pick.map_err(explain)?;
            if self.is_current(&pick) {
                return Ok((pool, pick));
            }
            // A reload has changed the pool and is about to swap the snapshot. An origin of the new pool
            // must not be dialled under the old TLS policy.
            drop(pick);
            tokio::task::yield_now().await;
        }
    }

    /// Updates `upstream` to the current snapshot, and returns whether `pick` is of the same definition.
    fn is_current(&mut self, pick: &Pick) -> bool {
        let snapshot = self.live.load();
        if snapshot.generation != self.generation {
            self.generation = snapshot.generation;
            if let Some(current) = snapshot.upstream(&self.upstream.definition.name) {
                self.upstream = Arc::clone(current);
            }
        }
        Arc::ptr_eq(&self.upstream.definition, &pick.upstream)
    }

    /// The TLS connector, if the mode requires TLS. If a reload has removed TLS from the upstream, the
    /// connection is refused, because nothing may be sent in the clear.
    fn tls(&self) -> Result<Option<&TlsConnector>, OriginRefusal> {
        match (&self.upstream.tls, self.is_tls) {
            (Some(tls), true) => Ok(Some(tls)),
            (_, false) => Ok(None),
            (None, true) => Err(OriginRefusal {
                failure: Failure::new(Reason::NoOrigin)
                    .detail("a reload removed `tls` from the upstream"),
                may_retry: false,
            }),
        }
    }

    /// Makes one attempt. `picked` may end at another address than it began with.
    async fn attempt(
        &self,
        pool: &Arc<Pool>,
        request: &mut PickRequest,
        picked: &mut Pick,
        record: &mut Recorder<'_>,
    ) -> Result<Transport, OriginRefusal> {
        record.enter(Stage::Connect);
        // Compose the header before connecting, so that an error costs the origin no connection.
        let (tls, header) = (self.tls()?, self.header()?);
        record.origin(&picked.origin, Some(&picked.address));
        if picked.again {
            self.pause(upstream::RETRY_PAUSE).await;
        }
        let deadline = self
            .deadline
            .min(Instant::now() + self.upstream.definition.connect.timeout);
        let connected = self.connect_to_one(pool, request, picked, deadline).await;
        record.origin(&picked.origin, Some(&picked.address));
        let mut transport = connected?;
        let header = header.as_deref();
        greet(&mut transport, header, picked, deadline, record).await?;
        let Some(tls) = tls else {
            return Ok(transport);
        };
        record.enter(Stage::OriginTls);
        match self
            .handshake(tls, picked, &mut transport, deadline, Offer::Session)
            .await
        {
            Ok(()) => {}
            Err(FailedHandshake {
                refusal,
                offered: false,
            }) => return Err(refusal),
            Err(FailedHandshake { refusal: first, .. }) => {
                drop(transport);
                transport = self
                    .handshake_in_full(tls, header, picked, record, &first.failure)
                    .await?;
            }
        }
        if let Some(tls) = &transport.tls {
            record.origin_tls(TlsFacts::of(tls.facts()));
        }
        Ok(transport)
    }

    /// Connects again and does a full handshake, within the same attempt. A healthy origin may answer every
    /// offered session with an alert: servers on OpenSSL do so if they request client certificates and set
    /// no session id context.
    async fn handshake_in_full(
        &self,
        tls: &TlsConnector,
        header: Option<&[u8]>,
        picked: &Pick,
        record: &mut Recorder<'_>,
        first: &Failure,
    ) -> Result<Transport, OriginRefusal> {
        let deadline = self
            .deadline
            .min(Instant::now() + self.upstream.definition.connect.timeout);
        let connected = async {
            record.enter(Stage::Connect);
            let mut transport = self
                .connect(&picked.origin, picked.address.clone(), deadline)
                .await?;
            greet(&mut transport, header, picked, deadline, record).await?;
            record.enter(Stage::OriginTls);
            let done = self.handshake(tls, picked, &mut transport, deadline, Offer::Nothing);
            done.await.map_err(|failed| failed.refusal)?;
            Ok(transport)
        };
        connected
            .await
            .map_err(|refusal| after_resumption(refusal, first))
    }

    /// The PROXY header, if the upstream sends one.
    fn header(&self) -> Result<Option<Vec<u8>>, OriginRefusal> {
        let header = self.upstream.send_proxy_protocol;
        let header = header.map(|version| self.facts.header(version));
        header.transpose().map_err(|failure| OriginRefusal {
            failure,
            may_retry: false,
        })
    }

    /// The server name sent to the origin, if it is the client's.
    fn client_server_name(&self) -> Option<&ServerName<'static>> {
        let tls = self.upstream.tls.as_deref().filter(|_| self.is_tls);
        let by_name = tls.is_some_and(TlsConnector::sends_client_name);
        self.client_sni.as_ref().filter(|_| by_name)
    }

    /// Counts a failure against the origin if it is the origin's fault. A failure that a client can cause
    /// is not counted, so that no client can get origins ejected. After the client's name was sent, an
    /// alert may be the origin's response to that name; so may an end, a reset or a timeout, if the origin
    /// has never served that name.
    pub(super) fn note_failure(&self, picked: &Pick, refusal: &OriginRefusal, stage: Stage) {
        let reason = refusal.failure.reason;
        let sent = self
            .client_server_name()
            .filter(|_| stage == Stage::OriginTls);
        let by_client = sent.is_some_and(|name| !refusal.may_retry || !picked.slot.serves(name));
        if reason.fault() == Some(Fault::Origin) && reason != Reason::OriginAlpn && !by_client {
            picked.slot.failed();
        }
    }

    /// Sleeps, but not beyond the deadline.
    async fn pause(&self, pause: Duration) {
        sleep(pause.min(self.deadline.saturating_duration_since(Instant::now()))).await;
    }

    pub(super) async fn connect(
        &self,
        origin: &OriginDefinition,
        address: Address,
        deadline: Instant,
    ) -> Result<Transport, OriginRefusal> {
        if self.listeners.lead_back(&origin.address, &address) {
            let failure = Failure::new(Reason::OriginLoop);
            return Err(retry(
                failure.detail(format!("this process listens at {address}")),
            ));
        }
        let connect = &self.upstream.definition.connect;
        let connecting =
            upstream::connect(&address, &self.upstream.definition.tcp, &connect.sources);
        match timeout_at(deadline, connecting).await {
            Ok(Ok(socket)) => Ok(Transport::plain(socket)),
            Ok(Err(error)) => {
                let reason = upstream::reason_for(&error);
                Err(OriginRefusal {
                    failure: Failure::new(reason).detail(format!("{address}: {error}")),
                    // A local shortage would fail the next origin, too, except for ports and routes, which
                    // differ by destination.
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
        picked: &Pick,
        transport: &mut Transport,
        deadline: Instant,
        offer: Offer,
    ) -> Result<(), FailedHandshake> {
        let last = |refusal| FailedHandshake {
            refusal,
            offered: false,
        };
        let give_up = |failure| {
            last(OriginRefusal {
                failure,
                may_retry: false,
            })
        };
        // The configuration guarantees a server name for every TLS origin. Without one nothing is sent.
        let Some(name) = &picked.origin.server_name else {
            return Err(give_up(Reason::OriginTlsName.into()));
        };
        let about = HandshakeParams {
            origin: picked.slot.origin_id(),
            name,
            client_sni: self.client_sni.clone(),
            client_alpn: self.client_alpn.clone(),
        };
        let mut handshake = tls.begin(about, offer).map_err(give_up)?;
        let offered = handshake.take_offered();
        let was_offered = offered.is_some();
        // If the client disconnects, the handshake is dropped here.
        let done = timeout_at(deadline, handshake.drive(transport)).await;
        if let Some(offered) = offered {
            offered.settle(transport);
        }
        done.unwrap_or_else(|_| Err(retry(Reason::OriginTlsTimeout.into())))
            .map_err(|refusal| FailedHandshake {
                refusal,
                offered: was_offered,
            })
    }
}

/// A failed handshake.
struct FailedHandshake {
    refusal: OriginRefusal,
    /// Whether a session was offered, which may have caused the failure.
    offered: bool,
}

/// Records our local address, and sends the PROXY header if there is one.
async fn greet(
    transport: &mut Transport,
    header: Option<&[u8]>,
    picked: &Pick,
    deadline: Instant,
    record: &mut Recorder<'_>,
) -> Result<(), OriginRefusal> {
    record.origin_local(&transport.socket);
    match header {
        Some(header) => send_proxy_header(transport, header, &picked.address, deadline).await,
        None => Ok(()),
    }
}

/// Sends the PROXY header. If that fails, the attempt fails like a refused connection.
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

/// The stage and failure of a connection that got no origin.
fn explain(error: PickError) -> (Stage, Failure) {
    match error {
        PickError::NoOrigin => (Stage::Connect, Reason::NoOrigin.into()),
        PickError::Full | PickError::QueueTimeout => (Stage::Queue, Reason::QueueTimeout.into()),
        PickError::QueueFull => (Stage::Queue, Reason::QueueFull.into()),
        PickError::Unresolved => {
            let failure = Failure::new(Reason::OriginResolve);
            (
                Stage::Resolve,
                failure.detail("the resolver has not answered yet"),
            )
        }
        PickError::Unresolvable(why) => {
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

    /// P07: a header that cannot be written fails the attempt, and no byte is sent without it.
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
