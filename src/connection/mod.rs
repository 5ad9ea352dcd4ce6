//! One connection, from accept to its one outcome.
//!
//! [`run`] covers the whole life of a connection and is the only place that logs and counts its end;
//! `Establish::establish` runs the stages in order. Stages return values and know nothing of each other; data
//! that one needs from another passes through here.

pub mod decision;
mod dial;
mod happy_eyeballs;
mod identity;
mod permits;
mod proxy_header;
mod record;
pub mod table;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout_at};

pub use self::identity::Identity;
use self::permits::Handshaking;
use self::proxy_header::HeaderFacts;
pub use self::record::ConnInfo;
use self::record::Recorder;
use self::table::{Conn, ConnTable};
use crate::admission::{ClientSource, Gate, PendingGuard, PendingShard, Permit};
use crate::hostname::HostName;
use crate::observe::access_log::{AccessLog, Client};
use crate::observe::metrics::Shard;
use crate::outcome::{CloseWith, Failure, Reason, Stage};
use crate::phase::{self, PhaseRx};
use crate::relay::{Limits, Loss, OnTruncation, Relay, RelayEnd, Side};
use crate::route::Query;
use crate::snapshot::{Endpoint, Live, Mode, Protocol, Route, Upstream};
use crate::tls::handshake_notes::HandshakeNotes;
use crate::tls::hello::{self, Hello};
use crate::tls::info::{CertificateFacts, TlsFacts};
use crate::tls::{classify, words};
use crate::transport::{Socket, Transport};
use crate::upstream::{OwnListeners, Slot, Upstreams};

/// State that all connections of a worker share.
#[derive(Clone, Debug)]
pub struct WorkerContext {
    /// Receives the records.
    pub access_log: AccessLog,
    /// This worker's counters.
    pub counters: Arc<Shard>,
    /// The phases of the process.
    pub phases: PhaseRx,
    /// The table of established connections.
    pub table: Arc<ConnTable<ConnInfo>>,
    /// The list of connections that are still pending.
    pub pending: PendingShard,
    /// The current snapshot.
    pub live: Arc<Live>,
    /// The pools of origins.
    pub upstreams: Arc<Upstreams>,
    /// The permits for handshakes with clients.
    pub handshakes: Gate,
    /// The permits for large ClientHellos.
    pub large_hellos: Gate,
    /// The addresses this process listens on: a name that resolves to one of them is a loop.
    pub listeners: Arc<OwnListeners>,
}

impl WorkerContext {
    /// How many large ClientHellos may be read at once.
    pub const LARGE_HELLOS: usize = permits::LARGE_HELLOS;

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
    /// The client's address; unix clients have none.
    pub client: Option<SocketAddr>,
    /// Its endpoint in the snapshot that was current at accept.
    pub endpoint: Arc<Endpoint>,
    /// The generation of that snapshot.
    pub generation: u64,
    /// Its permit among the connections of the process.
    pub permit: Permit,
    /// When it was accepted.
    pub at: Instant,
}

/// Serves one connection to its end and records its outcome exactly once. `_guard` is dropped when the
/// connection is closed.
pub async fn run(accepted: Accepted, context: Arc<WorkerContext>, _guard: impl Send) {
    let Accepted {
        socket,
        client: source,
        endpoint,
        generation,
        permit,
        at,
    } = accepted;
    let mut phases = context.phases.clone();
    let peer = source.map_or_else(|| Client::Unix(socket.peer_user()), Client::Ip);
    let local = context
        .access_log
        .is_open()
        .then(|| socket.local())
        .flatten();
    let mut client = Transport::plain(socket);
    let mut establishing = Establish {
        _permit: permit,
        context: &context,
        record: context.recorder(peer, local, &endpoint, at),
        endpoint: &endpoint,
        source,
        dialled: None,
        generation,
        at,
    };
    let established = tokio::select! {
        biased;
        () = phase::aborted(&mut phases) => Err(Failure::new(Reason::Drain).close_with(CloseWith::Reset)),
        // Boxed, so that the memory is freed once the connection is established.
        established = Box::pin(establishing.establish(&mut client)) => established,
    };
    match established {
        Ok(Established {
            route,
            origin,
            slot: _slot,
            on_truncation,
        }) => {
            // This is the only place that opens the record.
            let Some(entry) = establishing.opened(&client, &route, &context.table, generation)
            else {
                return;
            };
            let relay = establishing.relay(client, origin, &route, on_truncation);
            // The relay has copied the limits and needs no more of the route.
            drop(route);
            let (end, teardown) = relay.run(&entry.handle).await;
            let (_, down) = entry.handle.traffic();
            drop(entry);
            establishing.end_relay(&end, down);
            if let Some(teardown) = teardown {
                Box::pin(teardown.run(&mut phases)).await;
            }
        }
        Err(failure) => {
            establishing.record.end(failure.reason, failure.detail);
            // The client has been rejected; while it lingers it may be dropped for others like a silent one.
            let pending = context.pending.enter(at);
            tokio::select! {
                biased;
                () = pending.evicted() => {}
                () = Box::pin(client.socket.reject(failure.close_with)) => {}
            }
        }
    }
}

