//! The keys of an upstream and its origins that are not about TLS or health.

use rustls::pki_types::ServerName;

use super::health::Health;
use super::tcp::UpstreamTcp;
use super::upstream_tls::UpstreamTls;
use crate::config::reader::address::OriginAddress;
use crate::config::reader::fields::spec;
use crate::config::reader::generic::{Limit, OneOrMany};
use crate::config::reader::ip::Ip;
use crate::config::reader::read::Located;
use crate::config::reader::values::{Count, Duration, Name, Timeout};
use crate::config::reader::words::keyword;
use crate::hostname::HostName;
use crate::upstream::{Balance, OnGone};

spec! {
    /// A group of equivalent servers.
    pub struct Upstream {
        /// The servers.
        required origins: Vec<Located<Origin>>,
        /// How connections to them are opened.
        default connect: Connect = "{}",
        /// Options of their TCP connections.
        default tcp: UpstreamTcp = "{}",
        /// TLS with them.
        default tls: UpstreamTls = "{}",
        /// The PROXY header that is sent to them first, before TLS. Health checks send one of the same
        /// version by default.
        default send_proxy_protocol: SendProxyProtocol = "off"
            because "a server that does not expect the header takes it for data",
        /// How host names of origins are resolved.
        default resolve: Resolve = "{}",
        /// Which origin gets the next connection.
        default balance: Balance = "round_robin"
            because "it is even, and predictable",
        /// How long an origin gets less than its share after it came up.
        default slow_start: Limit<Duration> = "none"
            because "most servers are at full speed at once",
        /// How the health of origins is checked; absent, it is not.
        optional health: Health,
        example "{ origins: [ADDRESS] }";
        instead
            "servers" | "server" | "endpoints" | "targets" | "addresses" | "address" | "hosts"
                | "load_assignment" | "lb_endpoints" | "backends" => "origins",
            "lb_policy" | "load_balancing" | "loadbalancing" | "algorithm" | "policy" | "strategy"
                | "method" | "loadbalancer" => "balance",
            "check" => "`health: { check: tcp }` turns checks on",
            "health_check" | "healthcheck" | "health_checks" | "healthchecks" | "option" => "health",
            "proxy_protocol" | "send_proxy" | "send_proxy_v2" => "send_proxy_protocol",
            "ssl" | "transport_socket" => "tls",
            "server_name" => "`tls: { server_name: NAME }` is the name that is verified",
            "sni" => "`tls: { server_name: NAME }` is the name that is verified and sent",
            "ca" => "`tls: { ca: FILE }` holds the CAs",
            "verify" => "`tls: { verify: full }` is the default",
            "timeout" | "connect_timeout" | "timeout_connect" =>
                "`connect: { timeout: TIME }` bounds an attempt",
            "retries" => "`connect: { attempts: N }` counts the first attempt, too",
            "max_conns" | "maxconn" => "`origins: [{ address: ADDRESS, connections: N }]` bounds each origin",
            "slowstart" => "slow_start",
            "resolver" => "`resolve` says what happens when names change; resolv.conf names the servers",
            "name" => "the name is the key above: `NAME:`",
            "keepalive" | "tcp_keepalive" | "tcpka" => "`tcp: { keepalive: TIME }` is when a silent peer is probed",
            "max_fails" | "fail_timeout" | "outlier_detection" =>
                "`health: { passive: {} }` ejects origins that fail";
    }
}

