//! All keys of the configuration file with their defaults: the table that the reader, the JSON Schema
//! and the printed form are derived from. Knows nothing of how keys are used, nor which values fit
//! together.

pub mod balancing;

use super::reader::address::{Cidr, Ip, Listen, OriginAddress};
use super::reader::admin_address::{AdminAddress, IpPort};
use super::reader::definitions::Definitions;
use super::reader::fields::{Field, Fields, spec};
use super::reader::generic::{AutoOr, Limit, Names, OffOr, OneOrMany};
use super::reader::invalid::Invalid;
use super::reader::problem::Span;
use super::reader::read::{Located, Read, Reader};
use super::reader::rendered::Rendered;
use super::reader::values::{
    Count, Duration, Name, Output, Path, Permissions, Protocol, Size, Text, Timeout,
};
use super::reader::words::keyword;
use super::reader::yaml::{Kind, Node};
use super::spec::balancing::{Balance, Health, Resolve};
use crate::observe::format::Format;
use crate::relay::OnTruncation;
use crate::snapshot::Watched;
use crate::tls::connector::Sni;
use crate::tls::verify::client::{AtExpiry, Recheck};
use crate::tls::verify::crl::{Depth, OnUnknown};
use serde_json::{Value, json};

spec! {
    /// A whole configuration file.
    pub struct Spec {
        /// The process as a whole.
        default process: Process = "{}",
        /// The process log.
        default log: Log = "{}",
        /// The access log: one line for each connection.
        default access_log: AccessLog = "{}",
        /// The admin socket and the metrics listener.
        default admin: Admin = "{}",
        /// The endpoints that clients connect to, at least one.
        required endpoints: Vec<Located<Endpoint>>,
        /// Groups of servers that routes lead to, by name.
        required upstreams: Names<Upstream>,
    }
}

spec! {
    /// The process as a whole.
    pub struct Process {
        /// Worker threads, 1 to 1024; `auto` is one for each core that this process may use.
        default workers: AutoOr<Count<1, 1024>> = "auto",
        /// Limits over all endpoints.
        default limits: ProcessLimits = "{}",
        /// How connections end when Reseal stops or their configuration is removed.
        default drain: Drain = "{}",
        /// What to do about a private key that every user may read.
        default key_permissions: KeyPermissions = "refuse",
        /// Files with secrets of at least 32 bytes that instances share to resume each other's TLS
        /// sessions: the first issues tickets, all accept them.
        optional ticket_secret: OneOrMany<Path>,
        /// When changed files are re-read automatically.
        default reload: Reload = "{}",
        later user, sandbox;
    }
}

spec! {
    /// Limits over all endpoints.
    pub struct ProcessLimits {
        /// Concurrent connections; `auto` is what the limit on open files allows.
        default connections: AutoOr<Count<1, 10_000_000>> = "auto",
        /// Concurrent TLS handshakes with clients.
        default handshakes: Count<1, 1_000_000> = "1024",
    }
}

spec! {
    /// How connections end when Reseal stops or their configuration is removed.
    pub struct Drain {
        /// Before a stop: how long Reseal is not ready but still accepts.
        default lame_duck: Duration = "0s",
        /// After TERM: how long connections may continue.
        default stop: Duration = "20s",
        /// How long connections may continue after their endpoint, route or origin was removed.
        default removed: Duration = "10m",
        /// While draining, a connection that is idle for this long may be closed first.
        default idle_after: Duration = "30s",
    }
}

spec! {
    /// When changed files are re-read automatically.
    pub struct Reload {
        /// Which files are watched.
        default watch: Watched = "materials",
        /// Quiet period before a changed file is re-read.
        default debounce: Duration = "500ms",
    }
}

keyword! {
    impl Watched("choice") {
        Materials = "materials",
        All = "all",
        Nothing = "off",
    }
}

