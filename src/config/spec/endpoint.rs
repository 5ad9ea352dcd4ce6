//! The keys of an endpoint that are not about TLS.

use super::endpoint_tls::EndpointTls;
use super::limits::EndpointLimits;
use super::negotiate::Negotiate;
use super::route::{DefaultRoute, Mode, Route};
use super::sources::Sources;
use super::tcp::EndpointTcp;
use super::timeouts::Timeouts;
use crate::config::reader::fields::spec;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::ip::Cidr;
use crate::config::reader::listen::Listen;
use crate::config::reader::read::Located;
use crate::config::reader::values::{Count, Name, Timeout};
use crate::config::reader::words::keyword;
use crate::snapshot::Protocol;

spec! {
    /// A listening address and its policy.
    pub struct Endpoint {
        /// Its name, unique in the file.
        required name: Name,
        /// The addresses to listen on.
        required listen: OneOrMany<Listen>,
        /// The protocol of clients.
        default protocol: Protocol = "tls"
            because "routes then choose by server name",
        /// The name of the route for clients that do not begin with TLS, of mode `forward`. Required on
        /// `protocol: any`, and for that alone.
        optional not_tls: Name,
        /// How long a client that says nothing is waited for, on `protocol: any`, before it is taken for one
        /// that waits for the server. At most `timeouts.hello`.
        default sniff: Timeout = "200ms"
            because "a client of TLS speaks first, within a round trip; nobody notices a fifth of a second",
        /// The protocol in which TLS begins: clients ask for it there, and nothing else of them is answered.
        default negotiate: Negotiate = "none"
            because "most protocols begin with TLS",
        /// Length of the accept queue of each socket: connections that the kernel has completed.
        default backlog: Count<1, 65_535> = "4096"
            because "it is the kernel's own limit (`net.core.somaxconn`) since Linux 5.4",
        /// Peers that must send a PROXY header first.
        optional accept_proxy_protocol: AcceptProxyProtocol,
        /// Which addresses may connect. Others are reset before a byte of TLS.
        optional sources: Sources,
        /// How many connections it takes.
        default limits: EndpointLimits = "{}",
        /// Time limits of each step.
        default timeouts: Timeouts = "{}",
        /// Options of the client's TCP connection.
        default tcp: EndpointTcp = "{}",
        /// TLS with clients. Not on `protocol: tcp`.
        default tls: EndpointTls = "{}",
        /// The route for an absent or unknown server name: its name, or a map. Not on `protocol: tcp`.
        optional default_route: DefaultRoute,
        /// The routes; their order matters within one server name.
        required routes: Vec<Located<Route>>,
        example "{ name: NAME, listen: ADDRESS, routes: [..] }";
        instead
            "bind" | "address" | "addresses" | "addr" | "accept" | "entrypoint" => "listen",
            "port" => "`listen` holds the port, as `IP:PORT`",
            "certificate" | "cert" | "ssl_certificate" | "crt" =>
                "`tls: { certificates: [{ cert: FILE, key: FILE }] }` is where certificates are",
            "ssl" => "tls",
            "starttls" | "start_tls" => "negotiate",
            "mode" => "`protocol` is `tls`, `tcp` or `any`; a `mode` is a key of each route",
            "default" => "default_route",
            "default_backend" =>
                "`default_route: NAME` is the route for an unknown server name; a route names the upstream",
            "fallback" => "default_route",
            "plain_route" | "on_not_tls" | "not_ssl" => "not_tls",
            "inspect_delay" | "tcp_request" | "sniff_timeout" | "preread_timeout" => "sniff",
            "rules" | "routers" | "filter_chains" => "routes",
            "upstream" | "backend" =>
                "`routes` lead to upstreams: `routes: [{ name: NAME, mode: MODE, upstream: NAME }]`",
            "accept_proxy" | "proxy_protocol" | "accept_proxy_header" => "accept_proxy_protocol",
            "timeout" => "timeouts",
            "timeout_client" | "idle_timeout" => "`timeouts: { idle: TIME }` is the limit on silence",
            "maxconn" | "max_connections" | "connections" =>
                "`limits: { connections: N }` bounds connections",
            "rate_limit" | "ratelimit" =>
                "`limits: { new: 2000/s, new_per_source: 50/s }` bounds new connections",
            "limit" => "limits",
            "verify" => "`tls: { client_auth: { mode: required, ca: FILE } }` is how clients are verified",
            "server_name" | "sni" => "`routes` match server names: `match: { sni: NAME }`",
            "allow" => "`sources: { allow: [NETWORK] }` admits addresses",
            "deny" => "`sources: { deny: [NETWORK] }` denies addresses",
            "ipallowlist" | "whitelist" => "`sources: { allow: [NETWORK] }` admits addresses",
            "blacklist" => "`sources: { deny: [NETWORK] }` denies addresses",
            "acl" | "source" => "sources",
            "somaxconn" => "backlog";
    }
}

