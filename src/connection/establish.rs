//! The stages of a connection before the relay, in order, and its handover to the relay.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::time::{Instant, sleep_until};

use super::context::WorkerContext;
use super::dial;
use super::ending::{describe, is_harmless};
use super::identity::Identity;
use super::info::ConnInfo;
use super::permits::LimitPermits;
use super::proxy_header::HeaderFacts;
use super::record::Recorder;
use super::table::{Conn, ConnTable};
use crate::admission::{LimitScope, PendingGuard, Permit};
use crate::bandwidth::Way;
use crate::hostname::HostName;
use crate::negotiate;
use crate::outcome::{CloseWith, Failure, Reason, Stage};
use crate::relay::{Delay, Limits, OnTruncation, Pace, Relay, RelayEnd};
use crate::snapshot::{Endpoint, Mode, Route, Upstream};
use crate::tls::handshake_notes::HandshakeNotes;
use crate::transport::Transport;
use crate::upstream::Slot;

/// A client that passed its own stages, and the facts known of it.
pub(super) struct AdmittedClient {
    pub(super) route: Arc<Route>,
    pub(super) name: Option<HostName>,
    /// The labels of the name that the origin's address is made of, if it is made of any.
    pub(super) labels: Option<Box<str>>,
    /// The ALPN protocols that it offers.
    pub(super) offered: Vec<Vec<u8>>,
    pub(super) notes: HandshakeNotes,
}

/// The entries of a pending connection.
pub(super) struct Pending {
    process: PendingGuard,
    endpoint: Option<PendingGuard>,
}

impl Pending {
    /// The ClientHello is complete.
    pub(super) fn hello_done(&self) {
        self.process.hello_done();
        if let Some(endpoint) = &self.endpoint {
            endpoint.hello_done();
        }
    }

    /// Waits until the connection is evicted from one of the lists.
    pub(super) async fn evicted(&self) {
        match &self.endpoint {
            None => self.process.evicted().await,
            Some(endpoint) => tokio::select! {
                () = self.process.evicted() => {}
                () = endpoint.evicted() => {}
            },
        }
    }
}

/// A client and an origin, to be relayed.
pub(super) struct Established {
    pub(super) route: Arc<Route>,
    pub(super) origin: Transport,
    /// Kept for as long as the connection lasts.
    pub(super) slot: Slot,
    /// What the client sees of an origin that ends without close_notify.
    pub(super) on_truncation: OnTruncation,
}

pub(super) struct Establish<'a> {
    pub(super) permit: Permit,
    /// What is counted for the endpoint, if that has limits.
    pub(super) scope: Option<Arc<LimitScope>>,
    /// Kept for as long as the connection lasts.
    pub(super) limit_permits: Option<Box<LimitPermits>>,
    pub(super) context: &'a WorkerContext,
    pub(super) record: Recorder<'a>,
    pub(super) endpoint: &'a Endpoint,
    /// The client's address as rules, limits and logs use it: the one of the PROXY header, if any.
    pub(super) source: Option<SocketAddr>,
    /// Whether the client speaks TLS with us, as far as is known.
    pub(super) speaks_tls: bool,
    /// The address that the client dialled, if a PROXY header says so.
    pub(super) dialled: Option<SocketAddr>,
    /// The generation of the snapshot that the endpoint is of.
    pub(super) generation: u64,
    pub(super) at: Instant,
}