keyword! {
    /// What to do about a private key that every user may read.
    pub enum KeyPermissions("policy") {
        /// Refuse to start.
        Refuse = "refuse",
        /// Warn and continue.
        Warn = "warn",
    }
}

spec! {
    /// The process log.
    pub struct Log {
        /// The least severe level that is logged.
        default level: Level = "info",
        /// The format of a line.
        default format: LogFormat = "auto",
        /// `stderr`, `stdout`, `none` or a file, which is reopened on USR1.
        default output: Output = "stderr",
    }
}

keyword! {
    /// The severity of a log event.
    pub enum Level("level") {
        /// Something does not work.
        Error = "error",
        /// Something may soon not work.
        Warn = "warn",
        /// Normal operation.
        Info = "info",
        /// Details for troubleshooting.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

keyword! {
    /// The format of the process log.
    pub enum LogFormat("format") {
        /// `text` at a terminal, else `json`.
        Auto = "auto",
        /// One JSON object per line.
        Json = "json",
        /// `key=value` pairs.
        Logfmt = "logfmt",
        /// For humans.
        Text = "text",
    }
}

spec! {
    /// The access log.
    pub struct AccessLog {
        /// The format of a line.
        default format: Format = "json",
        /// `stdout`, `stderr`, `none` or a file, which is reopened on USR1.
        default output: Output = "stdout",
        /// When a line is written, one or a list.
        default events: OneOrMany<AccessEvent> = "[close]",
        later every, sample_probes;
    }
}

keyword! {
    impl Format("format") {
        Json = "json",
        Logfmt = "logfmt",
        Text = "text",
    }
}

keyword! {
    /// When a line of the access log is written.
    pub enum AccessEvent("event") {
        /// When the relay starts.
        Open = "open",
        /// When the connection has ended, with its outcome.
        Close = "close",
    }
}

spec! {
    /// The admin socket and the metrics listener.
    pub struct Admin {
        /// `unix:PATH`, or `IP:PORT`, which needs `token_file`; absent,
        /// `admin.sock` in the directory of `$RUNTIME_DIRECTORY`, if that is set.
        optional listen: AdminAddress,
        /// The permission bits of the unix socket, in octal.
        default permissions: Permissions = "0600",
        /// The user that the unix socket belongs to, by name or number.
        optional owner: Text,
        /// The group that the unix socket belongs to, by name or number.
        optional group: Text,
        /// A file with the token that requests over TCP must carry.
        optional token_file: Path,
        /// `IP:PORT` of a listener for `/metrics`, `/healthz` and `/readyz` alone, without
        /// authorisation.
        optional metrics: IpPort,
        later tls;
    }
}

spec! {
    /// A listening address and its policy.
    pub struct Endpoint {
        /// Its name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
        required name: Name,
        /// One or many of `IP:PORT`, `[IPV6]:PORT`, `*:PORT` (both families),
        /// `unix:PATH`, `systemd:NAME`.
        required listen: OneOrMany<Listen>,
        /// The protocol of clients.
        default protocol: ClientProtocol = "tls",
        /// Length of the accept queue of each socket.
        default backlog: Count<1, 65_535> = "4096",
        /// Peers that must send a PROXY header first.
        optional accept_proxy_protocol: AcceptProxyProtocol,
        /// Time limits of each step.
        default timeouts: Timeouts = "{}",
        /// Options of the client's TCP connection.
        default tcp: EndpointTcp = "{}",
        /// TLS with clients.
        default tls: EndpointTls = "{}",
        /// The route for an absent or unknown server name.
        optional default_route: DefaultRoute,
        /// The routes; their order matters within one server name.
        required routes: Vec<Located<Route>>,
        later sources, limits;
    }
}

spec! {
    /// Peers that must send a PROXY header first.
    pub struct AcceptProxyProtocol {
        /// The peers that must send one, version 1 or 2; all others connect directly.
        required from: OneOrMany<Cidr>,
        /// From accept to the complete header; never beyond `timeouts.hello`.
        default timeout: Timeout = "3s",
    }
}

keyword! {
    /// The protocol of clients of an endpoint.
    pub enum ClientProtocol("protocol") {
        /// TLS, from the first byte.
        Tls = "tls",
        /// Any protocol over TCP.
        Tcp = "tcp",
    }
}

spec! {
    /// Time limits of each step of a connection.
    pub struct Timeouts {
        /// From accept to the complete ClientHello.
        default hello: Timeout = "5s",
        /// From accept until the client's TLS and client authentication are done.
        default client: Timeout = "10s",
        /// From there until the origin is connected, all attempts included.
        default origin: Timeout = "10s",
        /// Without application data in either direction.
        default idle: Limit<Duration> = "10m",
        /// Without progress after one side has ended.
        default half_close: Limit<Duration> = "60s",
        /// The whole connection.
        default lifetime: Limit<Duration> = "none",
    }
}

spec! {
    /// Timeouts of a route that replace those of its endpoint, key by key.
    pub struct RouteTimeouts {
        /// From accept until the client's TLS and client authentication are done.
        optional client: Timeout,
        /// From there until the origin is connected, all attempts included.
        optional origin: Timeout,
        /// Without application data in either direction.
        optional idle: Limit<Duration>,
        /// Without progress after one side has ended.
        optional half_close: Limit<Duration>,
        /// The whole connection.
        optional lifetime: Limit<Duration>,
    }
}

/// A socket buffer in bytes. The kernel raises small values to its minimum and doubles the given value,
/// which must still fit a C int.
pub type SocketBuffer = Size<4096, 0x3fff_ffff>;

spec! {
    /// Options of the client's TCP connection.
    pub struct EndpointTcp {
        /// Disable Nagle's algorithm.
        default nodelay: bool = "true",
        /// Idle time before keepalive probes are sent.
        default keepalive: Limit<Duration> = "60s",
        /// How long sent data may stay unacknowledged.
        default user_timeout: Limit<Duration> = "none",
        /// The kernel's send buffer towards the client, `4KiB` to `1GiB`; `none` leaves it to the
        /// kernel.
        default send_buffer: Limit<SocketBuffer> = "none",
        /// The kernel's receive buffer from the client, likewise.
        default receive_buffer: Limit<SocketBuffer> = "none",
        /// TCP Fast Open: accept data with the SYN of a client.
        default fast_open: bool = "false",
    }
}

spec! {
    /// TLS with clients.
    pub struct EndpointTls {
        /// The oldest allowed version.
        default min_version: TlsVersion = "1.2",
        /// The newest allowed version.
        default max_version: TlsVersion = "1.3",
        /// ALPN protocols to choose from, by preference; empty disables ALPN.
        default alpn: OneOrMany<Protocol> = "[]",
        /// Cipher suites, by preference; empty is TLS 1.3 and ECDHE with an AEAD, AES-128-GCM first
        /// unless a client prefers ChaCha20.
        default cipher_suites: OneOrMany<CipherSuite> = "[]",
        /// Key exchange groups; empty is all. The client's preference decides.
        default groups: OneOrMany<Group> = "[]",
        /// Whether clients may resume TLS sessions.
        default resumption: OffOr<Resumption> = "{}",
        /// What the origin gets when a client ends without `close_notify`.
        default on_truncation: OnTruncation = "reset",
        /// The certificates for clients.
        default certificates: Vec<Located<Certificate>> = "[]",
        /// Whether clients need a certificate; a route may replace the whole block.
        default client_auth: ClientAuth = "{ mode: off }",
    }
}

spec! {
    /// Which TLS sessions clients may resume.
    pub struct Resumption {
        /// Tickets for each TLS 1.3 connection, 1 to 8.
        default tickets: Count<1, 8> = "1",
        /// Lifetime of a session after its full handshake, at most 7 days.
        default max_age: Timeout = "12h",
    }
}

keyword! {
    /// A cipher suite, by its IANA name.
    pub enum CipherSuite("cipher suite") {
        /// TLS 1.3.
        Tls13Aes128Gcm = "TLS_AES_128_GCM_SHA256",
        /// TLS 1.3.
        Tls13Aes256Gcm = "TLS_AES_256_GCM_SHA384",
        /// TLS 1.3.
        Tls13Chacha20 = "TLS_CHACHA20_POLY1305_SHA256",
        /// TLS 1.2, for ECDSA certificates.
        EcdsaAes128Gcm = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        /// TLS 1.2, for ECDSA certificates.
        EcdsaAes256Gcm = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        /// TLS 1.2, for ECDSA certificates.
        EcdsaChacha20 = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        /// TLS 1.2, for RSA certificates.
        RsaAes128Gcm = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        /// TLS 1.2, for RSA certificates.
        RsaAes256Gcm = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        /// TLS 1.2, for RSA certificates.
        RsaChacha20 = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    }
}

keyword! {
    /// A key exchange group, by its IANA name.
    pub enum Group("key exchange group") {
        /// X25519 with ML-KEM-768, which resists quantum computers.
        X25519MlKem768 = "X25519MLKEM768",
        /// X25519.
        X25519 = "X25519",
        /// NIST's P-256.
        Secp256r1 = "secp256r1",
        /// NIST's P-384.
        Secp384r1 = "secp384r1",
    }
}

keyword! {
    /// A version of TLS.
    pub enum TlsVersion("TLS version") {
        /// TLS 1.2.
        V1_2 = "1.2",
        /// TLS 1.3.
        V1_3 = "1.3",
    }
}

keyword! {
    impl OnTruncation("policy") {
        Reset = "reset",
        Close = "close",
    }
}

/// A certificate with its key, or a directory of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// One pair of files.
    Pair(CertificatePair),
    /// Every pair in a directory.
    Directory(CertificateDirectory),
}

spec! {
    /// A certificate with its key.
    pub struct CertificatePair {
        /// Its name; absent, the stem of the file name.
        optional name: Name,
        /// The chain in PEM, the server's own certificate first.
        required cert: Path,
        /// The private key in PEM; absent, in the same file as the chain.
        optional key: Path,
        /// The server names it is presented for; absent, those in the certificate.
        optional names: OneOrMany<Text>,
        /// A DER file with its OCSP response, stapled until its next update.
        optional ocsp: Path,
    }
}

spec! {
    /// A directory of certificates.
    pub struct CertificateDirectory {
        /// Holds `NAME.pem` with `NAME.key`, or `NAME/fullchain.pem` with
        /// `NAME/privkey.pem`.
        required dir: Path,
    }
}

impl Read for Certificate {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            cx.unexpected(node, "a map")
                .help("write `{ cert: FILE, key: FILE }` or `{ dir: DIRECTORY }`");
            return None;
        };
        let has = |name: &str| entries.iter().any(|(key, _)| key.text == name);
        match (has("cert"), has("dir")) {
            (true, true) => {
                cx.error(node.at, "`cert` and `dir` exclude each other");
                None
            }
            (false, true) => CertificateDirectory::read(node, cx).map(Self::Directory),
            (true, false) => CertificatePair::read(node, cx).map(Self::Pair),
            (false, false) => {
                cx.error(node.at, "missing key `cert` or `dir`");
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let pair = CertificatePair::schema(definitions);
        json!({ "anyOf": [pair, CertificateDirectory::schema(definitions)] })
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Pair(pair) => pair.render(),
            Self::Directory(directory) => directory.render(),
        }
    }
}