spec! {
    /// The PROXY header that is sent to origins.
    pub struct SendProxyProtocol or version {
        /// Whether one is sent, and of which version.
        required version: HeaderVersion,
        /// What version 2 sends besides addresses, as far as it is known.
        default tlvs: OneOrMany<Tlv> = "[]"
            because "some receivers reject a header that is longer than they expect",
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
        instead
            "1" | "v1.0" => "v1",
            "2" | "v2.0" | "true" | "on" | "yes" => "v2",
            "send_proxy" => "v1",
            "send_proxy_v2" => "v2";
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
        /// `IP:PORT`, `[IPV6]:PORT`, `HOST:PORT`, `srv:NAME` or `unix:PATH`; `dns:HOST:PORT` is the same as
        /// `HOST:PORT`. In `{1}.HOST:PORT`, `{1}` is what `*` or `**` in `match.sni` of the route stands for.
        required address: OriginAddress,
        /// The name that every address made with `{1}` is below. Required for these, and for them alone.
        optional under: HostName,
        /// Whether a name made with `{1}` may resolve to this machine or its link: loopback, link-local, and
        /// the forms of these in IPv6.
        default loopback: bool = "false"
            because "names that clients choose must not lead to what trusts this machine",
        /// Its name in logs and metrics. Absent: its address.
        optional name: Name,
        /// The host name or IP address that its certificate must hold. Absent: the upstream's, else its host.
        /// Required for `unix:` and `srv:` with TLS; not with `sni: client`.
        optional server_name: ServerName<'static>,
        /// Its share of the connections.
        default weight: Count<1, 256> = "1"
            because "origins are equal unless something else is said",
        /// Used only when no other origin is usable. At least one origin must not be a backup.
        default backup: bool = "false"
            because "an origin is there to be used",
        /// The most connections to it, at each of its addresses.
        default connections: Limit<Count<1, 10_000_000>> = "none"
            because "only the origin's owner knows how many it can take",
        example "{ address: ADDRESS }";
        instead
            "host" | "hostname" | "url" | "addr" | "ip" | "server" | "target" => "address",
            "port" => "`address` holds the port, as `HOST:PORT`",
            "maxconn" | "max_conns" | "max_connections" | "limit" => "connections",
            "sni" | "servername" | "verifyhost" | "tls_server_name" => "server_name",
            "id" => "name",
            "priority" | "failover" => "backup",
            "down" | "disabled" | "enabled" | "draining" =>
                "leave the origin out, or take it out while Reseal runs: `reseal ctl origin UPSTREAM ORIGIN drain`",
            "check" | "inter" => "`health` of the upstream checks all of its origins",
            "max_fails" | "fail_timeout" =>
                "`health: { passive: {} }` of the upstream ejects origins that fail",
            "send_proxy" | "send_proxy_v2" | "proxy_protocol" => "it is a key of the upstream: `send_proxy_protocol`",
            "ssl" | "tls" | "verify" | "ca" => "TLS is the same for all origins of an upstream: its key `tls`";
    }
}

spec! {
    /// How connections to origins are opened.
    pub struct Connect {
        /// Timeout of one attempt, TLS included.
        default timeout: Timeout = "3s"
            because "three attempts fit into `timeouts.origin`, and each allows one lost packet",
        /// The most attempts, the first included.
        default attempts: Count<1, 100> = "3"
            because "two failed origins are skipped, and a broken upstream is not flooded",
        /// How many connections may wait while all origins are at their `connections`; with 0 none may.
        default queue: Limit<Count<0, 10_000_000>> = "none"
            because "`queue_timeout` and the limit of connections bound it",
        /// How long each of them may wait.
        default queue_timeout: Timeout = "5s"
            because "it is half of `timeouts.origin`, which leaves time for the attempts",
        /// This machine's addresses to connect from, in turn; empty leaves it to the system.
        default source_addresses: OneOrMany<Ip> = "[]"
            because "the routing table knows the right one",
    }
}

spec! {
    /// How host names of origins are resolved.
    pub struct Resolve {
        /// What happens to connections to an address that has left DNS.
        default on_gone: OnGone = "keep"
            because "a changed answer does not say that the server is gone",
    }
}

keyword! {
    impl Balance("balance") {
        /// In turn, by weight.
        RoundRobin = "round_robin",
        /// The fewest connections relative to the weight.
        LeastConnections = "least_connections",
        /// Of two random origins, the one with fewer connections relative to the weight.
        RandomTwo = "random_two",
        /// By the client's address.
        SourceHash = "source_hash",
        /// The first usable origin of the list.
        First = "first",
        instead
            "leastconn" | "least_conn" | "least_request" | "leastbandwidth" => "least_connections",
            "roundrobin" | "rr" | "wrr" | "weighted_round_robin" | "static_rr" => "round_robin",
            "random" | "p2c" | "random_choose_two" | "power_of_two" | "power_of_two_choices" => "random_two",
            "source" | "ip_hash" | "hash" | "ring_hash" | "maglev" | "sticky" | "uri_hash"
                | "hash_$remote_addr" | "client_ip" | "source_ip" => "source_hash",
            "failover" | "priority" | "active_backup" | "prio" => "first";
    }
}

keyword! {
    impl OnGone("choice") {
        /// They stay.
        Keep = "keep",
        /// They are drained.
        Drain = "drain",
    }
}
