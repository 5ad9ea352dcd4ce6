//! How a connection ends: the stage it reached, whose fault it was, and a stable reason code.
//!
//! This is vocabulary. It knows no socket, no configuration and no log format; the log, the metrics,
//! `explain` and the tests all use these words. Reason codes are extended, never renamed.

use std::fmt;

/// A step of a connection's life, in the order in which steps happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Caps of the process and the endpoint.
    Admit,
    /// Reading the PROXY header of a peer that has to send one.
    ProxyHeader,
    /// Reading the ClientHello.
    Hello,
    /// Choosing the route.
    Route,
    /// The client's TLS handshake and client auth.
    ClientTls,
    /// Waiting for a place at an origin.
    Queue,
    /// Waiting for the first answer to an origin's name.
    Resolve,
    /// Dialling the origin.
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

    /// Whether a connection that ends in this stage had come to its relay.
    pub const fn after(self) -> After {
        match self {
            Self::Relay => After::Relay,
            _ => After::Setup,
        }
    }
}

/// How far a connection had come when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It was still being set up: its client has got nothing from an origin.
    Setup,
    /// The relay had begun.
    Relay,
}

impl After {
    /// The word used in logs, metrics and docs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Relay => "relay",
        }
    }
}

/// Who caused an ending that failed somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client, or the way to it.
    Client,
    /// The origin, or the way to it.
    Origin,
    /// This process or its configuration.
    Proxy,
    /// Nobody: a rule of the operator was applied.
    Policy,
}

impl Fault {
    /// The word used in logs and docs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Origin => "origin",
            Self::Proxy => "proxy",
            Self::Policy => "policy",
        }
    }
}

/// Declares the reasons once: code, fault and meaning. The docs' table is made from it.
macro_rules! reasons {
    ($($name:ident $code:literal $fault:expr, $meaning:literal;)+) => {
        /// Why a connection ended. The codes are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason { $(#[doc = $meaning] $name,)+ }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable code used in logs, metrics and docs.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Whose fault this reason is, where it is one; `None` for what never is.
            pub const fn fault(self) -> Option<Fault> {
                match self { $(Self::$name => $fault,)+ }
            }

            /// One sentence for the documentation.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)+ }
            }
        }
    };
}

const CLIENT: Option<Fault> = Some(Fault::Client);
const ORIGIN: Option<Fault> = Some(Fault::Origin);
const PROXY: Option<Fault> = Some(Fault::Proxy);
const POLICY: Option<Fault> = Some(Fault::Policy);