spec! {
    /// Whether clients need a certificate, and which.
    pub struct ClientAuth {
        /// Whether clients are requested to send a certificate.
        required mode: ClientAuthMode,
        /// Files with the trusted CAs, one or a list; needed with `optional` and `required`.
        optional ca: OneOrMany<Path>,
        /// Whether clients are sent the names of the CAs.
        default send_ca_names: bool = "true",
        /// Files with revocation lists in PEM or DER, one or a list.
        optional crl: OneOrMany<Path>,
        /// Which certificates of a chain are checked against them.
        default crl_scope: Depth = "chain",
        /// What to do if there is no list of a certificate's issuer.
        default crl_unknown: OnUnknown = "deny",
        /// What to do if a list is past its next update.
        default crl_expired: OnUnknown = "deny",
        /// Which certificates are admitted, one rule or a list of alternatives; absent, all that the CAs
        /// have signed.
        optional allow: OneOrMany<Rule>,
        /// What happens to live connections that a reload no longer admits.
        default recheck: Recheck = "close",
        /// What happens to a live connection whose certificate expires.
        default at_expiry: AtExpiry = "log",
    }
}

keyword! {
    impl Depth("scope") {
        Chain = "chain",
        Leaf = "leaf",
    }
}

keyword! {
    impl OnUnknown("policy") {
        Deny = "deny",
        Allow = "allow",
    }
}

