//! Every key of the configuration file, with its default: the table that the
//! reader, the JSON Schema and the printed form are made from. It must not
//! know how any of it is used, nor which values fit together.

pub mod balancing;

use super::reader::address::{Cidr, Ip, Listen, OriginAddress};
use super::reader::admin_address::{AdminAddress, IpPort};
use super::reader::fields::{Field, Fields, spec};
use super::reader::generic::{AutoOr, Limit, Names, OffOr, OneOrMany};
use super::reader::print::Rendered;
use super::reader::read::{Invalid, Located, Read, Reader};
use super::reader::schema::Definitions;
use super::reader::values::{
    Count, Duration, Name, Output, Path, Permissions, Protocol, Size, Text, Timeout,
};
use super::reader::words::keyword;
use super::reader::yaml::{Kind, Node};
use super::spec::balancing::{Balance, Health, Resolve};
use serde_json::{Value, json};

spec! {
    /// A whole configuration file.
    pub struct Spec {
        /// The process as a whole.
        default process: Process = "{}",
        /// The log of events.
        default log: Log = "{}",
        /// The log of connections: one line for each.
        default access_log: AccessLog = "{}",
        /// Where the running process can be asked and told.
        default admin: Admin = "{}",
        /// Where clients connect, at least one.
        required endpoints: Vec<Located<Endpoint>>,
        /// Groups of servers that routes lead to, by name.
        required upstreams: Names<Upstream>,
    }
}

spec! {
    /// The process as a whole.
    pub struct Process {
        /// Worker threads, 1 to 1024; `auto` is one for each core that this
        /// process may use.
        default workers: AutoOr<Count<1, 1024>> = "auto",
        /// Limits over all endpoints.
        default limits: ProcessLimits = "{}",
        /// How connections end when Reseal stops or a part leaves the file.
        default drain: Drain = "{}",
        /// What to do about a private key that every user may read.
        default key_permissions: KeyPermissions = "refuse",
        /// Files with secrets of at least 32 bytes that instances share to
        /// resume each other's TLS sessions: the first issues, all accept.
        optional ticket_secret: OneOrMany<Path>,
        /// When changed files are read again without being asked.
        default reload: Reload = "{}",
        later user, sandbox;
    }
}

spec! {
    /// Limits over all endpoints.
    pub struct ProcessLimits {
        /// Connections at a time; `auto` is what the limit on open files
        /// allows.
        default connections: AutoOr<Count<1, 10_000_000>> = "auto",
        /// TLS handshakes with clients at a time.
        default handshakes: Count<1, 1_000_000> = "1024",
    }
}

spec! {
    /// How connections end when Reseal stops or a part leaves the file.
    pub struct Drain {
        /// Before a stop: how long to be not ready but still accepting.
        default lame_duck: Duration = "0s",
        /// After TERM: how long connections may go on.
        default stop: Duration = "20s",
        /// How long connections may go on whose endpoint, route or origin left
        /// the file.
        default removed: Duration = "10m",
        /// While draining, a connection without a byte for this long may be
        /// closed first.
        default idle_after: Duration = "30s",
    }
}

spec! {
    /// When changed files are read again without being asked.
    pub struct Reload {
        /// What is watched.
        default watch: Watch = "materials",
        /// How long nothing must change before it is read.
        default debounce: Duration = "500ms",
    }
}

keyword! {
    /// What is watched for changes.
    pub enum Watch("choice") {
        /// Certificates, keys, CA bundles, revocation lists and secrets.
        Materials = "materials",
        /// These, and the configuration file.
        All = "all",
        /// Nothing: a reload has to be asked for.
        Off = "off",
    }
}

keyword! {
    /// What to do about a private key that every user may read.
    pub enum KeyPermissions("policy") {
        /// Do not start.
        Refuse = "refuse",
        /// Say so and go on.
        Warn = "warn",
    }
}

spec! {
    /// The log of events.
    pub struct Log {
        /// The least severe level that is written.
        default level: Level = "info",
        /// The form of a line.
        default format: LogFormat = "auto",
        /// `stderr`, `stdout`, `none` or a file, which is reopened on USR1.
        default output: Output = "stderr",
    }
}