impl Endpoint {
    /// Whether a route is the one for clients that do not begin with TLS.
    pub fn is_not_tls(&self, route: &Route) -> bool {
        let named = self.not_tls.as_ref();
        self.protocol.value == Protocol::Any
            && named.is_some_and(|name| name.as_str() == route.name.as_str())
    }

    /// Whether there is a route for clients that do not begin with TLS, and of the mode for that.
    pub fn has_not_tls(&self) -> bool {
        let is_it = |route: &Route| self.is_not_tls(route) && route.mode.value == Mode::Forward;
        self.routes.iter().any(|route| is_it(route))
    }

    /// Whether the clients of a route speak no TLS with Reseal.
    pub fn is_plain(&self, route: &Route) -> bool {
        self.protocol.value == Protocol::Tcp || self.is_not_tls(route)
    }

    /// Whether it has `protocol: tcp`, and everything else of it is for TLS.
    pub fn is_tls_in_all_but_protocol(&self) -> bool {
        let is_tls = |route: &Route| !matches!(route.mode.value, Mode::Forward | Mode::Originate);
        self.protocol.value == Protocol::Tcp
            && !self.routes.is_empty()
            && self.routes.iter().all(|route| is_tls(route))
            && (!self.tls.certificates.is_empty()
                || self.default_route.is_some()
                || self.routes.iter().any(|route| route.matches.sni.is_some()))
    }
}

keyword! {
    impl Protocol("protocol") {
        /// TLS, from the first byte.
        Tls = "tls",
        /// Any protocol over TCP.
        Tcp = "tcp",
        /// Both: clients that begin with TLS go to the routes, all others to the route of `not_tls`.
        Any = "any",
        instead
            "both" | "auto" | "mixed" | "sniff" => "any",
            "ssl" | "https" | "tls_tcp" | "mtls" => "tls",
            "http" => "write `tls` if clients speak TLS, else `tcp`; HTTP itself is passed on unread",
            "raw" | "plain" | "none" => "tcp",
            "h2" | "grpc" =>
                "`protocol` is that of the bytes below: write `tls`, and `alpn: [h2]` under `tls`",
            "udp" | "quic" | "http3" => "there is no UDP: `tls` or `tcp`";
    }
}

spec! {
    /// Peers that must send a PROXY header first.
    pub struct AcceptProxyProtocol {
        /// The peers that must send one, version 1 or 2. All others must not send one.
        required from: OneOrMany<Cidr>,
        /// From accept to the complete header; never beyond `timeouts.hello`.
        default timeout: Timeout = "3s"
            because "a load balancer sends it with its first packet; this allows one retransmission",
        example "{ from: [10.0.0.0/8] }";
        instead
            "trusted" | "trustedips" | "trusted_ips" | "source" | "sources" | "set_real_ip_from" => "from";
    }
}
