//! Our side of an origin's handshake: whom we trust, what we say who we are, and doing it.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, Error, NamedGroup};

use super::early_data::EarlyData;
use super::handshake::{HandshakeError, Patiently, begin, finish};
use super::handshake_notes::HandshakeNotes;
use super::origin_sessions::OriginSessions;
use super::pair::Pair;
use super::suites::aes_first;
use super::verify::origin::{OriginVerifier, Trust};
use super::wrapped_suites::Wanted;
use super::{Versions, classify, provider, words};
use crate::outcome::{Failure, Reason};
use crate::transport::{Conn, TlsState, Transport};

/// How many origins of an upstream keep sessions to resume.
const ORIGINS_MAX: usize = 256;

/// How many sessions an origin keeps, and how many where clients have a say in the name: those of 32
/// names.
const SESSIONS: usize = 8;
const SESSIONS_BY_NAME: usize = 256;

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
pub struct ConnectorPolicy {
    /// The TLS versions spoken.
    pub versions: Versions,
    /// The key exchange groups, in the order offered; empty means the defaults.
    pub groups: Vec<NamedGroup>,
    /// Whom we trust.
    pub trust: Trust,
    /// The name to send.
    pub sni: Sni,
    /// Our certificate, for origins that ask for one.
    pub certificate: Option<Arc<Pair>>,
    /// The application protocols to offer.
    pub alpn: OriginAlpn,
    /// How old a session may get that is resumed; `None` resumes nothing.
    pub resumption: Option<Duration>,
}

/// An upstream's side of TLS towards its origins.
#[derive(Debug)]
pub struct TlsConnector {
    generation: Mutex<Generation>,
    max_age: Option<Duration>,
    sni: Sni,
    alpn: OriginAlpn,
    certificate: Option<Arc<Pair>>,
    /// Whether an origin has to select one of what it is offered, whatever a client has negotiated.
    selects: bool,
}

/// Whether a handshake may offer the origin a session to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// One, if there is one.
    Session,
    /// None: the handshake is a full one.
    Nothing,
}

/// The configuration whose sessions may be resumed. A new one, without sessions, takes its place once
/// in `max_age`, and a connection keeps the one it began with: so each session that is resumed descends
/// from a full handshake within that time.
#[derive(Debug)]
struct Generation {
    since: Instant,
    /// Without sessions.
    config: Arc<ClientConfig>,
    /// What it has come to with each origin, by the number of its state.
    origins: HashMap<u64, Acquainted>,
}

/// An origin whose sessions are kept.
#[derive(Clone, Debug)]
struct Acquainted {
    config: Arc<ClientConfig>,
    sessions: Arc<OriginSessions>,
}

impl Generation {
    /// One that begins now.
    fn new(config: Arc<ClientConfig>) -> Self {
        Self {
            since: Instant::now(),
            config,
            origins: HashMap::new(),
        }
    }

    /// The sessions with an origin. A session is offered to none but the origin that gave it: another
    /// one could seldom use it, and what goes wrong over it says nothing of that one.
    fn origin(&mut self, id: u64, room: usize) -> Acquainted {
        if !self.origins.contains_key(&id) && self.origins.len() >= ORIGINS_MAX {
            // Those that have left are not told here: all begin anew.
            self.origins.clear();
        }
        let begin = || {
            let sessions = Arc::new(OriginSessions::new(room));
            let mut config = ClientConfig::clone(&self.config);
            config.resumption = Resumption::store(Arc::clone(&sessions) as _);
            Acquainted {
                config: Arc::new(config),
                sessions,
            }
        };
        self.origins.entry(id).or_insert_with(begin).clone()
    }
}

/// What one handshake with an origin is params.
#[derive(Debug)]
pub struct HandshakeParams<'a> {
    /// The number of the origin's state, which tells it from every other.
    pub origin: u64,
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

/// A handshake with an origin that is about to begin.
#[derive(Debug)]
pub struct Handshake {
    tls: Box<TlsState>,
    name: ServerName<'static>,
    forwarded: Option<Vec<u8>>,
    selects: bool,
    /// Those that the session is of that is offered, if one is.
    sessions: Option<Arc<OriginSessions>>,
}

