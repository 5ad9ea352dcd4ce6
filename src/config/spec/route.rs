//! The keys of routes.

use super::client_auth::ClientAuth;
use super::limits::RouteLimits;
use super::names::UpstreamName;
use super::sources::{Excluded, Sources};
use super::timeouts::RouteTimeouts;
use crate::config::reader::delay::Delay;
use crate::config::reader::fields::spec;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::networks::CidrOr;
use crate::config::reader::problem::Span;
use crate::config::reader::values::{Name, Path, Protocol};
use crate::config::reader::words::keyword;
use crate::hostname::HostPattern;

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
        /// Its name, unique in the endpoint.
        required name: Name,
        /// Which connections it takes.
        default matches as "match": Match = "{}",
        /// How TLS is handled.
        required mode: Mode,
        /// ALPN protocols to choose from, in place of the endpoint's.
        optional alpn: OneOrMany<Protocol>,
        /// Whether clients need a certificate, in place of the endpoint's whole block.
        optional client_auth: ClientAuth,
        /// Which addresses may use it, beside the `sources` of the endpoint. Others get an alert, or a reset
        /// if they do not speak TLS.
        optional sources: Sources,
        /// How many connections it takes.
        default limits: RouteLimits = "{}",
        /// The name of the upstream it leads to. Required without `routes_file`.
        alternative upstream: UpstreamName = "routes_file",
        /// A file with server names and the upstream that each leads to, in place of `match.sni` and
        /// `upstream`.
        optional routes_file: RoutesFile,
        /// Delays, to test how applications bear a slow peer. On `protocol: tcp` only.
        default delay: Delays = "{}",
        /// Time limits that replace those of the endpoint.
        default timeouts: RouteTimeouts = "{}",
        /// Warnings about this route that describe what is intended, and are not reported.
        optional acknowledge: OneOrMany<Acknowledged>,
        example "{ name: NAME, match: { sni: NAME }, mode: passthrough, upstream: NAME }";
        instead
            "backend" | "service" | "use_backend" | "proxy_pass" | "target" | "cluster"
                | "origin" => "upstream",
            "map" | "map_file" | "routes_map" => "routes_file",
            "origins" => "`upstream: NAME` leads to origins, which are listed under `upstreams`",
            "to" | "forward_to" => "upstream",
            "rule" | "when" | "filter_chain_match" => "match",
            "type" | "tls_mode" | "action" => "mode",
            "server_name" | "host" | "hosts" | "sni" =>
                "`match: { sni: NAME }` is how a route matches a server name",
            "latency" | "fault" | "fault_delay" => "delay",
            "source" => "`match: { source: NETWORK }` is how a route matches clients' addresses",
            "tls" =>
                "`mode` says how TLS is handled; TLS with clients is set up under the endpoint's `tls`, \
                 TLS with origins under the upstream's",
            "certificates" | "cert" =>
                "certificates are listed under the endpoint's `tls`, and chosen by server name",
            "mtls" | "verify_client" | "verify" => "client_auth",
            "client_ca" => "`client_auth: { mode: required, ca: FILE }` is how clients are verified",
            "allow" =>
                "`client_auth: { allow: .. }` holds the rules on certificates, \
                 `sources: { allow: .. }` those on addresses",
            "deny" => "`sources: { deny: [NETWORK] }` denies addresses",
            "ipallowlist" | "ip_allow_list" | "whitelist" =>
                "`sources: { allow: [NETWORK] }` admits addresses",
            "blacklist" => "`sources: { deny: [NETWORK] }` denies addresses",
            "acl" => "sources";
    }
}

spec! {
    /// A file with server names and the upstream that each leads to.
    pub struct RoutesFile {
        /// Its path. `NAME,UPSTREAM` in each line, where `NAME` is as in `match.sni`; `#` begins a comment.
        /// It is re-read when it changes; one with a bad line keeps its old content.
        required file: Path,
        example "{ file: FILE }";
        instead
            "path" | "map" | "csv" => "file",
            "url" => "`file: FILE` is re-read when it changes: let another program fetch the list into it";
    }
}

spec! {
    /// Which connections a route takes: all keys must match, each with one value of its list.
    pub struct Match {
        /// Server names: exact, or `*.` before a name for exactly one label, or `**.` for one or more.
        /// Regular expressions are not supported. Required on `protocol: tls`, unless the route is the
        /// default route or has a `routes_file`.
        optional sni: OneOrMany<HostPattern>,
        /// ALPN protocols, of which the client offers one.
        optional alpn: OneOrMany<Protocol>,
        /// Addresses of clients; from the PROXY header where one has to be sent. `{ not: [..] }` excludes
        /// networks, whatever else the list has; a list of these alone has all others.
        optional source: OneOrMany<CidrOr<Excluded>>,
        example "{ sni: NAME }";
        instead
            "server_name" | "server_names" | "servername" | "host" | "hosts" | "hostsni"
                | "host_name" | "domain" | "domains" | "name" | "req_ssl_sni" | "snis" => "sni",
            "src" | "clientip" | "client_ip" | "source_ip" | "source_prefix_ranges" | "ip" | "cidr"
                | "remote_ip" => "source",
            "application_protocols" | "protocol" | "protocols" | "req_ssl_alpn" => "alpn",
            "path" | "method" | "headers" => "HTTP is not read: a route matches `sni`, `alpn` and `source`";
    }
}

