//! The client side of TLS with origins: an upstream's policy, and the handshakes that it begins.

mod generation;
mod handshake;

use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, Error, NamedGroup};

use self::generation::{Generation, OriginState};
pub use self::handshake::{Handshake, after_resumption};
use super::origin_sessions::{OfferedSession, OriginSessions};
use super::pair::Pair;
use super::suites::aes_first;
use super::verify::origin::{OriginVerifier, Trust};
use super::{Versions, provider, words};
use crate::outcome::{Failure, Reason};
use crate::sync::Mutex;
use crate::transport::{TlsConn, TlsState};

/// How many sessions are kept per origin. With `sni: client` there are as many for each of 32 names.
const SESSIONS: usize = 8;
const SESSIONS_BY_NAME: usize = 256;

/// The server name that is sent to an origin and that its certificate must match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sni {
    /// Send the configured name.
    Configured,
    /// Send the client's own server name.
    Client,
    /// Send none.
    Absent,
}

/// The application protocol offered to an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginAlpn {
    /// The protocol that the client negotiated; the origin must select it.
    Forward,
    /// These, independent of the client.
    Fixed(Vec<Vec<u8>>),
    /// None.
    Absent,
}

/// The TLS policy of an upstream towards its origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorPolicy {
    /// The TLS versions offered.
    pub versions: Versions,
    /// The key exchange groups, in the order offered; empty means the defaults.
    pub groups: Vec<NamedGroup>,
    /// Which certificates are trusted.
    pub trust: Trust,
    /// The name to send.
    pub sni: Sni,
    /// The client certificate, for origins that request one.
    pub certificate: Option<Arc<Pair>>,
    /// Whether there will be one that is not issued yet: until then no handshake begins.
    pub awaits_certificate: bool,
    /// The application protocols to offer.
    pub alpn: OriginAlpn,
    /// Whether an origin that selects none of them is accepted: it has agreed to its protocol before TLS.
    pub alpn_is_optional: bool,
    /// The age at which a session is no longer resumed; `None` turns resumption off.
    pub resumption: Option<Duration>,
}

/// Opens TLS connections to an upstream's origins.
#[derive(Debug)]
pub struct TlsConnector {
    policy: Arc<ConnectorPolicy>,
    generation: Mutex<Generation>,
    /// The protocols that every handshake offers.
    offered: Vec<Vec<u8>>,
    /// Whether an origin must select one of the offered protocols even if no client negotiated one.
    must_select: bool,
}

/// Two connectors are equal if they do the same handshakes, but for the sessions that each has.
impl PartialEq for TlsConnector {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            policy,
            generation: _,
            offered,
            must_select,
        } = self;
        *policy == other.policy && *offered == other.offered && *must_select == other.must_select
    }
}

impl Eq for TlsConnector {}

/// Whether a handshake may offer the origin a session to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// A session, if there is one.
    Session,
    /// No session: the handshake is a full one.
    Nothing,
}

/// The inputs of one handshake with an origin.
#[derive(Debug)]
pub struct HandshakeParams<'a> {
    /// The unique number of the origin's state.
    pub origin: u64,
    /// The origin's configured name or address.
    pub name: &'a ServerName<'static>,
    /// The server name that the client sent.
    pub client_sni: Option<ServerName<'static>>,
    /// The application protocol that the client negotiated.
    pub client_alpn: Option<Vec<u8>>,
}