/// Records a connection whose socket was lost right after it was accepted.
pub fn rejected_at_accept(
    client: Option<SocketAddr>,
    endpoint: &Endpoint,
    at: Instant,
    error: &std::io::Error,
    context: &WorkerContext,
) {
    let client = client.map_or(Client::Unix(None), Client::Ip);
    let mut record = context.recorder(client, None, endpoint, at);
    record.end(Reason::LocalDescriptors, Some(error.to_string()));
}

/// A client that passed its own stages, and the facts known of it.
struct AdmittedClient {
    route: Arc<Route>,
    name: Option<HostName>,
    /// The ALPN protocols that it offers.
    offered: Vec<Vec<u8>>,
    notes: HandshakeNotes,
}

/// A client and an origin, to be relayed.
struct Established {
    route: Arc<Route>,
    origin: Transport,
    /// Kept for as long as the connection lasts.
    slot: Slot,
    /// What the client sees of an origin that ends without close_notify.
    on_truncation: OnTruncation,
}

struct Establish<'a> {
    _permit: Permit,
    context: &'a WorkerContext,
    record: Recorder<'a>,
    endpoint: &'a Endpoint,
    /// The client's address as rules, limits and logs use it: the one of the PROXY header, if any.
    source: Option<SocketAddr>,
    /// The address that the client dialled, if a PROXY header says so.
    dialled: Option<SocketAddr>,
    /// The generation of the snapshot that the endpoint is of.
    generation: u64,
    at: Instant,
}