keyword! {
    impl Recheck("policy") {
        Close = "close",
        Log = "log",
        Off = "off",
    }
}

keyword! {
    impl AtExpiry("policy") {
        Log = "log",
        Close = "close",
    }
}

spec! {
    /// Conditions on a certificate: all keys must match, each with one value of its list. Comparison is
    /// exact.
    pub struct Rule {
        /// DNS names of its SANs: exact, or `*.` for one label.
        optional dns: OneOrMany<Text>,
        /// URIs of its SANs, such as SPIFFE IDs; `*` is one whole segment of the path.
        optional uri: OneOrMany<Text>,
        /// Mail addresses of its SANs.
        optional email: OneOrMany<Text>,
        /// Addresses of its SANs, or networks that contain them.
        optional ip: OneOrMany<Cidr>,
        /// The only common name of its subject.
        optional common_name: OneOrMany<Text>,
        /// Organizational units of its subject.
        optional organizational_unit: OneOrMany<Text>,
        /// SHA-256 of the certificate, in hexadecimal or base64.
        optional sha256: OneOrMany<Text>,
        /// SHA-256 of its public key (SubjectPublicKeyInfo), likewise.
        optional spki_sha256: OneOrMany<Text>,
    }
}

keyword! {
    /// Whether clients are requested to send a certificate.
    pub enum ClientAuthMode("mode") {
        /// No request.
        Off = "off",
        /// A client may send none, but not an invalid one.
        Optional = "optional",
        /// A client must send a valid one.
        Required = "required",
    }
}

