//! One connection, from accept to its one outcome.
//!
//! [`run`] is the whole life and the only place where an ending is logged and counted; [`Journey::establish`] is
//! the straight line of stages. Stages return values and know nothing of each other; what one needs
//! of another passes through here.

pub mod decision;
mod dial;
mod identity;
mod record;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout_at};

pub use self::identity::Identity;
pub use self::record::Facts;
use self::record::Recorder;
use crate::admission::Permit;
use crate::leg::{Leg, Socket};
use crate::lifecycle::{self, Leash, Phases, Register};
use crate::name::Name;
use crate::observe::access_log::{AccessLog, Client};
use crate::observe::metrics::Shard;
use crate::outcome::{Failure, Farewell, Reason, Stage};
use crate::relay::{Limits, Relay, RelayEnd, Side};
use crate::route::Arrival;
use crate::snapshot::{Endpoint, Mode, Protocol, Route};
use crate::tls::blame;
use crate::tls::facts::{CertificateFacts, TlsFacts};
use crate::tls::hello::{self, Hello};
use crate::upstream::Resolver;

/// What every connection of a worker shares.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Looks names up.
    pub resolver: Resolver,
    /// Takes the records.
    pub access_log: AccessLog,
    /// Where this worker counts.
    pub counters: Arc<Shard>,
    /// The phases of the process.
    pub phases: Phases,
    /// Where established connections are entered.
    pub register: Arc<Register<Facts>>,
}

impl Surroundings {
    fn recorder(
        &self,
        client: Client,
        local: Option<SocketAddr>,
        endpoint: &Endpoint,
        at: Instant,
    ) -> Recorder<'_> {
        let counts = self.counters.endpoint(&endpoint.name);
        Recorder::new(&self.access_log, counts, client, local, endpoint, at)
    }
}

/// A connection that was just accepted.
#[derive(Debug)]
pub struct Accepted {
    /// Its socket.
    pub socket: Socket,
    /// The client's address; a unix client has none.
    pub client: Option<SocketAddr>,
    /// The endpoint of the snapshot it was born with.
    pub endpoint: Arc<Endpoint>,
    /// The generation of that snapshot.
    pub generation: u64,
    /// Its right to exist.
    pub permit: Permit,
    /// When it was accepted.
    pub at: Instant,
}

/// Serves one connection to its end and records its outcome, exactly once. `_place` is held for as
/// long as that takes.
pub async fn run(accepted: Accepted, around: Arc<Surroundings>, _place: impl Send) {
    let Accepted {
        socket,
        client: source,
        endpoint,
        generation,
        permit,
        at,
    } = accepted;
    let mut phases = around.phases.clone();
    let who = source.map_or_else(|| Client::Unix(socket.peer_user()), Client::Ip);
    let local = around
        .access_log
        .is_open()
        .then(|| socket.local())
        .flatten();
    let mut client = Leg::plain(socket);
    let mut journey = Journey {
        permit,
        record: around.recorder(who, local, &endpoint, at),
        endpoint: &endpoint,
        resolver: &around.resolver,
        source,
        at,
    };
    let established = tokio::select! {
        biased;
        () = lifecycle::cut(&mut phases) => Err(Failure::new(Reason::Drain).farewell(Farewell::Reset)),
        // In a box of its own, which an established connection does not carry along.
        established = Box::pin(journey.establish(&mut client)) => established,
    };
    match established {
        Ok((route, origin)) => {
            journey.opened(&client, &route, &around.register, generation);
            let relay = journey.relay(client, origin, &route);
            // Its limits are all that the relay needs of the route.
            drop(route);
            let unbound = Leash::new();
            let leash = journey.record.leash().unwrap_or(&unbound);
            let (end, teardown) = relay.run(leash).await;
            journey.end_relay(&end);
            if let Some(teardown) = teardown {
                Box::pin(teardown.run(&mut phases)).await;
            }
        }
        Err(failure) => {
            journey.record.end(failure.reason, failure.detail);
            journey.permit.handshake_done();
            Box::pin(client.socket.refuse(failure.farewell)).await;
        }
    }
}

/// Records a connection whose socket was lost right after it was accepted.
pub fn lost(
    client: Option<SocketAddr>,
    endpoint: &Endpoint,
    at: Instant,
    error: &std::io::Error,
    around: &Surroundings,
) {
    let client = client.map_or(Client::Unix(None), Client::Ip);
    let mut record = around.recorder(client, None, endpoint, at);
    record.end(Reason::LocalDescriptors, Some(error.to_string()));
}

struct Journey<'a> {
    permit: Permit,
    record: Recorder<'a>,
    endpoint: &'a Endpoint,
    resolver: &'a Resolver,
    source: Option<SocketAddr>,
    at: Instant,
}