reasons! {
    Ok "ok" None, "Both directions ended cleanly.";
    ClientClosed "client_closed" CLIENT, "The client ended first: in a handshake, or in the relay where the origin then did not end within `half_close`.";
    OriginClosed "origin_closed" ORIGIN, "The origin ended first: in a handshake, or in the relay where the client then did not end within `half_close`.";
    ClientReset "client_reset" CLIENT, "The client reset its connection.";
    OriginReset "origin_reset" ORIGIN, "The origin reset its connection.";
    ClientTruncated "client_truncated" CLIENT, "The client's TLS stream ended without close_notify.";
    OriginTruncated "origin_truncated" ORIGIN, "The origin's TLS stream ended without close_notify.";
    IdleTimeout "idle_timeout" POLICY, "No application byte moved either way for `idle`.";
    HalfCloseTimeout "half_close_timeout" POLICY, "One side ended, and the other did not take what was still queued for it within `half_close`.";
    Lifetime "lifetime" POLICY, "The connection reached `lifetime`.";
    Drain "drain" POLICY, "The process was stopping, and the drain deadline (or `idle_after`) was reached.";
    Killed "killed" POLICY, "It was ended on request: `ctl kill`, or its origin was disabled.";
    OriginDown "origin_down" ORIGIN, "A check found the origin down, and `on_down` is `close`.";
    ProbeEof "probe_eof" CLIENT, "The client closed before it said anything.";
    ProbeDropped "probe_dropped" POLICY, "All connections were in use, and this one gave its place to another: its client had not sent a whole ClientHello or PROXY header, or was slow in its handshake.";
    LimitHandshakes "limit_handshakes" POLICY, "The ClientHello waited for others, as `process.limits.handshakes` were under way or its source had its share of them, until the time for it was over.";
    ProxyHeaderTimeout "proxy_header_timeout" CLIENT, "No whole PROXY header in time, from a peer that has to send one.";
    ProxyHeaderMissing "proxy_header_missing" CLIENT, "A peer that has to send a PROXY header began with something else.";
    ProxyHeaderInvalid "proxy_header_invalid" CLIENT, "The PROXY header breaks the rules of the protocol, or its checksum is wrong.";
    ProxyHeaderUnexpected "proxy_header_unexpected" CLIENT, "A PROXY header came from a peer that may send none, or a second one from a peer that may.";
    HelloTimeout "hello_timeout" CLIENT, "No whole ClientHello within `hello`.";
    HelloTooLarge "hello_too_large" CLIENT, "The ClientHello takes more than 65 535 bytes on the wire.";
    HelloMalformed "hello_malformed" CLIENT, "The ClientHello breaks the rules of TLS, or names a host that cannot be one.";
    HelloUnsupported "hello_unsupported" CLIENT, "The ClientHello asks for something that Reseal does not speak.";
    NotTls "not_tls" CLIENT, "The first bytes are not TLS.";
    NoSni "no_sni" CLIENT, "No server name was sent, and the endpoint has no default route.";
    UnknownSni "unknown_sni" CLIENT, "No route owns the server name, and the endpoint has no default route.";
    NoRoute "no_route" POLICY, "A route owns the server name, but the match of none holds.";
    ClientTlsTimeout "client_tls_timeout" CLIENT, "The client's handshake was not done within `client`.";
    NoCommonVersion "no_common_version" CLIENT, "No TLS version in common (TLS 1.1 and older are refused).";
    NoCommonCipher "no_common_cipher" CLIENT, "No cipher suite in common.";
    NoCommonGroup "no_common_group" CLIENT, "No key exchange group in common.";
    NoCommonSignature "no_common_signature" CLIENT, "The client accepts no signature scheme that a certificate of the route can make.";
    NoCommonAlpn "no_common_alpn" CLIENT, "The client offers ALPN protocols, and none is the route's.";
    ClientRejectedCertificate "client_rejected_certificate" CLIENT, "The client refused our certificate.";
    ClientCertMissing "client_cert_missing" CLIENT, "A client certificate is required, and none was sent.";
    ClientCertExpired "client_cert_expired" CLIENT, "The client's certificate, or one in its chain, has expired.";
    ClientCertNotYetValid "client_cert_not_yet_valid" CLIENT, "The client's certificate, or one in its chain, is not valid yet.";
    ClientCertWrongUsage "client_cert_wrong_usage" CLIENT, "The client's certificate is not meant for client authentication.";
    ClientCertUnknownCa "client_cert_unknown_ca" CLIENT, "No configured CA signed the client's certificate.";
    ClientCertRevoked "client_cert_revoked" CLIENT, "A certificate revocation list names the client's certificate, or one in its chain.";
    ClientCertCrlExpired "client_cert_crl_expired" PROXY, "The revocation list that could answer for the client's certificate is past its next update.";
    ClientCertCrlUnknown "client_cert_crl_unknown" PROXY, "No revocation list is of the issuer of the client's certificate, or of one in its chain.";
    CrlInvalid "crl_invalid" PROXY, "A revocation list is not signed by the issuer that it names.";
    ClientCertNotAllowed "client_cert_not_allowed" POLICY, "The client's certificate is good, and no rule of `allow` admits it.";
    ClientCertInvalid "client_cert_invalid" CLIENT, "The client's certificate is broken, or its key was not proven.";
    ClientTlsError "client_tls_error" CLIENT, "The client broke the TLS protocol, or sent an alert.";
    NoOrigin "no_origin" ORIGIN, "No origin of the upstream can be used: checks found all of them down, or they are drained.";
    QueueFull "queue_full" POLICY, "Every origin had as many connections as it may, and `queue` was full.";
    QueueTimeout "queue_timeout" POLICY, "No origin had room for the connection within `queue_timeout`.";
    OriginResolve "origin_resolve" ORIGIN, "The origin's name could not be resolved.";
    OriginLoop "origin_loop" PROXY, "The origin's address is one that this process listens at itself: the connection would come back to it.";
    OriginRefused "origin_refused" ORIGIN, "The origin refused the connection.";
    OriginUnreachable "origin_unreachable" ORIGIN, "No way to the origin.";
    OriginConnectTimeout "origin_connect_timeout" ORIGIN, "The origin did not answer in time.";
    OriginTlsTimeout "origin_tls_timeout" ORIGIN, "The origin's handshake was not done in time.";
    OriginNotTls "origin_not_tls" ORIGIN, "The origin does not speak TLS.";
    OriginAlpn "origin_alpn" ORIGIN, "The origin did not select the ALPN protocol that it had to.";
    OriginTlsUntrusted "origin_tls_untrusted" ORIGIN, "No trusted CA signed the origin's certificate, or the certificate is not fit for a server.";
    OriginTlsName "origin_tls_name" ORIGIN, "The origin's certificate is for another name, or no rule of `allow` admits it.";
    OriginTlsExpired "origin_tls_expired" ORIGIN, "The origin's certificate is expired or not valid yet.";
    OriginTlsRevoked "origin_tls_revoked" ORIGIN, "The origin's certificate is revoked, or no revocation list in force says that it is not.";
    OriginTlsPin "origin_tls_pin" ORIGIN, "The key of the origin's certificate is none of those pinned.";
    OriginRejectedCertificate "origin_rejected_certificate" ORIGIN, "The origin refused our client certificate, or wants one.";
    OriginTlsError "origin_tls_error" ORIGIN, "The origin broke the TLS protocol, or sent an alert.";
    ProxyHeaderOut "proxy_header_out" PROXY, "The PROXY header for the origin could not be made, or not be sent.";
    LocalPortsExhausted "local_ports_exhausted" PROXY, "No local port left to dial the origin from.";
    LocalDescriptors "local_descriptors" PROXY, "No file descriptor or memory left to dial the origin with.";
    InternalPanic "internal_panic" PROXY, "A defect of Reseal ended this connection; please report it.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What a client is told when its connection is refused or given up.
#[derive(Debug, PartialEq, Eq)]
pub enum CloseWith {
    /// Nothing but the end: there is no one to tell, or no way to say it.
    Close,
    /// These bytes (a TLS alert record), then an orderly end.
    Alert(Vec<u8>),
    /// A reset: what the client had begun cannot be finished, and must not look as if it had.
    Reset,
    /// A reset at once, whatever the client has not received yet: its place is needed.
    Abort,
}

/// Why a stage failed: the reason, free text for the operator, and what the client is told.
#[derive(Debug)]
pub struct Failure {
    /// The stable reason.
    pub reason: Reason,
    /// Free text; may hold bytes from the wire, so it is escaped and capped where it is written.
    pub detail: Option<String>,
    /// What the client is told before its socket is closed.
    pub close_with: CloseWith,
}

impl Failure {
    /// A failure that closes the client's socket without a word.
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            detail: None,
            close_with: CloseWith::Close,
        }
    }

    /// Adds free text for the operator.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Sets what the client is told.
    #[must_use]
    pub fn close_with(mut self, close_with: CloseWith) -> Self {
        self.close_with = close_with;
        self
    }
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

/// How one connection ended. Exactly one per connection.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The stage that was reached.
    pub stage: Stage,
    /// Why it ended.
    pub reason: Reason,
    /// Whose fault that was: the reason's, or nobody's where nothing was lost by it.
    pub fault: Option<Fault>,
    /// Free text, if there is any.
    pub detail: Option<String>,
}

impl Outcome {
    /// Whether it ended in its set-up or after its relay had begun.
    pub const fn after(&self) -> After {
        self.stage.after()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn reason_codes_are_unique_and_only_ok_has_no_fault() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(reason.fault().is_none(), *reason == Reason::Ok, "{reason}");
        }
    }
}