spec! {
    /// The route for an absent or unknown server name.
    pub struct DefaultRoute or route {
        /// The name of a route of this endpoint.
        required route: Name,
        /// The name of the certificate for it.
        optional certificate: Name,
    }
}

spec! {
    /// Which connections a route takes, and where they go.
    pub struct Route {
        /// Its name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
        required name: Name,
        /// Which connections it takes.
        default matches as "match": Match = "{}",
        /// How TLS is handled.
        required mode: Mode,
        /// ALPN protocols to choose from, in place of the endpoint's.
        optional alpn: OneOrMany<Protocol>,
        /// Whether clients need a certificate, in place of the endpoint's.
        optional client_auth: ClientAuth,
        /// The name of the upstream it leads to.
        required upstream: Name,
        /// Timeouts that replace those of the endpoint.
        default timeouts: RouteTimeouts = "{}",
        later sources, limits;
    }
}

spec! {
    /// Which connections a route takes: all keys must match, each with one value of its list.
    pub struct Match {
        /// Server names: exact, or `*.` for one label.
        optional sni: OneOrMany<Text>,
        /// ALPN protocols that the client offers.
        optional alpn: OneOrMany<Protocol>,
        /// Addresses of clients.
        optional source: OneOrMany<Cidr>,
    }
}

