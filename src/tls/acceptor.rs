//! The server side of a handshake with a client: a route's policy, and the handshake itself.

use std::sync::Arc;

use rustls::pki_types::UnixTime;
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::{
    AlertDescription, CipherSuite, CommonState, Error, HandshakeKind, NamedGroup, ServerConfig,
    SupportedCipherSuite,
};

use super::certificates::CertificateChoice;
use super::early_data::{CIPHERTEXT_MAX, EarlyData};
use super::handshake::{AwaitPeer, HandshakeError, begin, finish};
use super::handshake_notes::HandshakeNotes;
use super::hello::Hello;
use super::hello_message::{HelloMessage, in_records};
use super::second_hello;
use super::sessions::{ConnectionSessions, ScopedSessions};
use super::suites::{Suite, aes_first, chacha_first};
use super::verify::client::ClientVerifier;
use super::wrapped_suites::{HelloSubstitute, SuiteHooks, wrapped};
use super::{Versions, classify, provider, words};
use crate::outcome::{CloseWith, Failure, Reason};
use crate::transport::{TlsConn, TlsState, Transport};

/// The TLS policy of a terminating route towards its clients.
#[derive(Debug)]
pub struct AcceptorPolicy {
    /// The TLS versions accepted.
    pub versions: Versions,
    /// The cipher suites in order of preference; empty means the defaults.
    pub cipher_suites: Vec<CipherSuite>,
    /// The key exchange groups; empty means the defaults.
    pub groups: Vec<NamedGroup>,
    /// The application protocols in order of preference; empty means no ALPN.
    pub alpn: Vec<Vec<u8>>,
    /// Verifies client certificates.
    pub verifier: ClientVerifier,
    /// The certificate presented.
    pub certificate: CertificateChoice,
    /// The sessions that clients may resume; `None` turns resumption off.
    pub resumption: Option<Resumption>,
}

impl AcceptorPolicy {
    /// The parts of the rustls configuration that are neither verifier nor certificate.
    fn settings(&self) -> Settings {
        let Self {
            versions,
            cipher_suites,
            groups,
            alpn,
            verifier: _,
            certificate: _,
            resumption: _,
        } = self;
        Settings {
            versions: *versions,
            cipher_suites: cipher_suites.clone(),
            groups: groups.clone(),
            alpn: alpn.clone(),
        }
    }
}

/// What [`AcceptorPolicy`] says of the protocol itself.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    versions: Versions,
    cipher_suites: Vec<CipherSuite>,
    groups: Vec<NamedGroup>,
    alpn: Vec<Vec<u8>>,
}

/// Session resumption of a route.
#[derive(Clone, Debug)]
pub struct Resumption {
    /// The sessions of the route's scope.
    pub sessions: Arc<ScopedSessions>,
    /// How many tickets a TLS 1.3 client gets; at least 1.
    pub tickets: usize,
}

/// Accepts TLS connections from a route's clients.
#[derive(Debug)]
pub struct TlsAcceptor {
    settings: Settings,
    aes_first: Arc<ServerConfig>,
    chacha_first: Arc<ServerConfig>,
    verifier: ClientVerifier,
    certificate: Arc<CertificateChoice>,
    resumption: Option<Resumption>,
}

impl TlsAcceptor {
    /// Builds the two configurations of a policy, which differ only in the order of suites. Neither
    /// resumes sessions; each connection gets a copy with sessions of its own.
    ///
    /// If the policy differs from that of `previous` in the certificates alone, the configurations of
    /// `previous` are copied, which is much cheaper.
    ///
    /// # Errors
    ///
    /// If rustls refuses the combination of versions, suites and groups.
    pub fn new(policy: AcceptorPolicy, previous: Option<&Self>) -> Result<Self, Error> {
        let settings = policy.settings();
        let certificate = Arc::new(policy.certificate);
        let previous = previous.filter(|previous| {
            previous.settings == settings && previous.verifier.id() == policy.verifier.id()
        });
        let (aes_first, chacha_first) = match previous {
            Some(previous) => previous.configs_with(&certificate),
            None => settings.build(&policy.verifier, &certificate)?,
        };
        Ok(Self {
            settings,
            aes_first,
            chacha_first,
            verifier: policy.verifier,
            certificate,
            resumption: policy.resumption,
        })
    }

    /// Its configurations with another certificate.
    fn configs_with(
        &self,
        certificate: &Arc<CertificateChoice>,
    ) -> (Arc<ServerConfig>, Arc<ServerConfig>) {
        let present = |config: &Arc<ServerConfig>| {
            let mut config = ServerConfig::clone(config);
            config.cert_resolver = Arc::clone(certificate) as _;
            Arc::new(config)
        };
        let aes_first = present(&self.aes_first);
        let chacha_first = match Arc::ptr_eq(&self.aes_first, &self.chacha_first) {
            true => Arc::clone(&aes_first),
            false => present(&self.chacha_first),
        };
        (aes_first, chacha_first)
    }

