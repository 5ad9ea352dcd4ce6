//! The stages of the client: PROXY header, hello, route, handshake.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use rustls::AlertDescription;
use rustls::pki_types::{CertificateDer, UnixTime};
use tokio::time::{Instant, timeout_at};

use super::establish::{AdmittedClient, Establish, Pending};
use super::permits::{self, Handshaking};
use super::{decision, proxy_header, sniff};
use crate::hostname::HostName;
use crate::negotiate::Negotiate;
use crate::outcome::{CloseWith, Failure, Reason, Stage};
use crate::route::Query;
use crate::snapshot::{Protocol, Route};
use crate::tls::acceptor::TlsAcceptor;
use crate::tls::classify::alert_record;
use crate::tls::foreign;
use crate::tls::handshake_notes::HandshakeNotes;
use crate::tls::hello::{self, Hello};
use crate::tls::info::{CertificateFacts, TlsFacts};
use crate::tls::verify::client::ClientVerifier;
use crate::transport::{Transport, with_scratch};

impl Establish<'_> {
    /// Runs the stages of the client, up to the end of its handshake.
    pub(super) async fn client(
        &mut self,
        client: &mut Transport,
        pending: &Pending,
    ) -> Result<AdmittedClient, Failure> {
        let bytes = self.proxy_header(client).await?;
        self.admit()?;
        let mut hello = self.hello(client, bytes).await?;
        pending.hello_done();
        if self.speaks_tls {
            self.record.hello(&hello);
        }
        let name = self.name(&hello)?;
        if let Some(challenge) = self.challenge(&hello, name.as_ref()) {
            return Err(self.validate(client, &mut hello, &challenge).await);
        }
        let route = self.route(&hello, name.as_ref())?;
        let labels = decision::labels(self.endpoint, &route, name.as_ref())?.map(Into::into);
        self.admit_to(&route)?;
        let notes = self
            .client_tls(client, &mut hello, name.as_ref(), &route)
            .await?;
        Ok(AdmittedClient {
            route,
            name,
            labels,
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
        let read = before(self.at, limit, Reason::ProxyHeaderTimeout, reading).await;
        self.note_silence(&read, &bytes);
        if let Some(flow) = read? {
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
        let limit = self.endpoint.hello_timeout;
        if self.endpoint.protocol != Protocol::Tcp {
            self.record.enter(Stage::Hello);
        }
        if self.endpoint.protocol == Protocol::Any {
            self.sniff(client, &mut bytes).await?;
        }
        if !self.speaks_tls {
            return Ok(Hello {
                bytes,
                ..Hello::default()
            });
        }
        let read = match &self.endpoint.negotiate {
            None => {
                let read = self.hello_bytes(client, &mut bytes).await;
                self.note_silence(&read, &bytes);
                read
            }
            Some(negotiate) => self.negotiate(negotiate, client, &mut bytes).await,
        };
        let failure = match read {
            Err(failure) if is_foreign(&failure) => failure,
            read => return read,
        };
        let is_header = proxy_header::is_header(&mut client.socket, &mut bytes);
        match timeout_at(self.at + limit, is_header).await {
            Ok(true) => Err(Failure {
                reason: Reason::ProxyHeaderUnexpected,
                detail: Some(proxy_header::unexpected(
                    self.source,
                    self.dialled.is_some(),
                )),
                ..failure
            }),
            _ => Err(failure),
        }
    }

    /// Finds out whether the client speaks TLS.
    async fn sniff(&mut self, client: &mut Transport, bytes: &mut Vec<u8>) -> Result<(), Failure> {
        let limit = self.endpoint.hello_timeout;
        let silent_at = (self.at + limit).min(Instant::now() + self.endpoint.sniff);
        let sniffing = sniff::begins_with_tls(&mut client.socket, bytes, silent_at);
        let sniffed = before(self.at, limit, Reason::HelloTimeout, sniffing).await;
        self.note_silence(&sniffed, bytes);
        self.speaks_tls = sniffed?;
        Ok(())
    }

    /// Notes a client that has ended, or did not send in time, if there is no byte of it. A PROXY header is
    /// its load balancer's.
    fn note_silence<T>(&mut self, read: &Result<T, Failure>, bytes: &[u8]) {
        if read.is_err() && bytes.is_empty() {
            self.record.sent_nothing();
        }
    }

    /// Lets TLS begin inside another protocol, and reads the ClientHello.
    async fn negotiate(
        &mut self,
        negotiate: &Negotiate,
        client: &mut Transport,
        bytes: &mut Vec<u8>,
    ) -> Result<Hello, Failure> {
        let mut received = 0;
        let begun = negotiate.with_client(&mut client.socket, bytes, &mut received);
        let limit = self.endpoint.hello_timeout;
        let begun = before(self.at, limit, Reason::HelloTimeout, begun).await;
        if begun.is_err() && received == 0 {
            self.record.sent_nothing();
        }
        begun.map_err(|failure| match failure.detail {
            None if failure.reason == Reason::NegotiateRefused => {
                failure.detail(foreign::describe(bytes))
            }
            _ => failure,
        })?;
        let is_direct = !bytes.is_empty();
        let hello = self.hello_bytes(client, bytes).await;
        let hello = hello.map_err(|failure| match failure.reason {
            // It has said that it wants TLS.
            Reason::ProbeEof => Reason::ClientClosed.into(),
            _ => failure,
        })?;
        let required = negotiate.protocol.direct_alpn().filter(|_| is_direct);
        match required {
            // As PostgreSQL does: it keeps a browser's connection from being taken for one of its clients.
            Some(alpn) if !hello.alpn.iter().any(|offered| offered == alpn.as_bytes()) => {
                Err(no_alpn(alpn))
            }
            _ => Ok(hello),
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
        let _permit = permits::enter(gate, self.source.into(), at + limit, socket).await?;
        let reading = hello::read(&mut parser, socket, bytes, hello::HELLO_MAX);
        let hello = before(at, limit, Reason::HelloTimeout, reading).await?;
        hello.ok_or_else(|| Reason::HelloTooLarge.into())
    }

    fn name(&mut self, hello: &Hello) -> Result<Option<HostName>, Failure> {
        let name = decision::name(hello.server_name.as_deref());
        match (&name, &hello.server_name) {
            (Ok(Some(name)), _) => self.record.sni(name.as_str()),
            (_, Some(sent)) => self.record.sni(sent),
            (_, None) => {}
        }
        name
    }

    fn route(&mut self, hello: &Hello, name: Option<&HostName>) -> Result<Arc<Route>, Failure> {
        self.record.enter(Stage::Route);
        let query = Query {
            name,
            alpn: &hello.alpn,
            source: self.source.map(|address| address.ip()),
            speaks_tls: self.speaks_tls,
        };
        let route = decision::route(self.endpoint, &query)?;
        let why = || decision::why(self.endpoint, &query, route);
        self.record.route(route, why);
        Ok(Arc::clone(route))
    }

    /// Runs the client's handshake, if its TLS ends here; otherwise keeps the bytes of its hello for the
    /// origin. Returns the notes taken in the handshake.
    async fn client_tls(
        &mut self,
        client: &mut Transport,
        hello: &mut Hello,
        name: Option<&HostName>,
        route: &Route,
    ) -> Result<HandshakeNotes, Failure> {
        let mut notes = HandshakeNotes::default();
        let Some(acceptor) = route.mode.acceptor() else {
            client.prefetched = std::mem::take(&mut hello.bytes);
            return Ok(notes);
        };
        self.record.enter(Stage::ClientTls);
        if acceptor.certificate().is_pending(name) {
            let alert = alert_record(AlertDescription::InternalError);
            let failure = Failure::new(Reason::CertificatePending);
            return Err(failure.close_with(CloseWith::Alert(alert)));
        }
        let limit = route.client_timeout;
        let done = self.handshake(client, hello, acceptor, limit, &mut notes);
        done.await.map(|()| notes)
    }

    /// Performs a handshake with a client, within the limits on handshakes.
    async fn handshake(
        &mut self,
        client: &mut Transport,
        hello: &mut Hello,
        acceptor: &TlsAcceptor,
        limit: Duration,
        notes: &mut HandshakeNotes,
    ) -> Result<(), Failure> {
        let deadline = self.at + limit;
        let (permits, _source) = self.admit_handshake(deadline, &client.socket).await?;
        let mut peer = Handshaking::new(permits);
        let handshake = acceptor.accept(client, hello, notes, &mut peer);
        let mut done = before(self.at, limit, Reason::ClientTlsTimeout, handshake).await;
        if let Some(owner) = peer.waits_for {
            done = Err(Failure::new(Reason::LimitHandshakes).limit(owner));
        }
        self.record.presented(notes);
        self.record
            .client_cert(notes.peer.as_ref().map(CertificateFacts::of));
        if let Some(tls) = &client.tls {
            self.record.client_tls(TlsFacts::of(tls.facts()));
            let path = || path(acceptor.verifier(), tls.facts().peer_certificates()?);
            if done.is_ok() {
                self.record.verified(path);
            }
        }
        hello.bytes = Vec::new();
        done
    }

    /// The validation by a CA that this is, if it is one: decided before a route is chosen, by the only
    /// protocol that is offered and by what is pending.
    fn challenge(&self, hello: &Hello, name: Option<&HostName>) -> Option<Arc<TlsAcceptor>> {
        if self.endpoint.negotiate.is_some() {
            return None;
        }
        self.context
            .challenges
            .acceptor(name?.as_str(), &hello.alpn)
    }

    /// Shows a CA the certificate of a validation. Nothing follows: no route, no origin, no byte of data.
    async fn validate(
        &mut self,
        client: &mut Transport,
        hello: &mut Hello,
        challenge: &TlsAcceptor,
    ) -> Failure {
        self.record.enter(Stage::ClientTls);
        let mut notes = HandshakeNotes::default();
        let limit = self.endpoint.client_timeout;
        match self
            .handshake(client, hello, challenge, limit, &mut notes)
            .await
        {
            Ok(()) => {
                Failure::new(Reason::AcmeValidated).close_with(CloseWith::Alert(closing(client)))
            }
            Err(failure) => failure,
        }
    }
}

/// The message that ends the TLS of a client.
fn closing(client: &mut Transport) -> Vec<u8> {
    let Some(tls) = &mut client.tls else {
        return Vec::new();
    };
    let closed = with_scratch(|scratch| {
        let closed = tls.close(&mut scratch.output);
        closed.map(|()| scratch.output.filled().to_vec())
    });
    closed.unwrap_or_default()
}

/// The names on the path from a client's certificate to a CA; `None` if there is no path.
fn path(verifier: &ClientVerifier, chain: &[CertificateDer<'static>]) -> Option<String> {
    let path = verifier.path(chain, UnixTime::now());
    let facts: Vec<_> = path.iter().map(|der| CertificateFacts::of(der)).collect();
    let last = facts.last()?;
    let subjects = facts.iter().map(|facts| facts.subject.as_str());
    let names: Vec<_> = subjects.chain([last.issuer.as_str()]).collect();
    Some(names.join(" < "))
}

/// The refusal of a client that begins with TLS at once, and does not offer the ALPN protocol for that.
fn no_alpn(required: &str) -> Failure {
    let alert = alert_record(AlertDescription::NoApplicationProtocol);
    Failure::new(Reason::NoCommonAlpn)
        .detail(format!(
            "a client that begins with TLS at once has to offer the ALPN protocol `{required}`"
        ))
        .close_with(CloseWith::Alert(alert))
}

/// Whether a client began with another protocol, which may be a PROXY header.
fn is_foreign(failure: &Failure) -> bool {
    match failure.reason {
        Reason::NotTls => true,
        Reason::NegotiateRefused => failure.close_with == CloseWith::Close,
        _ => false,
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