keyword! {
    /// How severe an event is.
    pub enum Level("level") {
        /// Something does not work.
        Error = "error",
        /// Something may soon not work.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// What helps to find a fault.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

keyword! {
    /// The form of a line of the log.
    pub enum LogFormat("format") {
        /// `text` at a terminal, else `json`.
        Auto = "auto",
        /// One JSON object a line.
        Json = "json",
        /// `key=value` pairs.
        Logfmt = "logfmt",
        /// For people.
        Text = "text",
    }
}

spec! {
    /// The log of connections.
    pub struct AccessLog {
        /// The form of a line.
        default format: AccessFormat = "json",
        /// `stdout`, `stderr`, `none` or a file, which is reopened on USR1.
        default output: Output = "stdout",
        /// When a line is written, one or a list.
        default events: OneOrMany<AccessEvent> = "[close]",
        later every, sample_probes;
    }
}

keyword! {
    /// The form of a line of the access log.
    pub enum AccessFormat("format") {
        /// One JSON object a line.
        Json = "json",
        /// `key=value` pairs.
        Logfmt = "logfmt",
        /// For people.
        Text = "text",
    }
}

keyword! {
    /// When a line of the access log is written.
    pub enum AccessEvent("event") {
        /// When the relay begins.
        Open = "open",
        /// When the connection has ended, with its outcome.
        Close = "close",
    }
}

spec! {
    /// Where the running process can be asked and told.
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
        /// A file with the token that is asked for on TCP.
        optional token_file: Path,
        /// `IP:PORT` of a listener that shows `/metrics`, `/healthz` and
        /// `/readyz` to everybody, and nothing else.
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
        /// What clients speak.
        default protocol: ClientProtocol = "tls",
        /// Connections that wait to be accepted, for each socket.
        default backlog: Count<1, 65_535> = "4096",
        /// From whom a PROXY header comes before all else.
        optional accept_proxy_protocol: AcceptProxyProtocol,
        /// How long each step may take.
        default timeouts: Timeouts = "{}",
        /// Options of the client's TCP connection.
        default tcp: EndpointTcp = "{}",
        /// TLS with clients.
        default tls: EndpointTls = "{}",
        /// The route for an absent or unknown server name.
        optional default_route: DefaultRoute,
        /// Where connections go; their order matters within one server name.
        required routes: Vec<Located<Route>>,
        later sources, limits;
    }
}

spec! {
    /// From whom a PROXY header comes before all else.
    pub struct AcceptProxyProtocol {
        /// The peers that have to send one, version 1 or 2; all others speak
        /// directly.
        required from: OneOrMany<Cidr>,
        /// From accepting to the whole header; never beyond `timeouts.hello`.
        default timeout: Timeout = "3s",
    }
}

keyword! {
    /// What clients of an endpoint speak.
    pub enum ClientProtocol("protocol") {
        /// TLS, from the first byte.
        Tls = "tls",
        /// Anything.
        Tcp = "tcp",
    }
}

spec! {
    /// How long each step of a connection may take.
    pub struct Timeouts {
        /// From accepting to the whole ClientHello.
        default hello: Timeout = "5s",
        /// From accepting until the client's TLS and client authentication are
        /// done.
        default client: Timeout = "10s",
        /// From there until the origin is ready, all attempts included.
        default origin: Timeout = "10s",
        /// Without a byte of application data in either direction.
        default idle: Limit<Duration> = "10m",
        /// Without progress since one side has ended.
        default half_close: Limit<Duration> = "60s",
        /// In all.
        default lifetime: Limit<Duration> = "none",
    }
}

spec! {
    /// What a route changes of its endpoint's timeouts, key by key.
    pub struct RouteTimeouts {
        /// From accepting until the client's TLS and client authentication are
        /// done.
        optional client: Timeout,
        /// From there until the origin is ready, all attempts included.
        optional origin: Timeout,
        /// Without a byte of application data in either direction.
        optional idle: Limit<Duration>,
        /// Without progress since one side has ended.
        optional half_close: Limit<Duration>,
        /// In all.
        optional lifetime: Limit<Duration>,
    }
}

/// The buffer of a socket, in bytes. The kernel makes smaller ones larger, and doubles what it is told, which
/// must still fit a C int.
pub type SocketBuffer = Size<4096, 0x3fff_ffff>;

spec! {
    /// Options of the client's TCP connection.
    pub struct EndpointTcp {
        /// Send small segments at once.
        default nodelay: bool = "true",
        /// Idle time before keepalive probes are sent.
        default keepalive: Limit<Duration> = "60s",
        /// How long sent data may stay unacknowledged.
        default user_timeout: Limit<Duration> = "none",
        /// What the kernel queues for the client, `4KiB` to `1GiB`; `none`
        /// leaves it to the kernel.
        default send_buffer: Limit<SocketBuffer> = "none",
        /// What the kernel takes of the client before it is read, likewise.
        default receive_buffer: Limit<SocketBuffer> = "none",
        /// Accept data with the first packet of a client.
        default fast_open: bool = "false",
    }
}

spec! {
    /// TLS with clients.
    pub struct EndpointTls {
        /// The oldest version that is accepted.
        default min_version: TlsVersion = "1.2",
        /// The newest version that is accepted.
        default max_version: TlsVersion = "1.3",
        /// Protocols to choose from, by preference; empty is no negotiation.
        default alpn: OneOrMany<Protocol> = "[]",
        /// Cipher suites, by preference; empty is TLS 1.3 and ECDHE with an
        /// AEAD, AES-128-GCM first unless a client puts ChaCha20 first.
        default cipher_suites: OneOrMany<CipherSuite> = "[]",
        /// Key exchange groups; empty is all. The client's preference counts.
        default groups: OneOrMany<Group> = "[]",
        /// Whether clients resume earlier TLS sessions.
        default resumption: OffOr<Resumption> = "{}",
        /// What the origin sees when a client ends without `close_notify`.
        default on_truncation: OnTruncation = "reset",
        /// What may be presented to clients.
        default certificates: Vec<Located<Certificate>> = "[]",
        /// Whether clients need a certificate; a route may replace it whole.
        default client_auth: ClientAuth = "{ mode: off }",
    }
}

spec! {
    /// Which TLS sessions clients resume.
    pub struct Resumption {
        /// Tickets for each TLS 1.3 connection, 1 to 8.
        default tickets: Count<1, 8> = "1",
        /// How long after its full handshake a session ends, at most 7 days.
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
        /// X25519 together with ML-KEM-768, which withstands quantum computers.
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
    /// What one side sees when the other ends without `close_notify`.
    pub enum OnTruncation("policy") {
        /// A reset: what was sent may not be all.
        Reset = "reset",
        /// An ordinary end.
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
        /// The server names it is presented for; absent, those it holds.
        optional names: OneOrMany<Text>,
        /// An OCSP response for it in DER, stapled until its next update.
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
    /// Whether clients need a certificate, and whose.
    pub struct ClientAuth {
        /// Whether clients are asked for a certificate.
        required mode: ClientAuthMode,
        /// Files with the authorities that are trusted, one or a list; needed
        /// with `optional` and `required`.
        optional ca: OneOrMany<Path>,
        /// Whether clients are told the names of the authorities.
        default send_ca_names: bool = "true",
        /// Files with revocation lists in PEM or DER, one or a list.
        optional crl: OneOrMany<Path>,
        /// Which certificates of a chain are looked up in them.
        default crl_scope: CrlScope = "chain",
        /// What to do where no list is of a certificate's issuer.
        default crl_unknown: CrlDoubt = "deny",
        /// What to do where a list is past its next update.
        default crl_expired: CrlDoubt = "deny",
        /// Who may come in, one rule or a list of which any admits; absent,
        /// whoever the authorities signed.
        optional allow: OneOrMany<Rule>,
        /// What becomes of live connections that a reload no longer admits.
        default recheck: Recheck = "close",
        /// What becomes of a live connection whose certificate expires.
        default at_expiry: AtExpiry = "log",
    }
}

keyword! {
    /// Which certificates of a chain are looked up in revocation lists.
    pub enum CrlScope("scope") {
        /// All but the trusted authority.
        Chain = "chain",
        /// The peer's own alone.
        Leaf = "leaf",
    }
}

keyword! {
    /// What to do where revocation lists do not answer.
    pub enum CrlDoubt("policy") {
        /// Refuse.
        Deny = "deny",
        /// Go on.
        Allow = "allow",
    }
}

keyword! {
    /// What becomes of live connections that a reload no longer admits.
    pub enum Recheck("policy") {
        /// They are closed, spread over ten seconds at most.
        Close = "close",
        /// They go on, and the log says so.
        Log = "log",
        /// Nobody stamps.
        Off = "off",
    }
}

keyword! {
    /// What becomes of a live connection whose certificate expires.
    pub enum AtExpiry("policy") {
        /// It goes on, and the log says so.
        Log = "log",
        /// It is closed.
        Close = "close",
    }
}

spec! {
    /// What a certificate must say: all keys must hold, of a list one value.
    /// Everything is compared exactly.
    pub struct Rule {
        /// DNS names among its SANs: exact, or `*.` for one label.
        optional dns: OneOrMany<Text>,
        /// URIs among its SANs, such as SPIFFE IDs; `*` is one whole segment
        /// of the path.
        optional uri: OneOrMany<Text>,
        /// Mail addresses among its SANs.
        optional email: OneOrMany<Text>,
        /// Addresses or networks of the addresses among its SANs.
        optional ip: OneOrMany<Cidr>,
        /// Its subject's only common name.
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
    /// Whether clients are asked for a certificate.
    pub enum ClientAuthMode("mode") {
        /// They are not asked.
        Off = "off",
        /// They may have none, but not a bad one.
        Optional = "optional",
        /// They must have one.
        Required = "required",
    }
}

spec! {
    /// The route for an absent or unknown server name.
    pub struct DefaultRoute or route {
        /// The name of a route of this endpoint.
        required route: Name,
        /// The name of the certificate that is presented there.
        optional certificate: Name,
    }
}

spec! {
    /// Which connections go where, and how.
    pub struct Route {
        /// Its name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
        required name: Name,
        /// Which connections it takes.
        default matches as "match": Match = "{}",
        /// How TLS is treated.
        required mode: Mode,
        /// Protocols to choose from, in place of the endpoint's.
        optional alpn: OneOrMany<Protocol>,
        /// Whether clients need a certificate, in place of the endpoint's.
        optional client_auth: ClientAuth,
        /// The name of the upstream it leads to.
        required upstream: Name,
        /// What it changes of the endpoint's timeouts.
        default timeouts: RouteTimeouts = "{}",
        later sources, limits;
    }
}

spec! {
    /// Which connections a route takes: all keys must hold, of a list one
    /// value.
    pub struct Match {
        /// Server names: exact, or `*.` for one label.
        optional sni: OneOrMany<Text>,
        /// Protocols that the client offers.
        optional alpn: OneOrMany<Protocol>,
        /// Addresses of clients.
        optional source: OneOrMany<Cidr>,
    }
}

keyword! {
    /// How a route treats TLS.
    pub enum Mode("mode") {
        /// TLS goes through untouched, routed by its ClientHello.
        Passthrough = "passthrough",
        /// TLS from the client, plain TCP to the origin.
        Terminate = "terminate",
        /// TLS from the client, and TLS of our own to the origin.
        Reencrypt = "reencrypt",
        /// Plain both ways, on an endpoint with `protocol: tcp`.
        Forward = "forward",
        /// Plain from the client, TLS to the origin, on an endpoint with
        /// `protocol: tcp`.
        Originate = "originate",
    }
}

spec! {
    /// A group of servers that do the same.
    pub struct Upstream {
        /// The servers, as addresses or maps.
        required origins: Vec<Located<Origin>>,
        /// How connections to them are made.
        default connect: Connect = "{}",
        /// Options of their TCP connections.
        default tcp: UpstreamTcp = "{}",
        /// TLS with them.
        default tls: UpstreamTls = "{}",
        /// The PROXY header that is sent to them before all else.
        default send_proxy_protocol: SendProxyProtocol = "off",
        /// How names of origins are followed.
        default resolve: Resolve = "{}",
        /// Who gets the next connection.
        default balance: Balance = "round_robin",
        /// How long an origin that has come up gets less than its share.
        default slow_start: Limit<Duration> = "none",
        /// How it is found out whether an origin is fit.
        optional health: Health,
    }
}

spec! {
    /// The PROXY header that is sent to origins.
    pub struct SendProxyProtocol or version {
        /// Whether one is sent, and of which version.
        required version: HeaderVersion,
        /// What version 2 tells besides addresses, as far as it is known.
        default tlvs: OneOrMany<Told> = "[]",
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
    /// What a PROXY header tells besides addresses.
    pub enum Told("TLV") {
        /// The application protocol.
        Alpn = "alpn",
        /// The server name that the client asked for.
        Authority = "authority",
        /// The client's TLS: its version, cipher suite, group, and how Reseal
        /// signs.
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
        /// The name its certificate must hold, in place of the upstream's.
        optional server_name: Text,
        /// Its share of the connections, 1 to 256.
        default weight: Count<1, 256> = "1",
        /// Whether it is used only when no other is fit.
        default backup: bool = "false",
        /// The most connections it may have, at each of its addresses.
        default connections: Limit<Count<1, 10_000_000>> = "none",
    }
}

spec! {
    /// How connections to origins are made.
    pub struct Connect {
        /// How long one attempt may take, TLS included.
        default timeout: Timeout = "3s",
        /// Attempts in all, 1 to 100.
        default attempts: Count<1, 100> = "3",
        /// How many connections may wait for an origin with room; 0 is none of
        /// them.
        default queue: Limit<Count<0, 10_000_000>> = "none",
        /// How long each of them may wait.
        default queue_timeout: Timeout = "5s",
        /// The addresses to dial from, in turn; empty leaves it to the system.
        default source_addresses: OneOrMany<Ip> = "[]",
    }
}

spec! {
    /// Options of the TCP connection to an origin.
    pub struct UpstreamTcp {
        /// Send small segments at once.
        default nodelay: bool = "true",
        /// Idle time before keepalive probes are sent.
        default keepalive: Limit<Duration> = "60s",
        /// How long sent data may stay unacknowledged.
        default user_timeout: Limit<Duration> = "none",
        /// What the kernel queues for the origin, `4KiB` to `1GiB`; `none`
        /// leaves it to the kernel.
        default send_buffer: Limit<SocketBuffer> = "none",
        /// What the kernel takes of the origin before it is read, likewise.
        default receive_buffer: Limit<SocketBuffer> = "none",
    }
}

spec! {
    /// TLS with origins.
    pub struct UpstreamTls {
        /// Who is trusted to sign their certificates: files (one or a list),
        /// `webpki` or `system`.
        default ca: Trust = "webpki",
        /// The name their certificates must hold; absent, the origin's host.
        optional server_name: Text,
        /// The server name that is sent.
        default sni: Sni = "configured",
        /// What is presented when an origin asks for a certificate.
        optional client_certificate: ClientCertificate,
        /// Protocols that are offered.
        default alpn: UpstreamAlpn = "forward",
        /// The oldest version that is accepted.
        default min_version: TlsVersion = "1.2",
        /// Whether earlier TLS sessions are resumed.
        default resumption: OffOr<UpstreamResumption> = "{}",
        /// What the client sees when an origin ends without `close_notify`.
        default on_truncation: OnTruncation = "reset",
        /// Whether certificates are verified.
        default verify: Verify = "full",
        /// Files with revocation lists in PEM or DER, one or a list.
        default crl: OneOrMany<Path> = "[]",
        /// Which certificates of a chain are looked up in them.
        default crl_scope: CrlScope = "chain",
        /// What to do where no list is of a certificate's issuer.
        default crl_unknown: CrlDoubt = "deny",
        /// What to do where a list is past its next update.
        default crl_expired: CrlDoubt = "deny",
        /// SHA-256 of the public keys (SubjectPublicKeyInfo) that origins may
        /// have, in hexadecimal or base64, on top of the chain; empty is any.
        default spki_sha256: OneOrMany<Text> = "[]",
        /// What certificates must say on top of chain and name.
        default allow: OneOrMany<Rule> = "[]",
        /// Key exchange groups, by preference; empty is all.
        default groups: OneOrMany<Group> = "[]",
    }
}

spec! {
    /// Which TLS sessions are resumed.
    pub struct UpstreamResumption {
        /// None older than this.
        default max_age: Timeout = "12h",
    }
}

spec! {
    /// The certificate that Reseal presents to origins.
    pub struct ClientCertificate {
        /// The chain in PEM.
        required cert: Path,
        /// The private key in PEM; absent, in the same file as the chain.
        optional key: Path,
    }
}

keyword! {
    /// The server name that is sent to origins.
    pub enum Sni("choice") {
        /// `server_name`, or the origin's host.
        Configured = "configured",
        /// What the client sent.
        Client = "client",
        /// None.
        None = "none",
    }
}

keyword! {
    /// Whether certificates of origins are verified.
    pub enum Verify("choice") {
        /// Chain, dates and name.
        Full = "full",
        /// Not at all: anybody can pose as the origin.
        DangerNone = "danger-none",
    }
}

/// Who is trusted to sign certificates of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authorities of Mozilla's list, built in.
    Webpki,
    /// The authorities that the system trusts.
    System,
    /// The authorities in these files; callers refuse an empty list.
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
            cx.error(word.at, "`webpki` and `system` stand alone, not in a list");
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

/// The protocols that are offered to origins.
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
