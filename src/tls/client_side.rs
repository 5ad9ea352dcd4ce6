//! Our side of an origin's handshake: whom we trust, what we say who we are, and doing it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, Error, NamedGroup};

use super::handshake::{HandshakeError, Patiently, drive};
use super::shown::Shown;
use super::trust::{OriginJudge, Trust};
use super::{AES_FIRST, Versions, blame, provider_of};
use crate::leg::{Conn, Leg, Seal};
use crate::outcome::{Failure, Reason};

/// How many origin names keep sessions to resume.
const SESSION_NAMES: usize = 256;

/// The name that an origin is told and held to.
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
    /// Exactly what the client negotiated; the origin has to select it.
    Forward,
    /// These, whatever the client negotiated.
    Fixed(Vec<Vec<u8>>),
    /// None.
    Absent,
}

/// How an upstream's origins are spoken to, as finished policy.
#[derive(Debug)]
pub struct ClientPolicy {
    /// The TLS versions spoken.
    pub versions: Versions,
    /// The key exchange groups, in the order offered; empty means the defaults.
    pub groups: Vec<NamedGroup>,
    /// Whom we trust.
    pub trust: Trust,
    /// The name to send.
    pub sni: Sni,
    /// Our certificate, for origins that ask for one.
    pub certificate: Option<Arc<CertifiedKey>>,
    /// The application protocols to offer.
    pub alpn: OriginAlpn,
    /// How old a session may get that is resumed; `None` resumes nothing.
    pub resumption: Option<Duration>,
}

/// An upstream's side of TLS towards its origins.
#[derive(Debug)]
pub struct ClientSide {
    generation: Mutex<Generation>,
    max_age: Option<Duration>,
    sni: Sni,
    alpn: OriginAlpn,
}

/// The configuration whose sessions may be resumed. A new one, without sessions, takes its place once
/// in `max_age`, and a connection keeps the one it began with: so each session that is resumed descends
/// from a full handshake within that time.
#[derive(Debug)]
struct Generation {
    since: Instant,
    config: Arc<ClientConfig>,
}

/// What one handshake with an origin is about.
#[derive(Debug)]
pub struct Introduction<'a> {
    /// The origin's configured name or address.
    pub name: &'a ServerName<'static>,
    /// The server name that the client sent.
    pub client_sni: Option<ServerName<'static>>,
    /// The application protocol that the client negotiated.
    pub client_alpn: Option<Vec<u8>>,
}

/// Why a handshake with an origin failed, and whether another origin may be tried.
#[derive(Debug)]
pub struct OriginRefusal {
    /// The reason and its details.
    pub failure: Failure,
    /// Whether the origin ended or reset: it may be restarting, and another one may be well.
    pub may_retry: bool,
}

impl ClientSide {
    /// Builds the configuration of a policy.
    pub fn new(policy: ClientPolicy) -> Result<Self, Error> {
        let builder = ClientConfig::builder_with_provider(provider_of(&AES_FIRST, &policy.groups))
            .with_protocol_versions(policy.versions.supported())?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OriginJudge::new(policy.trust)?));
        let mut config = match policy.certificate {
            Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
            None => builder.with_no_client_auth(),
        };
        config.enable_sni = policy.sni != Sni::Absent;
        config.resumption = match policy.resumption {
            Some(_) => fresh_sessions(),
            None => Resumption::disabled(),
        };
        if let OriginAlpn::Fixed(protocols) = &policy.alpn {
            config.alpn_protocols.clone_from(protocols);
        }
        Ok(Self {
            generation: Mutex::new(Generation {
                since: Instant::now(),
                config: Arc::new(config),
            }),
            max_age: policy.resumption,
            sni: policy.sni,
            alpn: policy.alpn,
        })
    }

    /// The same policy for health checks: they offer no protocol, send the configured name, and share
    /// no session with anybody.
    #[must_use]
    pub fn for_checks(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config());
        config.resumption = Resumption::disabled();
        config.alpn_protocols = Vec::new();
        Self {
            generation: Mutex::new(Generation {
                since: Instant::now(),
                config: Arc::new(config),
            }),
            max_age: None,
            sni: self.sni,
            alpn: OriginAlpn::Absent,
        }
    }

    /// Whether clients have a say in the name that origins are asked for.
    pub fn asks_by_client_name(&self) -> bool {
        self.sni == Sni::Client
    }

    /// Does the handshake with an origin. On success the leg is sealed.
    pub async fn connect(
        &self,
        leg: &mut Leg,
        about: Introduction<'_>,
    ) -> Result<(), OriginRefusal> {
        let refuse = |failure| OriginRefusal {
            failure,
            may_retry: false,
        };
        let name = match (self.sni, about.client_sni) {
            (Sni::Client, Some(name)) => name,
            _ => about.name.clone(),
        };
        let forwarded = match self.alpn {
            OriginAlpn::Forward => about.client_alpn,
            OriginAlpn::Fixed(_) | OriginAlpn::Absent => None,
        };
        let conn = UnbufferedClientConnection::new(self.config_for(forwarded.as_deref()), name)
            .map_err(|e| refuse(Failure::new(Reason::OriginTlsError).detail(e.to_string())))?;
        let seal = Box::new(Seal::new(Conn::Client(conn)));
        if let Err(error) = drive(
            leg,
            seal,
            &[],
            &mut Shown::default(),
            &|_| true,
            &mut Patiently,
        )
        .await
        {
            if let HandshakeError::Tls { alert, .. } = &error {
                leg.socket.leave(alert);
            }
            return Err(refusal(error));
        }
        let selected = leg
            .seal
            .as_ref()
            .and_then(|seal| seal.facts().alpn_protocol());
        if forwarded.is_some() && selected != forwarded.as_deref() {
            // An h2 client must not be joined to an origin that will speak HTTP/1.1.
            return Err(refuse(
                Failure::new(Reason::OriginAlpn).detail("the origin selected no protocol"),
            ));
        }
        Ok(())
    }

    fn config_for(&self, alpn: Option<&[u8]>) -> Arc<ClientConfig> {
        let config = self.config();
        match alpn {
            Some(protocol) => {
                let mut config = ClientConfig::clone(&config);
                config.alpn_protocols = vec![protocol.to_vec()];
                Arc::new(config)
            }
            None => config,
        }
    }

    fn config(&self) -> Arc<ClientConfig> {
        let mut generation = self
            .generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(max_age) = self.max_age
            && generation.since.elapsed() >= max_age
        {
            let mut config = ClientConfig::clone(&generation.config);
            config.resumption = fresh_sessions();
            *generation = Generation {
                since: Instant::now(),
                config: Arc::new(config),
            };
        }
        Arc::clone(&generation.config)
    }
}

fn fresh_sessions() -> Resumption {
    Resumption::in_memory_sessions(SESSION_NAMES)
}

fn refusal(error: HandshakeError) -> OriginRefusal {
    match error {
        HandshakeError::Tls { error, .. } => OriginRefusal {
            failure: Failure::new(blame::origin(&error)).detail(blame::words(&error)),
            may_retry: false,
        },
        HandshakeError::Ended | HandshakeError::Withheld => OriginRefusal {
            failure: Failure::new(Reason::OriginClosed),
            may_retry: true,
        },
        HandshakeError::Socket(error) => OriginRefusal {
            failure: Failure::new(match error.kind() {
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Reason::OriginReset,
                io::ErrorKind::TimedOut => Reason::OriginTlsTimeout,
                _ => Reason::OriginUnreachable,
            })
            .detail(error.to_string()),
            may_retry: true,
        },
    }
}
