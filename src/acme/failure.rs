//! Why an order failed, and what that means for the next one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{Error, Problem};

use crate::observe::escape;
use crate::sync::Mutex;

/// How long the CA wants to be left alone, by its last refusal.
pub(super) type AskedPause = Arc<Mutex<Option<Duration>>>;

/// What kind of failure it was: a closed set, for metrics and for the time until the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The CA gave no answer, or none of its protocol.
    Unreachable,
    /// The CA wants fewer orders.
    RateLimited,
    /// The CA could not validate a name.
    Validation,
    /// The CA refused the account or the order, or issued something else.
    Refused,
    /// The state could not be read or written, or something else failed on this machine.
    Local,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Unreachable,
        Self::RateLimited,
        Self::Validation,
        Self::Refused,
        Self::Local,
    ];

    /// The word of logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::RateLimited => "rate_limited",
            Self::Validation => "validation",
            Self::Refused => "refused",
            Self::Local => "local",
        }
    }
}

/// Why an order failed.
#[derive(Clone, Debug)]
pub struct OrderFailure {
    /// The kind.
    pub kind: Kind,
    /// One sentence, without control characters.
    pub why: String,
    /// How long the CA wants to be left alone.
    pub retry_after: Option<Duration>,
    /// Whether the CA does not know the account.
    pub is_stranger: bool,
}

impl OrderFailure {
    pub(super) fn new(kind: Kind, why: impl fmt::Display) -> Self {
        Self {
            kind,
            why: escape::own(&why.to_string()),
            retry_after: None,
            is_stranger: false,
        }
    }

    /// Takes over the CA's wish to be left alone that its requests have noted.
    pub(super) fn asked(mut self, pause: &AskedPause) -> Self {
        if matches!(self.kind, Kind::RateLimited | Kind::Unreachable) {
            self.retry_after = pause.lock().take();
        }
        self
    }

    /// Whether another order might succeed: the CA answers, and neither its limits nor the account are in
    /// the way.
    pub(super) fn is_of_this_order(&self) -> bool {
        let is_its_own = matches!(self.kind, Kind::Validation | Kind::Refused);
        is_its_own && !self.is_stranger
    }

    /// A failure of this machine.
    pub(super) fn local(why: impl fmt::Display) -> Self {
        Self::new(Kind::Local, why)
    }

    /// What the CA said, or why it said nothing.
    pub(super) fn of(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::said(&problem),
            Error::Timeout(_) => Self::new(Kind::Unreachable, "the CA did not decide in time"),
            Error::Json(_) => Self::new(Kind::Unreachable, "what the CA sends is not ACME"),
            Error::Str(what) => Self::new(Kind::Refused, format_args!("the CA's answer: {what}")),
            Error::Unsupported(what) => Self::new(
                Kind::Refused,
                format_args!("the CA does not support {what}"),
            ),
            error => Self::new(Kind::Unreachable, error),
        }
    }

    /// A problem document (RFC 8555 section 6.7).
    pub(super) fn said(problem: &Problem) -> Self {
        let name = problem.r#type.as_deref().unwrap_or_default();
        let name = name
            .strip_prefix("urn:ietf:params:acme:error:")
            .unwrap_or(name);
        let kind = match name {
            "rateLimited" => Kind::RateLimited,
            "serverInternal" | "badNonce" => Kind::Unreachable,
            "unauthorized" | "incorrectResponse" | "connection" | "dns" | "tls" | "caa" => {
                Kind::Validation
            }
            _ => Kind::Refused,
        };
        let mut why = escape::text(problem.detail.as_deref().unwrap_or("no detail"));
        for inner in problem.subproblems.iter().take(SHOWN_MAX) {
            let of = inner
                .identifier
                .as_ref()
                .map(|name| name.authorized(false).to_string());
            let detail = inner.detail.as_deref().unwrap_or_default();
            why.push_str(&format!(
                "; {}: {}",
                escape::text(&of.unwrap_or_default()),
                escape::text(detail)
            ));
        }
        Self {
            is_stranger: name == "accountDoesNotExist",
            ..Self::new(
                kind,
                format_args!("the CA says {}: {why}", escape::text(name)),
            )
        }
    }
}

/// How many of the problems in a problem are told.
const SHOWN_MAX: usize = 3;