keyword! {
    /// How a route handles TLS.
    pub enum Mode("mode") {
        /// TLS goes through untouched, routed by its ClientHello.
        Passthrough = "passthrough",
        /// TLS from the client, plain TCP to the origin.
        Terminate = "terminate",
        /// TLS from the client, and a new TLS connection to the origin.
        Reencrypt = "reencrypt",
        /// Plain both ways, on an endpoint with `protocol: tcp`.
        Forward = "forward",
        /// Plain from the client, TLS to the origin, on an endpoint with `protocol: tcp`.
        Originate = "originate",
    }
}

impl Mode {
    /// Whether TLS from clients ends here.
    pub const fn terminates_tls(self) -> bool {
        matches!(self, Self::Terminate | Self::Reencrypt)
    }
}

impl Route {
    /// Whether a client of this route of `endpoint` may negotiate this ALPN protocol.
    pub fn may_negotiate(&self, endpoint: &Endpoint, protocol: &str) -> bool {
        let alpn = self.alpn.as_ref().unwrap_or(&endpoint.tls.alpn);
        alpn.iter().any(|item| item.value.0 == protocol)
    }
}

spec! {
    /// A group of equivalent servers.
    pub struct Upstream {
        /// The servers, as addresses or maps.
        required origins: Vec<Located<Origin>>,
        /// How connections to them are opened.
        default connect: Connect = "{}",
        /// Options of their TCP connections.
        default tcp: UpstreamTcp = "{}",
        /// TLS with them.
        default tls: UpstreamTls = "{}",
        /// The PROXY header that is sent to them first.
        default send_proxy_protocol: SendProxyProtocol = "off",
        /// How host names of origins are resolved.
        default resolve: Resolve = "{}",
        /// How an origin is chosen for a connection.
        default balance: Balance = "round_robin",
        /// How long an origin gets less than its share after it has come up.
        default slow_start: Limit<Duration> = "none",
        /// How the health of origins is checked.
        optional health: Health,
    }
}

spec! {
    /// The PROXY header that is sent to origins.
    pub struct SendProxyProtocol or version {
        /// Whether one is sent, and of which version.
        required version: HeaderVersion,
        /// The TLVs of version 2, as far as they are known.
        default tlvs: OneOrMany<Tlv> = "[]",
    }
}

keyword! {
    /// Whether a PROXY header is sent, and of which version.
    pub enum HeaderVersion("version") {
        /// None is sent.
        Off = "off",
        /// Version 1: addresses.
        V1 = "v1",
        /// Version 2: addresses, and what `tlvs` names.
        V2 = "v2",
    }
}

keyword! {
    /// A TLV of a PROXY header.
    pub enum Tlv("TLV") {
        /// The negotiated ALPN protocol.
        Alpn = "alpn",
        /// The server name that the client sent.
        Authority = "authority",
        /// The client's TLS: version, cipher suite, group, and the signature of Reseal's certificate.
        Ssl = "ssl",
        /// With `ssl`: the client's certificate, and that it was verified.
        ClientCert = "client_cert",
        /// The connection's `id` in the access log.
        UniqueId = "unique_id",
        /// A checksum of the header.
        Crc32c = "crc32c",
    }
}

spec! {
    /// One server.
    pub struct Origin or address {
        /// `IP:PORT`, `[IPV6]:PORT`, `HOST:PORT`, `srv:NAME` or `unix:PATH`.
        required address: OriginAddress,
        /// Its name in logs and metrics; absent, its address.
        optional name: Name,
        /// The name that its certificate must have, in place of the upstream's.
        optional server_name: Text,
        /// Its share of the connections, 1 to 256.
        default weight: Count<1, 256> = "1",
        /// Used only when no other origin is healthy.
        default backup: bool = "false",
        /// The most connections to it, at each of its addresses.
        default connections: Limit<Count<1, 10_000_000>> = "none",
    }
}

