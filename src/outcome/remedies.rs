//! What an operator does about each reason: one text for `ctl failures`, the admin API, the access log and
//! docs/reasons.md, which a test compares.

use super::Reason;

impl Reason {
    /// What to do about it. Pages named in it are those of the documentation.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Ok => {
                "Nothing. With `bytes_up` and `bytes_down` of 0 the client ended after its handshake, as \
                 checks do."
            }
            Self::ClientClosed | Self::ClientReset => {
                "Look at the client, if `fault` is there. In `client_tls`, it did not like what it saw: an \
                 old client, another ALPN, a check."
            }
            Self::ClientTruncated | Self::OriginTruncated => {
                "Without `fault`, nothing. With it, and for a program that always ends like that: \
                 `on_truncation: close` (tls.md#ends-of-a-connection)."
            }
            Self::OriginClosed | Self::OriginReset => {
                "Look at the origin's log at that time. Many at once: it was restarted, or its own idle \
                 timeout is shorter than `timeouts.idle`."
            }
            Self::IdleTimeout => {
                "Raise `timeouts.idle` above the longest pause of the protocol, or `none`; or let the \
                 client send keepalives."
            }
            Self::HalfCloseTimeout => {
                "One side ended and the other did not finish. Raise `timeouts.half_close` if long answers \
                 follow a client's end."
            }
            Self::Lifetime | Self::Killed | Self::Drain => {
                "Somebody wanted it: the key `timeouts.lifetime`, `ctl kill` or `ctl origin … disable`, a \
                 stop or a reload. Many `drain` at each stop: raise `process.drain.stop`."
            }
            Self::OriginDown => {
                "A check failed and `health.on_down` is `close`. See the check with `ctl origins`."
            }
            Self::DeniedSource => {
                "`detail` names the network and where it is written. Behind a load balancer check `client` \
                 in the record: is it the client's own address?"
            }
            Self::LimitConnections | Self::LimitSource | Self::LimitRate => {
                "`limit` says whose. `ctl limits ENDPOINT` shows how full they are; try other values with \
                 `dry_run: true` (limits.md#limits)."
            }
            Self::ProbeEof => {
                "Somebody connects and says nothing: a port scan, or the check of a load balancer. \
                 `access_log.sample_probes: off` leaves such records out."
            }
            Self::ProbeDropped | Self::LimitHandshakes => {
                "More clients than permits, or silent ones: operations.md#silent-clients."
            }
            Self::ProxyHeaderMissing | Self::ProxyHeaderUnexpected => {
                "The peer is in `accept_proxy_protocol.from` and sends no header, or the reverse. Switch \
                 it on at the load balancer, or correct `from` (how-to/load-balancer.md)."
            }
            Self::ProxyHeaderTimeout | Self::ProxyHeaderInvalid => {
                "`detail` names the rule. Something else than a load balancer speaks to that port."
            }
            Self::HelloTimeout => {
                "The client connected and sent no whole ClientHello: a scanner, a lossy network, or a \
                 protocol in which the server speaks first (use `protocol: tcp`)."
            }
            Self::HelloTooLarge | Self::HelloMalformed | Self::HelloUnsupported => {
                "Not an ordinary client. `ctl log-level debug` and the `id` of the record show what came."
            }
            Self::NegotiateRefused => {
                "The client did not ask for TLS, or did not wait for the answer; `detail` says what it \
                 sent. how-to/negotiate.md"
            }
            Self::NotTls => {
                "`detail` names what came instead, such as HTTP or PostgreSQL's SSLRequest, and the way \
                 out."
            }
            Self::NoSni | Self::UnknownSni => {
                "Add a route for the name, or a `default_route`. A client that connects to an IP address \
                 sends no name."
            }
            Self::NoRoute => {
                "The name has routes, and none matches ALPN or source. `explain --alpn … --source …` says \
                 which."
            }
            Self::ClientTlsTimeout => {
                "A slow client, or one that waits for something. Raise `timeouts.client` only if real \
                 clients are that slow."
            }
            Self::CertificatePending => {
                "Look at `ctl certificates`: it has the CA's last words, and when it is asked again \
                 (how-to/acme.md#when-there-is-no-certificate)."
            }
            Self::AcmeValidated => "Nothing. A CA has verified that the name leads here.",
            Self::NoCommonVersion | Self::NoCommonCipher | Self::NoCommonGroup => {
                "Update the client: tls.md#versions-suites-groups. Or your own `min_version`, \
                 `cipher_suites`, `groups` are too narrow."
            }
            Self::NoCommonSignature => {
                "The client cannot verify this kind of key. Add an RSA certificate beside the ECDSA one."
            }
            Self::NoCommonAlpn => "Add the protocol to `alpn`, or leave `alpn` out.",
            Self::ClientRejectedCertificate => {
                "The client does not trust the certificate: its CA, its name, its dates, or an \
                 intermediate that is missing in `cert`. `detail` has its alert."
            }
            Self::ClientCertMissing => {
                "Give the client a certificate. If it has one, it found none for the CA names in the \
                 request: `send_ca_names: false`."
            }
            Self::ClientCertExpired | Self::ClientCertNotYetValid => {
                "Renew it, or set the client's clock."
            }
            Self::ClientCertWrongUsage => "Issue it with `extendedKeyUsage = clientAuth`.",
            Self::ClientCertUnknownCa => {
                "`client_cert.issuer` in the record names the CA: add it to `ca`, or let the client send \
                 its intermediate."
            }
            Self::ClientCertRevoked => "Intended. Else look at the list: `openssl crl -text`.",
            Self::ClientCertCrlExpired | Self::ClientCertCrlUnknown => {
                "Renew the list, or add one for that issuer (how-to/client-ca.md). It is not the client's \
                 fault."
            }
            Self::CrlInvalid => "Two CAs of one name, and the list of the other one.",
            Self::ClientCertNotAllowed => {
                "Compare `client_cert` in the record with `allow`; `explain --client-cert FILE` says which \
                 key fails."
            }
            Self::ClientCertInvalid => {
                "`detail` names the limit or the broken part (tls.md#chains)."
            }
            Self::ClientTlsError => {
                "`detail` has the alert or the rule. Often a client that gave up."
            }
            Self::NoOrigin => {
                "`detail` says why each origin was not taken: down, drained, disabled."
            }
            Self::QueueFull | Self::QueueTimeout => {
                "All origins are at their `connections`: raise it, add origins, or lengthen \
                 `connect.queue`."
            }
            Self::OriginResolve => {
                "The name has no address. `ctl origins` and the log have the resolver's answer."
            }
            Self::OriginLoop => "The origin's address is Reseal's own. Correct it.",
            Self::OriginRefused | Self::OriginUnreachable => {
                "Nothing listens there, or a firewall answers. Try `curl -v telnet://ADDRESS:PORT` from \
                 the same machine."
            }
            Self::OriginConnectTimeout => "A firewall drops, or the origin's accept queue is full.",
            Self::OriginTlsTimeout => {
                "The origin accepts and does not answer: it may expect plain TCP (`mode: terminate`)."
            }
            Self::OriginNotTls => {
                "It speaks no TLS: `terminate` or `forward` instead of `reencrypt` or `originate`."
            }
            Self::OriginTlsRefused => {
                "It does not begin TLS in the protocol of `tls.negotiate`: `ssl = on` in PostgreSQL, \
                 STARTTLS in a mail server."
            }
            Self::OriginAlpn => {
                "Client and origin have no protocol in common: leave `h2` out of `alpn` on that route \
                 (how-to/grpc-http.md#an-origin-that-speaks-only-http11)."
            }
            Self::OriginTlsUntrusted => {
                "`tls.ca` of the upstream is missing or another CA. `openssl s_client -connect ADDRESS \
                 -showcerts` shows what it sends."
            }
            Self::OriginTlsName => {
                "Set `server_name` to a name in the origin's certificate; `detail` lists them."
            }
            Self::OriginTlsExpired | Self::OriginTlsRevoked => {
                "Renew the origin's certificate, or the list."
            }
            Self::OriginTlsPin => {
                "The origin has another key: a renewal with a new one, or an impostor. Compare before you \
                 change `spki_sha256`."
            }
            Self::OriginRejectedCertificate => {
                "It wants a client certificate, or another one: `client_certificate` under the upstream's \
                 `tls`."
            }
            Self::OriginTlsError => {
                "`detail` has its alert. `handshake_failure` often means that it speaks only TLS that \
                 Reseal refuses."
            }
            Self::ProxyHeaderOut => {
                "The header is too large (`tlvs: [client_cert]`), or the origin closed at once because it \
                 expects none."
            }
            Self::LocalPortsExhausted => {
                "`connect.source_addresses`, or fewer short connections (upstreams.md#attempts)."
            }
            Self::LocalDescriptors => "Raise the limit on open files (sizing.md#descriptors).",
            Self::InternalPanic => "A bug in Reseal. Please report it with the log of the process.",
        }
    }
}