impl Establish<'_> {
    /// Runs the stages before the relay in order. Every wait has an absolute deadline.
    async fn establish(&mut self, client: &mut Transport) -> Result<Established, Failure> {
        let pending = self.context.pending.enter(self.at);
        let admitted = tokio::select! {
            biased;
            () = pending.evicted() => {
                Err(Failure::new(Reason::ProbeDropped).close_with(CloseWith::Abort))
            }
            admitted = self.client(client, &pending) => admitted,
        };
        drop(pending);
        let AdmittedClient {
            route,
            name,
            offered,
            notes,
        } = admitted?;
        let (transport, slot, upstream) = self
            .origin(&route, name.as_ref(), client, &offered, &notes)
            .await?;
        Ok(Established {
            on_truncation: upstream.on_truncation,
            route,
            origin: transport,
            slot,
        })
    }

    /// Runs the stages of the client, up to the end of its handshake.
    async fn client(
        &mut self,
        client: &mut Transport,
        pending: &PendingGuard,
    ) -> Result<AdmittedClient, Failure> {
        let bytes = self.proxy_header(client).await?;
        let mut hello = self.hello(client, bytes).await?;
        pending.hello_done();
        let name = self.name(&hello)?;
        let route = self.route(&hello, name.as_ref())?;
        let notes = self.client_tls(client, &mut hello, &route).await?;
        Ok(AdmittedClient {
            route,
            name,
            offered: hello.alpn,
            notes,
        })
    }

    /// Reads the PROXY header of a peer that has to send one; its addresses replace the client's from here
    /// on. Returns the bytes read behind the header.
    async fn proxy_header(&mut self, client: &mut Transport) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::new();
        let Some(accept) = &self.endpoint.accept_proxy_protocol else {
            return Ok(bytes);
        };
        if !accept.requires(self.source) {
            return Ok(bytes);
        }
        self.record.enter(Stage::ProxyHeader);
        let limit = accept.timeout.min(self.endpoint.hello_timeout);
        let reading = proxy_header::read(&mut client.socket, &mut bytes);
        if let Some(flow) = before(self.at, limit, Reason::ProxyHeaderTimeout, reading).await? {
            self.source = Some(flow.source);
            self.dialled = Some(flow.destination);
            self.record.proxied(flow.source, flow.destination);
        }
        Ok(bytes)
    }

    /// Reads the ClientHello, which begins with `bytes`.
    async fn hello(
        &mut self,
        client: &mut Transport,
        mut bytes: Vec<u8>,
    ) -> Result<Hello, Failure> {
        if self.endpoint.protocol == Protocol::Tcp {
            return Ok(Hello {
                bytes,
                ..Hello::default()
            });
        }
        self.record.enter(Stage::Hello);
        let limit = self.endpoint.hello_timeout;
        let failure = match self.hello_bytes(client, &mut bytes).await {
            Err(failure) if failure.reason == Reason::NotTls => failure,
            read => return read,
        };
        let is_header = proxy_header::is_header(&mut client.socket, &mut bytes);
        match timeout_at(self.at + limit, is_header).await {
            Ok(true) => Err(Failure {
                reason: Reason::ProxyHeaderUnexpected,
                ..failure
            }),
            _ => Err(failure),
        }
    }

    /// Reads the ClientHello. A large one needs a permit beyond the size of a small one, which bounds the
    /// memory that incomplete hellos can hold.
    async fn hello_bytes(
        &self,
        client: &mut Transport,
        bytes: &mut Vec<u8>,
    ) -> Result<Hello, Failure> {
        let (at, limit) = (self.at, self.endpoint.hello_timeout);
        let mut parser = hello::Parser::default();
        let socket = &mut client.socket;
        let reading = hello::read(&mut parser, socket, bytes, hello::HELLO_SMALL);
        if let Some(hello) = before(at, limit, Reason::HelloTimeout, reading).await? {
            return Ok(hello);
        }
        let gate = &self.context.large_hellos;
        let _permit = permits::enter(gate, self.source.into(), at + limit).await?;
        let reading = hello::read(&mut parser, socket, bytes, hello::HELLO_MAX);
        let hello = before(at, limit, Reason::HelloTimeout, reading).await?;
        hello.ok_or_else(|| Reason::HelloTooLarge.into())
    }

    fn name(&mut self, hello: &Hello) -> Result<Option<HostName>, Failure> {
        if let Some(sent) = &hello.server_name {
            self.record.sni(sent);
        }
        let name = decision::name(hello.server_name.as_deref())?;
        if let Some(name) = &name {
            self.record.sni(name.as_str());
        }
        Ok(name)
    }

    fn route(&mut self, hello: &Hello, name: Option<&HostName>) -> Result<Arc<Route>, Failure> {
        self.record.enter(Stage::Route);
        let query = Query {
            name,
            alpn: &hello.alpn,
            source: self.source.map(|address| address.ip()),
        };
        let route = decision::route(self.endpoint, &query)?;
        self.record.route(route);
        Ok(Arc::clone(route))
    }

    /// Runs the client's handshake, if its TLS ends here; otherwise keeps the bytes of its hello for the
    /// origin. Returns the notes taken in the handshake.
    async fn client_tls(
        &mut self,
        client: &mut Transport,
        hello: &mut Hello,
        route: &Route,
    ) -> Result<HandshakeNotes, Failure> {
        let mut notes = HandshakeNotes::default();
        let Some(acceptor) = route.mode.acceptor() else {
            client.prefetched = std::mem::take(&mut hello.bytes);
            return Ok(notes);
        };
        self.record.enter(Stage::ClientTls);
        let (gate, source) = (&self.context.handshakes, ClientSource::from(self.source));
        let permit = permits::enter(gate, source, self.at + route.client_timeout).await?;
        let mut peer = Handshaking::new(gate, source, permit);
        let handshake = acceptor.accept(client, hello, &mut notes, &mut peer);
        let mut done = before(
            self.at,
            route.client_timeout,
            Reason::ClientTlsTimeout,
            handshake,
        )
        .await;
        if peer.is_queued {
            done = Err(Reason::LimitHandshakes.into());
        }
        self.record
            .client_cert(notes.peer.as_ref().map(CertificateFacts::of));
        if let Some(tls) = &client.tls {
            self.record.client_tls(TlsFacts::of(tls.facts()));
        }
        hello.bytes = Vec::new();
        done.map(|()| notes)
    }

    /// A connection to an origin, over TLS where the mode says so, with its slot and its upstream.
    async fn origin(
        &mut self,
        route: &Route,
        name: Option<&HostName>,
        client: &Transport,
        offered: &[Vec<u8>],
        notes: &HandshakeNotes,
    ) -> Result<(Transport, Slot, Arc<Upstream>), Failure> {
        let id = self.record.id();
        let dial = dial::Dial {
            upstream: Arc::clone(&route.upstream),
            generation: self.generation,
            live: &self.context.live,
            upstreams: &self.context.upstreams,
            listeners: &self.context.listeners,
            is_tls: matches!(route.mode, Mode::Reencrypt(_) | Mode::Originate),
            facts: HeaderFacts {
                client,
                source: self.source,
                dialled: self.dialled,
                name,
                offered,
                notes,
                id: &id,
            },
            client_sni: name
                .filter(|_| route.named)
                .and_then(|name| ServerName::try_from(name.as_str().to_owned()).ok()),
            client_alpn: client
                .tls
                .as_ref()
                .and_then(|tls| tls.facts().alpn_protocol().map(<[u8]>::to_vec)),
            deadline: Instant::now() + route.origin_timeout,
        };
        // The client's handshake is done, so it gets a reset: rustls cannot send an alert of our choice here,
        // and close_notify would claim that the stream is complete.
        let dialled = tokio::select! {
            biased;
            dialled = dial::dial(dial, &mut self.record) => dialled,
            // The client reset: stop waiting for a slot or a connect.
            () = client.socket.was_reset() => Err(Reason::ClientReset.into()),
        };
        dialled.map_err(|failure| failure.close_with(CloseWith::Reset))
    }

    /// Enters the connection in the table of established ones and opens its record.
    fn opened(
        &mut self,
        client: &Transport,
        route: &Route,
        table: &Arc<ConnTable<ConnInfo>>,
        generation: u64,
    ) -> Option<Arc<Conn<ConnInfo>>> {
        self.record.enter(Stage::Relay);
        let chain = client
            .tls
            .as_ref()
            .and_then(|tls| tls.facts().peer_certificates());
        let identity = route
            .mode
            .acceptor()
            .zip(chain)
            .and_then(|(acceptor, chain)| Identity::of(chain, acceptor));
        let verifier = route
            .mode
            .acceptor()
            .map(|acceptor| acceptor.verifier().id());
        let verifier = verifier.unwrap_or_default();
        self.record.opened(table, identity, generation, verifier)
    }

    fn relay(
        &self,
        client: Transport,
        origin: Transport,
        route: &Route,
        on_truncation: OnTruncation,
    ) -> Box<Relay> {
        let limits = Limits {
            idle: route.idle,
            half_close: route.half_close,
            lifetime: route.lifetime.and_then(|limit| self.at.checked_add(limit)),
            client_truncation: route.on_truncation,
            origin_truncation: on_truncation,
        };
        Box::new(Relay::new(client, origin, limits))
    }

    fn end_relay(&mut self, end: &RelayEnd, down: u64) {
        let (reason, detail) = describe(end);
        if down == 0 && reason == Reason::OriginRejectedCertificate {
            // In TLS 1.3 our handshake is done before the origin has verified our certificate.
            self.record.was_in(Stage::OriginTls);
        }
        let fault = reason.fault().filter(|_| !is_harmless(end));
        self.record.end_by(fault, reason, detail);
    }
}

/// Runs a stage under its absolute deadline; `late` is the reason if it is missed.
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
        RelayEnd::Commanded(reason) => (*reason, None),
        RelayEnd::Reset(Side::Client, error, _) => (Reason::ClientReset, Some(error.to_string())),
        RelayEnd::Reset(Side::Origin, error, _) => (Reason::OriginReset, Some(error.to_string())),
        RelayEnd::Truncated(Side::Client, _) => (Reason::ClientTruncated, None),
        RelayEnd::Truncated(Side::Origin, _) => (Reason::OriginTruncated, None),
        RelayEnd::Failed(Side::Client, error) => (classify::client(error), Some(words::tls(error))),
        RelayEnd::Failed(Side::Origin, error) => (classify::origin(error), Some(words::tls(error))),
    }
}

/// Whether an end that was not clean is no fault: an abort that lost no data.
const fn is_harmless(end: &RelayEnd) -> bool {
    matches!(
        end,
        RelayEnd::Reset(_, _, Loss::None) | RelayEnd::Truncated(_, Loss::None)
    )
}