spec! {
    /// How connections to origins are opened.
    pub struct Connect {
        /// Timeout of one attempt, TLS included.
        default timeout: Timeout = "3s",
        /// The most attempts, 1 to 100.
        default attempts: Count<1, 100> = "3",
        /// How many connections may wait for an origin with a free slot; 0 disables waiting.
        default queue: Limit<Count<0, 10_000_000>> = "none",
        /// How long each of them may wait.
        default queue_timeout: Timeout = "5s",
        /// Local addresses to connect from, in turn; empty leaves it to the system.
        default source_addresses: OneOrMany<Ip> = "[]",
    }
}

spec! {
    /// Options of the TCP connection to an origin.
    pub struct UpstreamTcp {
        /// Disable Nagle's algorithm.
        default nodelay: bool = "true",
        /// Idle time before keepalive probes are sent.
        default keepalive: Limit<Duration> = "60s",
        /// How long sent data may stay unacknowledged.
        default user_timeout: Limit<Duration> = "none",
        /// The kernel's send buffer towards the origin, `4KiB` to `1GiB`; `none` leaves it to the
        /// kernel.
        default send_buffer: Limit<SocketBuffer> = "none",
        /// The kernel's receive buffer from the origin, likewise.
        default receive_buffer: Limit<SocketBuffer> = "none",
    }
}

spec! {
    /// TLS with origins.
    pub struct UpstreamTls {
        /// The CAs that may sign their certificates: files (one or a list), `webpki` or `system`.
        default ca: Trust = "webpki",
        /// The name that their certificates must have; absent, the origin's host.
        optional server_name: Text,
        /// The SNI that is sent.
        default sni: Sni = "configured",
        /// The certificate that Reseal sends when an origin requests one.
        optional client_certificate: ClientCertificate,
        /// The ALPN protocols that are offered.
        default alpn: UpstreamAlpn = "forward",
        /// The oldest allowed version.
        default min_version: TlsVersion = "1.2",
        /// Whether TLS sessions are resumed.
        default resumption: OffOr<UpstreamResumption> = "{}",
        /// What the client gets when an origin ends without `close_notify`.
        default on_truncation: OnTruncation = "reset",
        /// Whether certificates are verified.
        default verify: Verify = "full",
        /// Files with revocation lists in PEM or DER, one or a list.
        default crl: OneOrMany<Path> = "[]",
        /// Which certificates of a chain are checked against them.
        default crl_scope: Depth = "chain",
        /// What to do if there is no list of a certificate's issuer.
        default crl_unknown: OnUnknown = "deny",
        /// What to do if a list is past its next update.
        default crl_expired: OnUnknown = "deny",
        /// SHA-256 of the public keys (SubjectPublicKeyInfo) that origins may have, in hexadecimal or
        /// base64, in addition to the chain; empty is any.
        default spki_sha256: OneOrMany<Text> = "[]",
        /// Conditions on certificates in addition to chain and name.
        default allow: OneOrMany<Rule> = "[]",
        /// Key exchange groups, by preference; empty is all.
        default groups: OneOrMany<Group> = "[]",
    }
}