spec! {
    /// Delays, to test how applications bear a slow peer; of routes on endpoints with `protocol: tcp`. A
    /// connection is not idle while they last.
    pub struct Delays {
        /// Between accepting a client and dialling the origin. `timeouts.origin` begins afterwards.
        default connect: Delay = "none"
            because "nobody wants a slow proxy",
        /// How much later the origin's first byte is passed on, beside `chunk`.
        default first_byte: Delay = "none"
            because "nobody wants a slow proxy",
        /// How much later each chunk is passed on, in both directions: what has arrived when it is read, up
        /// to 256 KiB. The next one is not read before.
        default chunk: Delay = "none"
            because "nobody wants a slow proxy",
        example "{ chunk: 100ms }";
        instead
            "latency" | "each" | "read" | "write" => "chunk",
            "dial" | "accept" => "connect",
            "first" | "ttfb" | "response" => "first_byte",
            "jitter" => "delays are fixed, so that tests are reproducible",
            "rate" => "`limits: { bandwidth: { up: RATE, down: RATE } }` limits bandwidth";
    }
}

keyword! {
    /// A warning that says what may be intended.
    pub enum Acknowledged("warning") {
        /// Another route guards the same origin with different `client_auth`: the origin, or what it serves
        /// here, is for clients of both.
        SharedOrigin = "shared_origin",
        /// Browsers may send requests for this route's names on an h2 connection of a route that has the same
        /// certificate: the origin compares names itself, or no client is a browser.
        Coalescing = "coalescing",
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
        /// Plain both ways, on an endpoint with `protocol: tcp`, and on the route of `not_tls`.
        Forward = "forward",
        /// Plain from the client, TLS to the origin, on an endpoint with `protocol: tcp`.
        Originate = "originate",
        instead
            "tls_passthrough" | "sni" | "ssl_preread" | "pass" | "tunnel" => "passthrough",
            "edge" | "termination" | "tls_termination" | "offload" | "ssl" => "terminate",
            "re_encrypt" | "reencryption" | "bridge" | "bridging" => "reencrypt",
            "tcp" =>
                "write `passthrough` for TLS that goes through untouched, \
                 or `forward` on an endpoint with `protocol: tcp`",
            "proxy" => "write `terminate` or `reencrypt`: does the origin speak TLS?",
            "http" | "https" => "write `terminate` or `reencrypt`; HTTP itself is passed on unread",
            "plain" => "forward",
            "client" => "originate";
    }
}

impl Mode {
    /// Whether TLS from clients ends here.
    pub const fn terminates_tls(self) -> bool {
        matches!(self, Self::Terminate | Self::Reencrypt)
    }
}

impl Delays {
    /// Whether there is any.
    pub fn is_any(&self) -> bool {
        let all = [&self.connect, &self.first_byte, &self.chunk];
        all.iter().any(|delay| !delay.0.is_zero())
    }
}

impl Route {
    /// Whether a warning about it is acknowledged.
    pub fn acknowledges(&self, warning: Acknowledged) -> bool {
        let mut listed = self.acknowledge.iter().flat_map(|listed| listed.iter());
        listed.any(|listed| listed.value == warning)
    }

    /// Whether a client of this route may negotiate this ALPN protocol, on an endpoint with these.
    pub fn may_negotiate(&self, endpoint: &OneOrMany<Protocol>, protocol: &str) -> bool {
        let alpn = self.alpn.as_ref().map_or(endpoint, |alpn| &alpn.value);
        alpn.iter().any(|item| item.value.0 == protocol)
    }

    /// The name of its upstream; absent where a file has one for each server name.
    pub fn upstream_name(&self) -> Option<&str> {
        self.upstream.as_ref().map(|name| name.as_str())
    }

    /// Where the file says to which upstreams it leads.
    pub fn leads_at(&self) -> Span {
        let upstream = self.upstream.as_ref().map(|name| name.at);
        let file = self.routes_file.as_ref().map(|file| file.at);
        upstream.or(file).unwrap_or(self.name.at)
    }

    /// The server names that lead to this route.
    pub fn server_names(&self) -> impl Iterator<Item = &HostPattern> {
        let sni = self.matches.sni.iter().flat_map(|sni| sni.iter());
        sni.map(|name| &name.value)
    }
}
