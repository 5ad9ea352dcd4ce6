//! A handshake with an origin, and what its failure means.

use std::io;

use rustls::AlertDescription;
use tokio::time::{Instant, timeout_at};

use crate::outcome::{Failure, OriginRefusal, Reason};
use crate::tls::early_data::EarlyData;
use crate::tls::handshake::{HandshakeError, WaitForPeer, begin, finish};
use crate::tls::handshake_notes::HandshakeNotes;
use crate::tls::origin_sessions::OfferedSession;
use crate::tls::wrapped_suites::SuiteHooks;
use crate::tls::{classify, foreign, words};
use crate::transport::{FLIGHT_CHUNK, TlsState, Transport};

/// The detail of a handshake that ended before the origin sent a byte.
const NO_ANSWER: &str = "the origin sent nothing in answer to the ClientHello: \
    it may be overloaded, or speak no TLS on this port, \
    or only after a start of its own protocol (`tls: { negotiate: … }`), as PostgreSQL before 17";

/// A handshake with an origin that is about to begin.
#[derive(Debug)]
pub struct Handshake {
    pub(super) tls: Box<TlsState>,
    pub(super) forwarded: Option<Vec<u8>>,
    pub(super) may_select_none: bool,
    pub(super) must_select: bool,
    pub(super) offered: Option<OfferedSession>,
}

impl Handshake {
    /// The offered session, if one is offered; the caller settles it after [`Handshake::drive`]. If such a
    /// handshake fails, the session may be the cause, whatever the error: a full handshake must follow
    /// before the failure counts against the origin.
    pub const fn take_offered(&mut self) -> Option<OfferedSession> {
        self.offered.take()
    }

    /// Makes the last flight wait for the first write to the origin, which must follow at once
    /// ([`TlsState::hold_flight`]).
    #[must_use]
    pub fn hold_flight(mut self) -> Self {
        self.tls.hold_flight();
        self
    }

    /// Performs the handshake, until `deadline`. On success the transport has its TLS state.
    pub async fn drive(
        self,
        transport: &mut Transport,
        deadline: Instant,
    ) -> Result<(), OriginRefusal> {
        let mut is_answered = false;
        let done = timeout_at(deadline, handshake(transport, self.tls, &mut is_answered)).await;
        let Ok(done) = done else {
            return Err(unfinished(Reason::OriginTlsTimeout, is_answered));
        };
        done?;
        let selected = transport
            .tls
            .as_ref()
            .and_then(|tls| tls.facts().alpn_protocol());
        let is_accepted = match (selected, &self.forwarded) {
            (None, None) => !self.must_select,
            (None, Some(_)) => self.may_select_none,
            (Some(selected), Some(forwarded)) => selected == forwarded,
            (Some(_), None) => true,
        };
        if !is_accepted {
            // An h2 client must not be connected to an origin that will speak HTTP/1.1.
            return Err(OriginRefusal {
                failure: Failure::new(Reason::OriginAlpn).detail("the origin selected no protocol"),
                may_retry: false,
            });
        }
        Ok(())
    }
}

/// `is_answered` becomes true when the origin's first bytes arrive.
async fn handshake(
    transport: &mut Transport,
    mut tls: Box<TlsState>,
    is_answered: &mut bool,
) -> Result<(), OriginRefusal> {
    let notes = &mut HandshakeNotes::default();
    let hooks = &SuiteHooks::default();
    let begun = begin(transport, &mut tls, &[], hooks, notes, &|_| true).await;
    begun.map_err(|error| refuse(transport, error))?;
    let mut first = Vec::new();
    let read = transport.socket.read_onto(&mut first, FLIGHT_CHUNK).await;
    match read {
        Ok(0) => return Err(unfinished(Reason::OriginClosed, false)),
        Ok(_) => *is_answered = true,
        Err(error) => return Err(refuse(transport, HandshakeError::Socket(error))),
    }
    if let Some(words) = foreign::describe_answer(&first) {
        let alert = classify::alert_record(AlertDescription::UnexpectedMessage);
        transport.socket.send_alert_and_fin(&alert);
        return Err(OriginRefusal {
            failure: Failure::new(Reason::OriginNotTls).detail(words),
            may_retry: false,
        });
    }
    let early_data = EarlyData::announced(false);
    let peer = &mut WaitForPeer;
    let finished = finish(transport, tls, &first, early_data, notes, peer).await;
    finished.map_err(|error| refuse(transport, error))
}

/// Adds the failure of a handshake that offered a session to that of the full handshake after it, so
/// that the log has both.
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

/// Sends the alert of a failed handshake, and returns what the failure means.
fn refuse(transport: &mut Transport, error: HandshakeError) -> OriginRefusal {
    match error {
        HandshakeError::Tls { error, alert } => {
            transport.socket.send_alert_and_fin(&alert);
            OriginRefusal {
                failure: Failure::new(classify::origin(&error)).detail(words::tls(&error)),
                may_retry: false,
            }
        }
        HandshakeError::Ended | HandshakeError::Declined(_) => {
            unfinished(Reason::OriginClosed, true)
        }
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

/// The refusal of an origin that did not finish the handshake. One that has sent nothing at all may not
/// speak TLS: servers of another protocol wait for more, or close.
fn unfinished(reason: Reason, is_answered: bool) -> OriginRefusal {
    let failure = Failure::new(reason);
    OriginRefusal {
        failure: match is_answered {
            true => failure,
            false => failure.detail(NO_ANSWER),
        },
        may_retry: true,
    }
}