    /// The certificate presented.
    pub fn certificate(&self) -> &CertificateChoice {
        &self.certificate
    }

    /// The application protocol to negotiate with a client that offers these, or the reason for
    /// refusing the client.
    pub fn negotiate(&self, offered: &[Vec<u8>]) -> Result<Option<&[u8]>, Reason> {
        let ours = &self.aes_first.alpn_protocols;
        if ours.is_empty() || offered.is_empty() {
            return Ok(None);
        }
        let common = ours.iter().find(|protocol| offered.contains(protocol));
        common.map_or(Err(Reason::NoCommonAlpn), |p| Ok(Some(p.as_slice())))
    }

    /// The policy on client certificates.
    pub const fn verifier(&self) -> &ClientVerifier {
        &self.verifier
    }

    /// Performs the handshake. On success the transport has its TLS state. `notes` records the
    /// certificates of both sides, also on failure. `peer` waits for the client's messages.
    pub async fn accept(
        &self,
        transport: &mut Transport,
        hello: &Hello,
        notes: &mut HandshakeNotes,
        peer: &mut impl AwaitPeer,
    ) -> Result<(), Failure> {
        let done = self.handshake(transport, hello, notes, peer).await;
        done.map_err(refusal)?;
        if notes.peer.is_none() {
            // A resumption sends no certificate; the session has it.
            let chain = transport
                .tls
                .as_ref()
                .and_then(|s| s.facts().peer_certificates());
            notes.peer = chain.and_then(<[_]>::first).cloned();
        }
        Ok(())
    }

    async fn handshake(
        &self,
        transport: &mut Transport,
        hello: &Hello,
        notes: &mut HandshakeNotes,
        peer: &mut impl AwaitPeer,
    ) -> Result<(), HandshakeError> {
        // The parser has already accepted it as complete.
        let broken = || general("the ClientHello is incomplete");
        let message = HelloMessage::read(&hello.bytes).ok_or_else(broken)?;
        let (first, rest) = hello.bytes.split_at(message.wire);
        let sessions = self.resumption.as_ref().map(|r| r.sessions.connection());
        let approve = |conn: &CommonState| {
            !(is_retry(conn) && message.offers_psk()) && self.approves(conn, sessions.as_deref())
        };
        let hooks = SuiteHooks {
            substitute: None,
            counts_records: message.announces_early_data(),
        };
        let mut tls = self.tls_state(hello, &message, sessions.clone())?;
        let begun = begin(transport, &mut tls, first, &hooks, notes, &approve).await;
        match begun {
            // Nothing was sent yet, so the same hello can start another handshake.
            Err(HandshakeError::Declined(Some(HandshakeKind::FullWithHelloRetryRequest))) => {
                tls = self
                    .retry(transport, hello, &message, sessions, notes)
                    .await?;
            }
            Err(HandshakeError::Declined(_)) => {
                tls = self.tls_state(hello, &message, None)?;
                begin(transport, &mut tls, first, &hooks, notes, &|_| true).await?;
            }
            begun => begun?,
        }
        let early_data = EarlyData::announced(message.announces_early_data());
        if !is_retry(tls.facts()) {
            return finish(transport, tls, rest, early_data, notes, peer).await;
        }
        let second = second_hello::read(transport, hello, early_data, rest, peer).await?;
        let no_early_data = EarlyData::announced(false);
        finish(transport, tls, &second, no_early_data, notes, peer).await
    }

    /// Sends a HelloRetryRequest to a client that offers a pre-shared key. If the chosen suite's hash
    /// differs from the key's, the client omits the key from its second hello (RFC 8446 section 4.1.4),
    /// but rustls 0.23.46 refuses a second hello that lacks an extension of the first. So rustls gets the
    /// first hello without the key; it accepts one that only the second hello offers.
    async fn retry(
        &self,
        transport: &mut Transport,
        hello: &Hello,
        message: &HelloMessage,
        sessions: Option<Arc<ConnectionSessions>>,
        notes: &mut HandshakeNotes,
    ) -> Result<Box<TlsState>, HandshakeError> {
        let broken = || general("the ClientHello cannot be read");
        let given = message.without_session().ok_or_else(broken)?;
        let records = in_records(&given);
        let hooks = SuiteHooks {
            substitute: Some(Arc::new(HelloSubstitute {
                given,
                sent: message.bytes.clone(),
            })),
            counts_records: false,
        };
        let approve = |conn: &CommonState| self.approves(conn, sessions.as_deref());
        let mut tls = self.tls_state(hello, message, sessions.clone())?;
        begin(transport, &mut tls, &records, &hooks, notes, &approve).await?;
        Ok(tls)
    }