impl Establish<'_> {
    /// Runs the stages before the relay in order. Every wait has an absolute deadline.
    pub(super) async fn establish(
        &mut self,
        client: &mut Transport,
    ) -> Result<Established, Failure> {
        self.admit_peer().await?;
        let pending = self.pending();
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
            labels,
            offered,
            notes,
        } = admitted?;
        let asked = (name.as_ref(), labels.as_deref());
        let (transport, slot, upstream) =
            self.origin(&route, asked, client, &offered, &notes).await?;
        self.greet(client, &route, &upstream).await?;
        Ok(Established {
            on_truncation: upstream.on_truncation,
            route,
            origin: transport,
            slot,
        })
    }

    /// Enters the connection among those that may be dropped for others: of the process, and of an endpoint
    /// that has a limit on connections.
    pub(super) fn pending(&self) -> Pending {
        let shard = &self.context.pending;
        let limits = self.endpoint.limits.as_ref();
        let is_limited = limits.is_some_and(|limits| limits.connections.is_some());
        let scope = self.scope.as_ref().filter(|_| is_limited);
        Pending {
            process: shard.enter(self.at),
            endpoint: scope.map(|scope| shard.beside(&scope.pending).enter(self.at)),
        }
    }

    /// A connection to an origin, over TLS where the mode says so, with its slot and its upstream.
    async fn origin(
        &mut self,
        route: &Route,
        (name, labels): (Option<&HostName>, Option<&str>),
        client: &Transport,
        offered: &[Vec<u8>],
        notes: &HandshakeNotes,
    ) -> Result<(Transport, Slot, Arc<Upstream>), Failure> {
        self.delay_connect(route, client).await?;
        let id = self.record.id();
        let dial = dial::Dial {
            upstream: Arc::clone(&route.upstream),
            generation: self.generation,
            live: &self.context.live,
            upstreams: &self.context.upstreams,
            listeners: &self.context.listeners,
            is_tls: matches!(route.mode, Mode::Reencrypt(_) | Mode::Originate),
            is_sealed: !matches!(route.mode, Mode::Terminate(_) | Mode::Forward),
            labels,
            client_negotiated: self.endpoint.negotiate.as_ref().map(|begun| begun.protocol),
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

    /// Waits for as long as the route delays connects. A client that resets meanwhile ends the wait, and so
    /// does the end of its lifetime.
    async fn delay_connect(&mut self, route: &Route, client: &Transport) -> Result<(), Failure> {
        let Some(delays) = route.delays.as_ref().filter(|d| !d.connect.is_zero()) else {
            return Ok(());
        };
        self.record.enter(Stage::Connect);
        let dial_at = Instant::now() + delays.connect;
        let end = route.lifetime.and_then(|limit| self.at.checked_add(limit));
        let failed = tokio::select! {
            biased;
            () = client.socket.was_reset() => Reason::ClientReset,
            () = sleep_until(end.map_or(dial_at, |end| end.min(dial_at))) => match end {
                Some(end) if end <= dial_at => Reason::Lifetime,
                _ => return Ok(()),
            },
        };
        Err(Failure::new(failed).close_with(CloseWith::Reset))
    }

    /// Sends a plain client our greeting, if the origin's came before its TLS.
    async fn greet(
        &self,
        client: &mut Transport,
        route: &Route,
        upstream: &Upstream,
    ) -> Result<(), Failure> {
        let Some(negotiate) = &upstream.negotiate else {
            return Ok(());
        };
        if !matches!(route.mode, Mode::Originate) {
            return Ok(());
        }
        let greeting = negotiate::greeting(negotiate.protocol, &negotiate.name);
        // The empty send buffer of the client's socket takes it at once.
        let sent = client.socket.write_all(&greeting).await;
        sent.map_err(|error| Failure::new(Reason::ClientReset).detail(error.to_string()))
    }

    /// Enters the connection in the table of established ones and opens its record.
    pub(super) fn opened(
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

    pub(super) fn relay(
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
        let flow = |way| {
            let scope = self.limit_permits.as_ref()?.bandwidth.as_ref()?;
            scope.flow(route.limits.as_deref()?, way)
        };
        let delays = route.delays.as_deref();
        let delay = |way| Delay {
            first: match way {
                Way::Up => Duration::ZERO,
                Way::Down => delays.map_or(Duration::ZERO, |delays| delays.first_byte),
            },
            chunk: delays.map_or(Duration::ZERO, |delays| delays.chunk),
        };
        let paces = Way::BOTH.map(|way| Pace::new(flow(way), delay(way)));
        Box::new(Relay::new(client, origin, limits, paces))
    }

    pub(super) fn end_relay(&mut self, end: &RelayEnd, down: u64) {
        let (reason, detail) = describe(end);
        if down == 0 && reason == Reason::OriginRejectedCertificate {
            // In TLS 1.3 our handshake is done before the origin has verified our certificate.
            self.record.was_in(Stage::OriginTls);
        }
        let fault = reason.fault().filter(|_| !is_harmless(end));
        self.record.end_by(fault, reason, detail);
    }
}
