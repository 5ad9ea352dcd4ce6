//! Dials origins: each attempt picks an origin, connects to it and, if the mode requires it, does a TLS
//! handshake. Attempts continue until one succeeds or a failure is final.

mod attempt;
mod happy_eyeballs;

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep, timeout_at};

use super::proxy_header::HeaderFacts;
use super::record::Recorder;
use crate::negotiate;
use crate::outcome::{Failure, Fault, OriginRefusal, Reason, Stage};
use crate::snapshot::{Live, Upstream};
use crate::tls::connector::{self, TlsConnector};
use crate::transport::Transport;
use crate::upstream::{
    NoPool, OriginStatus, OwnListeners, Pick, PickError, PickRequest, Pool, Slot, Upstreams,
    Waiting,
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
    /// Whether it requires TLS, ours or the client's own.
    pub(super) is_sealed: bool,
    /// The labels of the client's name that the origin's address is made of, if it is made of any.
    pub(super) labels: Option<&'a str>,
    /// The protocol in which the client's TLS began, if it began inside one.
    pub(super) client_negotiated: Option<negotiate::Protocol>,
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
                let failure = &refusal.failure;
                record.attempt_failed(&pick.origin, &pick.address, failure, refusal.may_retry);
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
            let pool = self.pool().map_err(|failure| (Stage::Connect, failure))?;
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
            let pick = pick.map_err(|error| explain(error, &pool))?;
            if self.is_current(&pick) {
                return Ok((pool, pick));
            }
            // A reload has changed the pool and is about to swap the snapshot. An origin of the new pool
            // must not be dialled under the old TLS policy.
            drop(pick);
            tokio::task::yield_now().await;
        }
    }

    /// The pool of the upstream; the one for the client's name, if its addresses are made of that.
    fn pool(&self) -> Result<Arc<Pool>, Failure> {
        let definition = &self.upstream.definition;
        let pool = match (definition.is_template(), self.labels) {
            (false, _) => self.upstreams.pool(&definition.name).ok_or(NoPool::Left),
            (true, Some(labels)) => self.upstreams.pool_for(&definition.name, labels),
            (true, None) => Err(NoPool::Unusable),
        };
        pool.map_err(|why| {
            Failure::new(Reason::NoOrigin).detail(match why {
                NoPool::Left => "the upstream left the configuration",
                NoPool::Unusable => "a reload made the addresses of the upstream of other names",
                NoPool::Full => "too many names of clients wait for an answer of the resolver",
            })
        })
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
        Arc::ptr_eq(&self.upstream.definition, pick.upstream.configured())
    }

    /// The TLS connector, if the mode requires TLS. If a reload has removed TLS from the upstream, the
    /// connection is refused, because nothing may be sent in the clear.
    fn tls(&self) -> Result<Option<&TlsConnector>, OriginRefusal> {
        match (&self.upstream.tls, self.is_tls) {
            // The origin is not dialled in vain.
            (Some(tls), true) if tls.awaits_certificate() => Err(OriginRefusal {
                failure: connector::awaited(),
                may_retry: false,
            }),
            (Some(tls), true) => Ok(Some(tls)),
            (_, false) => Ok(None),
            (None, true) => Err(OriginRefusal {
                failure: Failure::new(Reason::NoOrigin)
                    .detail("a reload removed `tls` from the upstream"),
                may_retry: false,
            }),
        }
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
    fn note_failure(&self, picked: &Pick, refusal: &OriginRefusal, stage: Stage) {
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
}

/// How many origins a detail names.
const NAMED_MAX: usize = 4;

/// Why each origin was not taken.
fn not_taken(origins: &[OriginStatus]) -> String {
    let named = origins.iter().take(NAMED_MAX).map(|origin| {
        // It may have changed since.
        let why = origin.unusable();
        let why = why.unwrap_or_else(|| "usable again".to_owned());
        format!("{}: {why}", origin.definition.name)
    });
    let mut named: Vec<_> = named.collect();
    if let Some(more @ 1..) = origins.len().checked_sub(NAMED_MAX) {
        named.push(format!("and {more} more"));
    }
    if named.is_empty() {
        return "the upstream has no origin".to_owned();
    }
    named.join("; ")
}

/// The stage and failure of a connection that got no origin.
fn explain(error: PickError, pool: &Pool) -> (Stage, Failure) {
    match error {
        PickError::NoOrigin => {
            let failure = Failure::new(Reason::NoOrigin);
            (Stage::Connect, failure.detail(not_taken(&pool.status())))
        }
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
