//! Why connections end: the stable codes, each with its fault.

use std::fmt;

/// Who caused the failure of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client, or the network to it.
    Client,
    /// The origin, or the network to it.
    Origin,
    /// This process or its configuration.
    Proxy,
    /// None of these: the operator's policy was applied.
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

/// Declares each reason with its code, fault and meaning. A test compares the table in the docs with it.
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

            /// The fault of this reason; `None` if it is never a fault.
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
    ClientClosed "client_closed" CLIENT,
        "The client ended first: in a handshake, or in the relay where the origin then did not end within \
         `half_close`.";
    OriginClosed "origin_closed" ORIGIN,
        "The origin ended first: in a handshake, or in the relay where the client then did not end within \
         `half_close`.";
    ClientReset "client_reset" CLIENT, "The client reset its connection.";
    OriginReset "origin_reset" ORIGIN, "The origin reset its connection.";
    ClientTruncated "client_truncated" CLIENT, "The client's TLS stream ended without close_notify.";
    OriginTruncated "origin_truncated" ORIGIN, "The origin's TLS stream ended without close_notify.";
    IdleTimeout "idle_timeout" POLICY, "No application byte moved either way for `idle`.";
    HalfCloseTimeout "half_close_timeout" POLICY,
        "One side ended, and the other did not take what was still queued for it within `half_close`.";
    Lifetime "lifetime" POLICY, "The connection reached `lifetime`.";
    Drain "drain" POLICY, "The process was stopping, and the drain deadline (or `idle_after`) was reached.";
    Killed "killed" POLICY, "The operator ended it: by `ctl kill`, or by disabling its origin.";
    OriginDown "origin_down" ORIGIN, "A check found the origin down, and `on_down` is `close`.";
    DeniedSource "denied_source" POLICY,
        "The client's address is denied by `sources` of the endpoint or route; for a live connection, since a \
         reload.";
    LimitConnections "limit_connections" POLICY,
        "As many connections as `limits.connections` of the endpoint or route allows were there.";
    LimitSource "limit_source" POLICY,
        "The client's source had as many connections as `limits.per_source` of the endpoint or route allows.";
    LimitRate "limit_rate" POLICY,
        "New connections came faster than `limits.new`, or those of the client's source faster than \
         `limits.new_per_source`, of the endpoint or route.";
    ProbeEof "probe_eof" CLIENT, "The client closed before it sent any data.";
    ProbeDropped "probe_dropped" POLICY,
        "The connection limit was reached, and this connection was dropped for a new client: its own client \
         had not sent a whole ClientHello or PROXY header, or was slow in its handshake.";
    LimitHandshakes "limit_handshakes" POLICY,
        "No handshake permit became free in time: as many as `limits.handshakes` of the process or endpoint were \
         under way, or the client's source had its share of them.";
    ProxyHeaderTimeout "proxy_header_timeout" CLIENT,
        "A peer that must send a PROXY header did not send a whole one in time.";
    ProxyHeaderMissing "proxy_header_missing" CLIENT,
        "A peer that must send a PROXY header began with something else.";
    ProxyHeaderInvalid "proxy_header_invalid" CLIENT,
        "The PROXY header violates the protocol, or its checksum is wrong.";
    ProxyHeaderUnexpected "proxy_header_unexpected" CLIENT,
        "A peer that may not send a PROXY header sent one, or a peer that may sent two.";
    HelloTimeout "hello_timeout" CLIENT, "No whole ClientHello within `hello`.";
    HelloTooLarge "hello_too_large" CLIENT, "The ClientHello takes more than 65 535 bytes on the wire.";
    HelloMalformed "hello_malformed" CLIENT,
        "The ClientHello violates TLS, or its server name is not a valid host name.";
    HelloUnsupported "hello_unsupported" CLIENT,
        "The ClientHello requires a feature that Reseal does not support.";
    NotTls "not_tls" CLIENT, "The first bytes are not TLS.";
    NegotiateRefused "negotiate_refused" CLIENT,
        "The client did not ask for TLS in the protocol of `negotiate`, or did not wait for the answer.";
    NoSni "no_sni" CLIENT, "No server name was sent, and the endpoint has no default route.";
    UnknownSni "unknown_sni" CLIENT,
        "No route matches the server name, and the endpoint has no default route.";
    NoRoute "no_route" POLICY,
        "Routes have the server name, but none matches the ALPN protocols or the source.";
    ClientTlsTimeout "client_tls_timeout" CLIENT, "The client's handshake did not finish within `client`.";
    CertificatePending "certificate_pending" PROXY,
        "The certificate for the server name, or the one for the origin, has not been issued yet.";
    AcmeValidated "acme_validated" None,
        "A CA's validation of a server name (`acme-tls/1`) was answered, and nothing else.";
    NoCommonVersion "no_common_version" CLIENT, "No TLS version in common (TLS 1.1 and older are refused).";
    NoCommonCipher "no_common_cipher" CLIENT, "No cipher suite in common.";
    NoCommonGroup "no_common_group" CLIENT, "No key exchange group in common.";
    NoCommonSignature "no_common_signature" CLIENT,
        "The client supports no signature scheme of the route's certificates.";
    NoCommonAlpn "no_common_alpn" CLIENT, "The client offers ALPN protocols, and none is the route's.";
    ClientRejectedCertificate "client_rejected_certificate" CLIENT, "The client rejected our certificate.";
    ClientCertMissing "client_cert_missing" CLIENT, "A client certificate is required, and none was sent.";
    ClientCertExpired "client_cert_expired" CLIENT,
        "The client's certificate, or one in its chain, has expired.";
    ClientCertNotYetValid "client_cert_not_yet_valid" CLIENT,
        "The client's certificate, or one in its chain, is not valid yet.";
    ClientCertWrongUsage "client_cert_wrong_usage" CLIENT,
        "The client's certificate does not permit client authentication.";
    ClientCertUnknownCa "client_cert_unknown_ca" CLIENT, "No configured CA signed the client's certificate.";
    ClientCertRevoked "client_cert_revoked" CLIENT,
        "A CRL lists the client's certificate, or one in its chain.";
    ClientCertCrlExpired "client_cert_crl_expired" PROXY,
        "The CRL for the client's certificate is past its next update.";
    ClientCertCrlUnknown "client_cert_crl_unknown" PROXY,
        "No CRL covers the issuer of the client's certificate, or of one in its chain.";
    CrlInvalid "crl_invalid" PROXY, "A CRL is not signed by the issuer that it names.";
    ClientCertNotAllowed "client_cert_not_allowed" POLICY,
        "The client's certificate is valid, but no rule of `allow` matches it.";
    ClientCertInvalid "client_cert_invalid" CLIENT,
        "The client's certificate is malformed, or the client did not prove possession of its key.";
    ClientTlsError "client_tls_error" CLIENT, "The client violated the TLS protocol, or sent an alert.";
    NoOrigin "no_origin" ORIGIN, "No origin of the upstream is usable: all are down or drained.";
    QueueFull "queue_full" POLICY, "Every origin was at its connection limit, and the queue was full.";
    QueueTimeout "queue_timeout" POLICY, "No origin had a free slot within `queue_timeout`.";
    OriginResolve "origin_resolve" ORIGIN, "The origin's name could not be resolved.";
    OriginLoop "origin_loop" PROXY,
        "The origin's address is one that this process listens on, so the connection would loop.";
    OriginRefused "origin_refused" ORIGIN, "The origin refused the connection.";
    OriginUnreachable "origin_unreachable" ORIGIN, "The origin is unreachable.";
    OriginConnectTimeout "origin_connect_timeout" ORIGIN, "The origin did not answer in time.";
    OriginTlsTimeout "origin_tls_timeout" ORIGIN, "The origin's handshake did not finish in time.";
    OriginNotTls "origin_not_tls" ORIGIN, "The origin does not speak TLS.";
    OriginTlsRefused "origin_tls_refused" ORIGIN,
        "The origin refused to begin TLS in the protocol of `tls.negotiate`.";
    OriginAlpn "origin_alpn" ORIGIN, "The origin did not select the required ALPN protocol.";
    OriginTlsUntrusted "origin_tls_untrusted" ORIGIN,
        "No trusted CA signed the origin's certificate, or the certificate does not permit server \
         authentication.";
    OriginTlsName "origin_tls_name" ORIGIN,
        "The origin's certificate is for another name, or no rule of `allow` matches it.";
    OriginTlsExpired "origin_tls_expired" ORIGIN, "The origin's certificate is expired or not valid yet.";
    OriginTlsRevoked "origin_tls_revoked" ORIGIN,
        "The origin's certificate is revoked, or no current CRL shows that it is not.";
    OriginTlsPin "origin_tls_pin" ORIGIN,
        "The key of the origin's certificate is not one of the pinned keys.";
    OriginRejectedCertificate "origin_rejected_certificate" ORIGIN,
        "The origin rejected our client certificate, or requires one.";
    OriginTlsError "origin_tls_error" ORIGIN, "The origin violated the TLS protocol, or sent an alert.";
    ProxyHeaderOut "proxy_header_out" PROXY, "The PROXY header for the origin could not be composed or sent.";
    LocalPortsExhausted "local_ports_exhausted" PROXY,
        "No local port was left for the connection to the origin.";
    LocalDescriptors "local_descriptors" PROXY, "No file descriptor or memory was left for the connection.";
    InternalPanic "internal_panic" PROXY, "A bug in Reseal ended this connection; please report it.";
}

impl Reason {
    /// Whether an end for it, with a fault, is one that an operator looks for: nothing that he did himself,
    /// and no check by a load balancer.
    pub const fn is_failure(self) -> bool {
        !matches!(self, Self::Drain | Self::Killed | Self::ProbeEof)
    }

    /// Whether a rule on addresses or a limit refused the connection.
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::DeniedSource
                | Self::LimitConnections
                | Self::LimitSource
                | Self::LimitRate
                | Self::LimitHandshakes
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}
