//! The keys of an endpoint that are not about TLS.

use super::endpoint_tls::EndpointTls;
use super::route::{DefaultRoute, Route};
use super::tcp::EndpointTcp;
use super::timeouts::Timeouts;
use crate::config::reader::address::{Cidr, Listen};
use crate::config::reader::fields::spec;
use crate::config::reader::generic::OneOrMany;
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
        /// Length of the accept queue of each socket: connections that the kernel has completed.
        default backlog: Count<1, 65_535> = "4096"
            because "it is the kernel's own limit (`net.core.somaxconn`) since Linux 5.4",
        /// Peers that must send a PROXY header first.
        optional accept_proxy_protocol: AcceptProxyProtocol,
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
        later sources, limits;
    }
}

keyword! {
    impl Protocol("protocol") {
        /// TLS, from the first byte.
        Tls = "tls",
        /// Any protocol over TCP.
        Tcp = "tcp",
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
    }
}