impl TlsConnector {
    /// Builds the configuration of a policy.
    pub fn new(policy: ConnectorPolicy) -> Result<Self, Error> {
        let builder = ClientConfig::builder_with_provider(provider(aes_first(), &policy.groups))
            .with_protocol_versions(policy.versions.supported())?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OriginVerifier::new(policy.trust)));
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
            generation: Mutex::new(Generation::new(Arc::new(config))),
            max_age: policy.resumption,
            sni: policy.sni,
            alpn: policy.alpn,
            certificate: policy.certificate,
            selects: false,
        })
    }

    /// The same policy for health checks: they send the configured name, and share no session with
    /// connections. Where connections offer what their clients have negotiated, checks offer all that
    /// may be, which is `negotiated`, and as for connections one has to be selected. Of any list they
    /// offer what `speaks` accepts.
    #[must_use]
    pub fn for_checks(&self, negotiated: &[Vec<u8>], speaks: impl Fn(&[u8]) -> bool) -> Self {
        let offered: &[Vec<u8>] = match &self.alpn {
            OriginAlpn::Forward => negotiated,
            OriginAlpn::Fixed(list) => list,
            OriginAlpn::Absent => &[],
        };
        let offered = offered.iter().filter(|protocol| speaks(protocol));
        let mut config = ClientConfig::clone(&self.generation().config);
        config.alpn_protocols = offered.cloned().collect();
        Self {
            selects: self.alpn == OriginAlpn::Forward && !config.alpn_protocols.is_empty(),
            generation: Mutex::new(Generation::new(Arc::new(config))),
            max_age: self.max_age,
            sni: self.sni,
            alpn: self.alpn.clone(),
            certificate: self.certificate.clone(),
        }
    }

    /// Our certificate, for origins that ask for one.
    pub const fn certificate(&self) -> Option<&Arc<Pair>> {
        self.certificate.as_ref()
    }

    /// What origins are offered.
    pub const fn alpn(&self) -> &OriginAlpn {
        &self.alpn
    }

    /// Whether clients have a say in the name that origins are asked for.
    pub fn asks_by_client_name(&self) -> bool {
        self.sni == Sni::Client
    }

    /// Prepares a handshake with an origin.
    pub fn begin(&self, params: HandshakeParams<'_>, offer: Offer) -> Result<Handshake, Failure> {
        let name = match (self.sni, params.client_sni) {
            (Sni::Client, Some(name)) => name,
            _ => params.name.clone(),
        };
        let forwarded = match self.alpn {
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
            Some(sessions) => sessions.lent(offer == Offer::Session, conn),
            None => (conn(), false),
        };
        let conn = conn.map_err(|e| Failure::new(Reason::OriginTlsError).detail(words::tls(&e)))?;
        Ok(Handshake {
            tls: Box::new(TlsState::new(Conn::Client(conn))),
            name,
            forwarded,
            selects: self.selects,
            sessions: sessions.filter(|_| offers),
        })
    }

    /// The configuration of today for an origin, and its sessions.
    fn current(&self, origin: u64) -> (Arc<ClientConfig>, Option<Arc<OriginSessions>>) {
        let mut generation = self.generation();
        let Some(max_age) = self.max_age else {
            return (Arc::clone(&generation.config), None);
        };
        if generation.since.elapsed() >= max_age {
            *generation = Generation::new(Arc::clone(&generation.config));
        }
        let room = match self.sni {
            Sni::Client => SESSIONS_BY_NAME,
            Sni::Configured | Sni::Absent => SESSIONS,
        };
        let Acquainted { config, sessions } = generation.origin(origin, room);
        (config, Some(sessions))
    }

    fn generation(&self) -> MutexGuard<'_, Generation> {
        self.generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake {
    /// Whether a session is offered. If the handshake then does not succeed, whatever the cause, the
    /// session may be it: the origin is to be spoken to in full before it is judged.
    pub const fn offers_session(&self) -> bool {
        self.sessions.is_some()
    }

    /// Does it. On success the transport is sealed. If it does not come to that, also when the caller gives
    /// it up, and a session was offered, no session of that name is offered again.
    pub async fn drive(self, transport: &mut Transport) -> Result<(), OriginRefusal> {
        let mut distrust = Distrust(self.sessions.map(|sessions| (sessions, self.name)));
        if let Err(error) = shake_hands(transport, self.tls).await {
            if let HandshakeError::Tls { alert, .. } = &error {
                transport.socket.send_alert_and_fin(alert);
            }
            return Err(refusal(error));
        }
        if let Some((sessions, _)) = distrust.0.take()
            && transport.tls.as_ref().is_some_and(|tls| tls.is_resumed())
        {
            sessions.prove();
        }
        let selected = transport
            .tls
            .as_ref()
            .and_then(|tls| tls.facts().alpn_protocol());
        let unselected = self.selects && selected.is_none();
        if unselected || self.forwarded.is_some() && selected != self.forwarded.as_deref() {
            // An h2 client must not be joined to an origin that will speak HTTP/1.1.
            return Err(OriginRefusal {
                failure: Failure::new(Reason::OriginAlpn).detail("the origin selected no protocol"),
                may_retry: false,
            });
        }
        Ok(())
    }
}

async fn shake_hands(
    transport: &mut Transport,
    mut tls: Box<TlsState>,
) -> Result<(), HandshakeError> {
    let notes = &mut HandshakeNotes::default();
    begin(transport, &mut tls, &[], &Wanted::default(), notes, &|_| {
        true
    })
    .await?;
    let nothing_early = EarlyData::announced(false);
    finish(transport, tls, &[], nothing_early, notes, &mut Patiently).await
}

/// Forgets the sessions of a name on drop, unless they are taken out of it before.
struct Distrust(Option<(Arc<OriginSessions>, ServerName<'static>)>);

impl Drop for Distrust {
    fn drop(&mut self) {
        if let Some((sessions, name)) = &self.0 {
            sessions.forget(name);
        }
    }
}

/// What failed in full after a handshake that offered a session had failed: the log is to tell both.
#[must_use]
pub fn after_resumption(mut refusal: OriginRefusal, first: &Failure) -> OriginRefusal {
    let words = |failure: &Failure| match &failure.detail {
        Some(detail) => format!("{}: {detail}", failure.reason),
        None => failure.reason.to_string(),
    };
    let before = format!("before that, while a session was offered: {}", words(first));
    refusal.failure.detail = Some(match refusal.failure.detail {
        Some(detail) => format!("{detail}; {before}"),
        None => before,
    });
    refusal
}

fn refusal(error: HandshakeError) -> OriginRefusal {
    match error {
        HandshakeError::Tls { error, .. } => OriginRefusal {
            failure: Failure::new(classify::origin(&error)).detail(words::tls(&error)),
            may_retry: false,
        },
        HandshakeError::Ended | HandshakeError::Withheld(_) => OriginRefusal {
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
