//! How a connection ends: its stage, the fault, and a stable reason code.
//!
//! These types know no socket, configuration or log format; the access log, the metrics, `explain` and the
//! tests share them. Reason codes may be added but never renamed.

mod reasons;
mod remedies;

pub use self::reasons::{Fault, Reason};

/// A stage of a connection, in the order of the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Applying the caps of the process.
    Admit,
    /// Reading the PROXY header of a peer that must send one.
    ProxyHeader,
    /// Reading the ClientHello.
    Hello,
    /// Choosing the route.
    Route,
    /// The client's TLS handshake and client auth.
    ClientTls,
    /// Waiting for a slot at an origin.
    Queue,
    /// Resolving an origin's name for the first time.
    Resolve,
    /// Connecting to the origin.
    Connect,
    /// The TLS handshake with the origin.
    OriginTls,
    /// Copying bytes.
    Relay,
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: [Self; 10] = [
        Self::Admit,
        Self::ProxyHeader,
        Self::Hello,
        Self::Route,
        Self::ClientTls,
        Self::Queue,
        Self::Resolve,
        Self::Connect,
        Self::OriginTls,
        Self::Relay,
    ];

    /// The word used in logs and docs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::ProxyHeader => "proxy_header",
            Self::Hello => "hello",
            Self::Route => "route",
            Self::ClientTls => "client_tls",
            Self::Queue => "queue",
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::OriginTls => "origin_tls",
            Self::Relay => "relay",
        }
    }

    /// Whether a connection that ends in this stage had reached its relay.
    pub const fn after(self) -> After {
        match self {
            Self::Relay => After::Relay,
            _ => After::Setup,
        }
    }
}

/// Whether a connection ended before or after its relay began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It was still being set up; the client had received nothing from an origin.
    Setup,
    /// The relay had begun.
    Relay,
}

impl After {
    /// The word used in the access log and docs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Relay => "relay",
        }
    }
}

/// Whose limit refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitOwner {
    /// That of the process.
    Process,
    /// That of the endpoint, for all of its clients.
    Endpoint,
    /// That of the route, for all of its clients.
    Route,
    /// That of the client's source, at the endpoint or route.
    Source,
}

impl LimitOwner {
    /// The word used in logs and docs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Endpoint => "endpoint",
            Self::Route => "route",
            Self::Source => "source",
        }
    }
}

/// The limits that would have refused a connection, in a dry run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WouldRefuse(u8);

impl WouldRefuse {
    const REASONS: [Reason; 4] = [
        Reason::LimitConnections,
        Reason::LimitSource,
        Reason::LimitRate,
        Reason::LimitHandshakes,
    ];

    /// Adds a reason; one that is not of a limit is left out.
    pub fn insert(&mut self, reason: Reason) {
        if let Some(place) = Self::REASONS.iter().position(|known| *known == reason) {
            self.0 |= 1 << place;
        }
    }

    /// The reasons.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        let all = Self::REASONS.into_iter().enumerate();
        all.filter_map(move |(place, reason)| (self.0 & (1 << place) != 0).then_some(reason))
    }
}

/// How the socket of a client is closed when its connection fails.
#[derive(Debug, PartialEq, Eq)]
pub enum CloseWith {
    /// An orderly end, without an alert.
    Close,
    /// These bytes (a TLS alert record), then an orderly end.
    Alert(Vec<u8>),
    /// A reset, once the client has received what was sent: its stream is incomplete and must not look
    /// complete.
    Reset,
    /// A reset at once, which discards data in flight: the permit is needed for another client.
    Abort,
}

/// Why a stage failed, with text for the operator, and how to close the client's socket.
#[derive(Debug)]
pub struct Failure {
    /// The stable reason.
    pub reason: Reason,
    /// Free text. It may hold bytes from the wire, so writers escape and cap it.
    pub detail: Option<String>,
    /// How the client's socket is closed.
    pub close_with: CloseWith,
    /// Whose limit it was, if it was one.
    pub limit: Option<LimitOwner>,
}

impl Failure {
    /// A failure that closes the client's socket without an alert.
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            detail: None,
            close_with: CloseWith::Close,
            limit: None,
        }
    }

    /// Sets whose limit it was.
    #[must_use]
    pub const fn limit(mut self, owner: LimitOwner) -> Self {
        self.limit = Some(owner);
        self
    }

    /// Adds free text for the operator.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Sets how the client's socket is closed.
    #[must_use]
    pub fn close_with(mut self, close_with: CloseWith) -> Self {
        self.close_with = close_with;
        self
    }
}

/// Why an attempt at an origin failed, and whether another origin may be tried.
#[derive(Debug)]
pub struct OriginRefusal {
    /// The reason and its details.
    pub failure: Failure,
    /// Whether the origin closed or reset the connection: it may be restarting, and another may work.
    pub may_retry: bool,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

/// How one connection ended. Exactly one per connection.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The stage it ended in.
    pub stage: Stage,
    /// Why it ended.
    pub reason: Reason,
    /// The fault: that of the reason, or none if no data was lost.
    pub fault: Option<Fault>,
    /// Free text, if there is any.
    pub detail: Option<String>,
    /// Whose limit it was, if it was one.
    pub limit: Option<LimitOwner>,
}

impl Outcome {
    /// Whether it ended before or after its relay began.
    pub const fn after(&self) -> After {
        self.stage.after()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn reason_codes_are_unique_and_only_good_ends_have_no_fault() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            let is_good = matches!(reason, Reason::Ok | Reason::AcmeValidated);
            assert_eq!(reason.fault().is_none(), is_good, "{reason}");
        }
    }
}