    fn tls_state(
        &self,
        hello: &Hello,
        message: &HelloMessage,
        sessions: Option<Arc<ConnectionSessions>>,
    ) -> Result<Box<TlsState>, HandshakeError> {
        let mut config = match hello.prefers_chacha {
            true => Arc::clone(&self.chacha_first),
            false => Arc::clone(&self.aes_first),
        };
        if let (Some(sessions), Some(resumption)) = (sessions, &self.resumption) {
            let config = Arc::make_mut(&mut config);
            config.ticketer = Arc::clone(&sessions) as _;
            config.session_storage = sessions;
            config.send_tls13_tickets = resumption.tickets;
        }
        if message.announces_early_data() {
            // The limit of what rustls skips; `EarlyData` counts. rustls accepts early data only for
            // sessions of its store, and for TLS 1.3 the store is empty: there is a ticketer, or nothing.
            Arc::make_mut(&mut config).max_early_data_size = CIPHERTEXT_MAX;
        }
        let conn =
            UnbufferedServerConnection::new(config).map_err(|error| HandshakeError::Tls {
                error,
                alert: Vec::new(),
            })?;
        Ok(Box::new(TlsState::new(TlsConn::Server(conn))))
    }

    /// Whether a connection that has processed the hello may answer it. The certificate of a resumed
    /// client is verified again under the current policy: rustls trusts the session alone.
    fn approves(&self, conn: &CommonState, sessions: Option<&ConnectionSessions>) -> bool {
        match conn.handshake_kind() {
            Some(HandshakeKind::Resumed) => {
                let chain = conn.peer_certificates();
                self.verifier.admit(chain, UnixTime::now()).is_ok()
            }
            Some(HandshakeKind::FullWithHelloRetryRequest)
                if self.verifier.requests_certificate() =>
            {
                // A session offered by the second hello could not be verified here before the answer.
                if let Some(sessions) = sessions {
                    sessions.close();
                }
                true
            }
            _ => {
                if let Some(sessions) = sessions {
                    sessions.begin();
                }
                true
            }
        }
    }
}

impl Settings {
    /// The configurations with AES first and with ChaCha20 first.
    fn build(
        &self,
        verifier: &ClientVerifier,
        certificate: &Arc<CertificateChoice>,
    ) -> Result<(Arc<ServerConfig>, Arc<ServerConfig>), Error> {
        let listed = self.cipher_suites.iter();
        let chosen: Vec<_> = listed
            .filter_map(|number| Some(Suite::of(*number)?.rustls))
            .collect();
        if chosen.is_empty() {
            let build = |suites: Vec<_>| self.build_with(&suites, verifier, certificate);
            return Ok((build(aes_first())?, build(chacha_first())?));
        }
        // A configured list is in order of preference.
        let config = self.build_with(&chosen, verifier, certificate)?;
        Ok((Arc::clone(&config), config))
    }

    fn build_with(
        &self,
        suites: &[SupportedCipherSuite],
        verifier: &ClientVerifier,
        certificate: &Arc<CertificateChoice>,
    ) -> Result<Arc<ServerConfig>, Error> {
        let suites = suites.iter().map(wrapped).collect();
        let builder = ServerConfig::builder_with_provider(provider(suites, &self.groups))
            .with_protocol_versions(self.versions.supported())?;
        let builder = match verifier.rustls() {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(certificate) as _);
        config.alpn_protocols.clone_from(&self.alpn);
        config.ignore_client_order = true;
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

/// Whether the server answered with a HelloRetryRequest.
fn is_retry(conn: &CommonState) -> bool {
    conn.handshake_kind() == Some(HandshakeKind::FullWithHelloRetryRequest)
}

fn general(what: &str) -> HandshakeError {
    HandshakeError::Tls {
        error: Error::General(what.into()),
        alert: Vec::new(),
    }
}

fn refusal(error: HandshakeError) -> Failure {
    match error {
        HandshakeError::Tls { error, alert } => {
            let reason = classify::client(&error);
            let close_with = if !alert.is_empty() {
                CloseWith::Alert(alert)
            } else if reason == Reason::NoCommonSignature {
                // Nothing is encrypted at that step of TLS 1.2.
                CloseWith::Alert(classify::alert_record(AlertDescription::HandshakeFailure))
            } else {
                CloseWith::Close
            };
            Failure::new(reason)
                .detail(words::tls(&error))
                .close_with(close_with)
        }
        HandshakeError::Ended | HandshakeError::Declined(_) => Reason::ClientClosed.into(),
        HandshakeError::Socket(error) => {
            Failure::new(Reason::ClientReset).detail(error.to_string())
        }
    }
}