impl Journey<'_> {
    /// The stages before the relay, in order. Every wait is under an absolute deadline.
    async fn establish(&mut self, client: &mut Leg) -> Result<(Arc<Route>, Leg), Failure> {
        let hello = self.hello(client).await?;
        let name = self.name(&hello)?;
        let route = self.route(&hello, name.as_ref())?;
        self.client_tls(client, hello, &route).await?;
        // A slow origin must not keep other clients from their handshakes.
        self.permit.handshake_done();
        let origin = self.origin(&route, name.as_ref(), client).await?;
        Ok((route, origin))
    }

    async fn hello(&mut self, client: &mut Leg) -> Result<Hello, Failure> {
        match self.endpoint.protocol {
            Protocol::Tcp => Ok(Hello::default()),
            Protocol::Tls => {
                self.record.enter(Stage::Hello);
                let reading = hello::read(&mut client.socket);
                before(
                    self.at,
                    self.endpoint.hello_timeout,
                    Reason::HelloTimeout,
                    reading,
                )
                .await
            }
        }
    }

    fn name(&mut self, hello: &Hello) -> Result<Option<Name>, Failure> {
        if let Some(sent) = &hello.server_name {
            self.record.sni(sent);
        }
        let name = decision::name(hello.server_name.as_deref())?;
        if let Some(name) = &name {
            self.record.sni(name.as_str());
        }
        Ok(name)
    }

    fn route(&mut self, hello: &Hello, name: Option<&Name>) -> Result<Arc<Route>, Failure> {
        self.record.enter(Stage::Route);
        let arrival = Arrival {
            name,
            alpn: &hello.alpn,
            source: self.source.map(|address| address.ip()),
        };
        let route = decision::route(self.endpoint, &arrival)?;
        self.record.route(route);
        Ok(Arc::clone(route))
    }

    /// The client's handshake, where its TLS ends here; else the bytes that it has sent go on as
    /// they are.
    async fn client_tls(
        &mut self,
        client: &mut Leg,
        hello: Hello,
        route: &Route,
    ) -> Result<(), Failure> {
        let Some(side) = route.mode.server_side() else {
            client.unread = hello.bytes;
            return Ok(());
        };
        self.record.enter(Stage::ClientTls);
        let mut presented = None;
        let handshake = side.accept(client, &hello, &mut presented);
        let done = before(
            self.at,
            route.client_timeout,
            Reason::ClientTlsTimeout,
            handshake,
        )
        .await;
        self.record
            .client_cert(presented.as_ref().map(CertificateFacts::of));
        if let Some(seal) = &client.seal {
            self.record.client_tls(TlsFacts::of(seal.facts()));
        }
        done
    }

    /// A connection to an origin, sealed where the mode says so.
    async fn origin(
        &mut self,
        route: &Route,
        name: Option<&Name>,
        client: &Leg,
    ) -> Result<Leg, Failure> {
        let tls = match route.mode {
            Mode::Reencrypt(_) | Mode::Originate => route.upstream.tls.as_ref(),
            Mode::Passthrough | Mode::Terminate(_) | Mode::Forward => None,
        };
        let call = dial::Call {
            origins: &route.upstream.origins,
            tls,
            resolver: self.resolver,
            client_sni: name
                .filter(|_| route.named)
                .and_then(|name| ServerName::try_from(name.as_str().to_owned()).ok()),
            client_alpn: client
                .seal
                .as_ref()
                .and_then(|seal| seal.facts().alpn_protocol().map(<[u8]>::to_vec)),
            deadline: Instant::now() + route.origin_timeout,
        };
        // The client may believe that it is connected: what it began must not look finished. rustls
        // offers no alert of our choice here, and a close_notify would be a lie, so it is a reset.
        dial::dial(call, &mut self.record)
            .await
            .map_err(|failure| failure.farewell(Farewell::Reset))
    }

    /// Everything is known of the connection now: it is entered among those that are established.
    fn opened(
        &mut self,
        client: &Leg,
        route: &Route,
        register: &Arc<Register<Facts>>,
        generation: u64,
    ) {
        self.record.enter(Stage::Relay);
        let chain = client
            .seal
            .as_ref()
            .and_then(|s| s.facts().peer_certificates());
        let identity = route
            .mode
            .server_side()
            .zip(chain)
            .and_then(|(side, chain)| Identity::of(chain, side));
        self.record.opened(register, identity, generation);
    }

    fn relay(&self, client: Leg, origin: Leg, route: &Route) -> Box<Relay> {
        let limits = Limits {
            idle: route.idle,
            half_close: route.half_close,
            lifetime: route.lifetime.and_then(|limit| self.at.checked_add(limit)),
            client_truncation: route.on_truncation,
            origin_truncation: route.upstream.on_truncation,
        };
        Box::new(Relay::new(client, origin, limits))
    }

    fn end_relay(&mut self, end: &RelayEnd) {
        let (reason, detail) = describe(end);
        let nothing_came = self.record.leash().is_none_or(|l| l.traffic().1 == 0);
        if nothing_came && reason == Reason::OriginRejectedCertificate {
            // In TLS 1.3 our handshake is done before the origin has judged our certificate.
            self.record.was_in(Stage::OriginTls);
        }
        self.record.end(reason, detail);
    }
}

/// Runs a stage under its absolute deadline.
async fn before<T>(
    start: Instant,
    limit: Duration,
    late: Reason,
    stage: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    match timeout_at(start + limit, stage).await {
        Ok(result) => result,
        Err(_) => Err(late.into()),
    }
}

fn describe(end: &RelayEnd) -> (Reason, Option<String>) {
    match end {
        RelayEnd::Clean => (Reason::Ok, None),
        RelayEnd::EndedAlone(Side::Client) => (Reason::ClientClosed, None),
        RelayEnd::EndedAlone(Side::Origin) => (Reason::OriginClosed, None),
        RelayEnd::Undelivered => (Reason::HalfCloseTimeout, None),
        RelayEnd::Idle => (Reason::IdleTimeout, None),
        RelayEnd::Lifetime => (Reason::Lifetime, None),
        RelayEnd::Ordered(reason) => (*reason, None),
        RelayEnd::Reset(Side::Client, error) => (Reason::ClientReset, Some(error.to_string())),
        RelayEnd::Reset(Side::Origin, error) => (Reason::OriginReset, Some(error.to_string())),
        RelayEnd::Truncated(Side::Client) => (Reason::ClientTruncated, None),
        RelayEnd::Truncated(Side::Origin) => (Reason::OriginTruncated, None),
        RelayEnd::Failed(Side::Client, error) => (blame::client(error), Some(error.to_string())),
        RelayEnd::Failed(Side::Origin, error) => (blame::origin(error), Some(error.to_string())),
    }
}