impl TlsConnector {
    /// Builds the configuration of a policy.
    pub fn new(policy: ConnectorPolicy) -> Result<Self, Error> {
        let builder = ClientConfig::builder_with_provider(provider(aes_first(), &policy.groups))
            .with_protocol_versions(policy.versions.supported())?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OriginVerifier::new(policy.trust.clone())));
        let mut config = match &policy.certificate {
            Some(pair) => {
                let key = SingleCertAndKey::from(Arc::clone(&pair.key));
                builder.with_client_cert_resolver(Arc::new(key))
            }
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = policy.sni != Sni::Absent;
        config.resumption = Resumption::disabled();
        if let OriginAlpn::Fixed(protocols) = &policy.alpn {
            config.alpn_protocols.clone_from(protocols);
        }
        Ok(Self {
            policy: Arc::new(policy),
            offered: config.alpn_protocols.clone(),
            generation: Mutex::new(Generation::new(Arc::new(config))),
            must_select: false,
        })
    }

    /// Its policy.
    pub fn policy(&self) -> &ConnectorPolicy {
        &self.policy
    }

    /// The same policy for health checks. They send the configured name and share no sessions with
    /// connections. With [`OriginAlpn::Forward`] they offer all of `negotiated`, the protocols that
    /// clients may negotiate; if these are those of all clients, the origin must select one, as for
    /// connections. They offer only protocols that `speaks` accepts.
    #[must_use]
    pub fn for_checks(
        &self,
        negotiated: &[Vec<u8>],
        by_all: bool,
        speaks: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let offered: &[Vec<u8>] = match &self.policy.alpn {
            OriginAlpn::Forward => negotiated,
            OriginAlpn::Fixed(list) => list,
            OriginAlpn::Absent => &[],
        };
        let offered = offered.iter().filter(|protocol| speaks(protocol));
        let mut config = ClientConfig::clone(&self.generation.lock().config);
        config.alpn_protocols = offered.cloned().collect();
        Self {
            policy: Arc::clone(&self.policy),
            offered: config.alpn_protocols.clone(),
            must_select: by_all
                && self.policy.alpn == OriginAlpn::Forward
                && !self.policy.alpn_is_optional
                && !config.alpn_protocols.is_empty(),
            generation: Mutex::new(Generation::new(Arc::new(config))),
        }
    }

    /// The client certificate, for origins that request one.
    pub fn certificate(&self) -> Option<&Arc<Pair>> {
        self.policy.certificate.as_ref()
    }

    /// Whether its client certificate is not issued yet, so that no handshake begins.
    pub fn awaits_certificate(&self) -> bool {
        self.policy.awaits_certificate
    }

    /// The application protocols offered.
    pub fn alpn(&self) -> &OriginAlpn {
        &self.policy.alpn
    }

    /// Whether the server name sent to origins is the client's.
    pub fn sends_client_name(&self) -> bool {
        self.policy.sni == Sni::Client
    }

    /// Prepares a handshake with an origin.
    pub fn begin(&self, params: HandshakeParams<'_>, offer: Offer) -> Result<Handshake, Failure> {
        if self.awaits_certificate() {
            return Err(awaited());
        }
        let name = match (self.policy.sni, params.client_sni) {
            (Sni::Client, Some(name)) => name,
            _ => params.name.clone(),
        };
        let forwarded = match self.policy.alpn {
            OriginAlpn::Forward => params.client_alpn,
            OriginAlpn::Fixed(_) | OriginAlpn::Absent => None,
        };
        let (mut config, sessions) = self.current(params.origin);
        if let Some(protocol) = &forwarded {
            let mut own = ClientConfig::clone(&config);
            own.alpn_protocols = vec![protocol.clone()];
            config = Arc::new(own);
        }
        let conn = || UnbufferedClientConnection::new(config, name.clone());
        let (conn, offers) = match &sessions {
            Some(sessions) => sessions.with_offer(offer == Offer::Session, conn),
            None => (conn(), false),
        };
        let conn = conn.map_err(|e| Failure::new(Reason::OriginTlsError).detail(words::tls(&e)))?;
        Ok(Handshake {
            tls: Box::new(TlsState::new(TlsConn::Client(conn))),
            forwarded,
            may_select_none: self.policy.alpn_is_optional,
            must_select: self.must_select,
            offered: sessions
                .filter(|_| offers)
                .map(|sessions| OfferedSession::new(sessions, name)),
        })
    }

    /// The current configuration for an origin, and its sessions.
    fn current(&self, origin: u64) -> (Arc<ClientConfig>, Option<Arc<OriginSessions>>) {
        let mut generation = self.generation.lock();
        let Some(max_age) = self.policy.resumption else {
            return (Arc::clone(&generation.config), None);
        };
        if generation.since.elapsed() >= max_age {
            *generation = Generation::new(Arc::clone(&generation.config));
        }
        let room = match self.policy.sni {
            Sni::Client => SESSIONS_BY_NAME,
            Sni::Configured | Sni::Absent => SESSIONS,
        };
        let OriginState {
            config, sessions, ..
        } = generation.origin(origin, room);
        (config, Some(sessions))
    }
}

/// The refusal while a client certificate is not issued yet.
pub fn awaited() -> Failure {
    let why = "the certificate for the origin is not issued yet";
    Failure::new(Reason::CertificatePending).detail(why)
}