impl UpstreamTls {
    /// The span of the first key that the file gives.
    pub fn first_given(tls: &Located<Self>) -> Option<Span> {
        let optional = [
            tls.server_name.as_ref().map(|name| name.at),
            tls.client_certificate.as_ref().map(|pair| pair.at),
        ];
        let defaulted = [
            tls.ca.given_in(tls).then_some(tls.ca.at),
            tls.sni.given_in(tls).then_some(tls.sni.at),
            tls.alpn.given_in(tls).then_some(tls.alpn.at),
            tls.min_version.given_in(tls).then_some(tls.min_version.at),
            tls.verify.given_in(tls).then_some(tls.verify.at),
            tls.crl.given_in(tls).then_some(tls.crl.at),
            tls.crl_scope.given_in(tls).then_some(tls.crl_scope.at),
            tls.crl_unknown.given_in(tls).then_some(tls.crl_unknown.at),
            tls.crl_expired.given_in(tls).then_some(tls.crl_expired.at),
            tls.spki_sha256.given_in(tls).then_some(tls.spki_sha256.at),
            tls.allow.given_in(tls).then_some(tls.allow.at),
            tls.groups.given_in(tls).then_some(tls.groups.at),
            tls.resumption.given_in(tls).then_some(tls.resumption.at),
            tls.on_truncation
                .given_in(tls)
                .then_some(tls.on_truncation.at),
        ];
        optional.into_iter().chain(defaulted).flatten().min()
    }
}

spec! {
    /// Which TLS sessions are resumed.
    pub struct UpstreamResumption {
        /// Lifetime of a session.
        default max_age: Timeout = "12h",
    }
}

spec! {
    /// The certificate that Reseal sends to origins.
    pub struct ClientCertificate {
        /// The chain in PEM.
        required cert: Path,
        /// The private key in PEM; absent, in the same file as the chain.
        optional key: Path,
    }
}

keyword! {
    impl Sni("choice") {
        Configured = "configured",
        Client = "client",
        Absent = "none",
    }
}

keyword! {
    /// Whether certificates of origins are verified.
    pub enum Verify("choice") {
        /// Chain, dates and name.
        Full = "full",
        /// No verification: any server can pose as the origin.
        DangerNone = "danger-none",
    }
}

/// The CAs that may sign certificates of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Mozilla's CAs, built in.
    Webpki,
    /// The CAs of the system.
    System,
    /// The CAs in these files; callers reject an empty list.
    Files(Vec<Located<Path>>),
}

impl Read for Trust {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        match cx.peek(node).as_deref() {
            Some("webpki") => return Some(Self::Webpki),
            Some("system") => return Some(Self::System),
            _ => {}
        }
        let files = OneOrMany::<Path>::read(node, cx)?;
        let is_word = |file: &&Located<Path>| matches!(file.to_str(), Some("webpki" | "system"));
        if let Some(word) = files.iter().find(is_word) {
            cx.error(word.at, "`webpki` and `system` are not allowed in a list");
            return None;
        }
        Some(Self::Files(files.0))
    }

    fn schema(definitions: &mut Definitions) -> Value {
        OneOrMany::<Path>::schema(definitions)
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Webpki => Rendered::Text("webpki".to_owned()),
            Self::System => Rendered::Text("system".to_owned()),
            Self::Files(files) => files.render(),
        }
    }
}

/// The ALPN protocols that are offered to origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAlpn {
    /// Exactly what the client negotiated.
    Forward,
    /// None.
    None,
    /// These, by preference; never empty.
    List(Vec<Located<Protocol>>),
}

impl Read for UpstreamAlpn {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        const WHAT: &str = "`forward`, `none` or a list of protocols";
        match &node.kind {
            Kind::List(items) if items.is_empty() => {
                cx.error(node.at, "an empty list offers nothing")
                    .help("write `none`");
                None
            }
            Kind::List(items) => cx.all(items).map(Self::List),
            _ => cx.parse(node, WHAT, |text| match text {
                "forward" => Ok(Self::Forward),
                "none" => Ok(Self::None),
                _ => Err(
                    Invalid::new("{} is neither `forward` nor `none` nor a list")
                        .help("put protocols in a list, such as `[h2]`"),
                ),
            }),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let list = Vec::<Located<Protocol>>::schema(definitions);
        json!({ "anyOf": [{ "enum": ["forward", "none"] }, list] })
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Forward => Rendered::Text("forward".to_owned()),
            Self::None => Rendered::Text("none".to_owned()),
            Self::List(protocols) => protocols.render(),
        }
    }
}
