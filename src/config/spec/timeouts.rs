//! The keys of `timeouts`.

use crate::config::reader::fields::spec;
use crate::config::reader::generic::Limit;
use crate::config::reader::values::{Duration, Timeout};

spec! {
    /// Time limits of each step of a connection. The first three are absolute: a trickle of bytes does not
    /// extend them.
    pub struct Timeouts {
        /// From accept to the complete ClientHello, a PROXY header before it included.
        default hello: Timeout = "5s"
            because "it is one or two packets, and leaves time for two retransmissions",
        /// From accept until the client's TLS and client authentication are done.
        default client: Timeout = "10s"
            because "slow mobile networks need seconds for two round trips with losses",
        /// From there until the origin is ready: queue, name resolution, all attempts and their TLS.
        default origin: Timeout = "10s"
            because "three attempts of 3s fit",
        /// Without a byte of the application in either direction.
        default idle: Limit<Duration> = "10m"
            because "pools pause for minutes; a peer that is gone should not hold a connection for hours",
        /// Without progress since one side has ended. Bytes that the other side's kernel acknowledges are
        /// progress. If bytes are still queued when the time is over, the peer gets the same time again, as
        /// long as it takes some of them each time.
        default half_close: Limit<Duration> = "60s"
            because "a last answer may take that long; a peer that forgets to close does not stay",
        /// The whole connection.
        default lifetime: Limit<Duration> = "none"
            because "tunnels, replication and shells may run for weeks",
        example "{ idle: 10m }";
        instead
            "connect" | "timeout_connect" =>
                "`origin` bounds the way to the origin; one attempt has `connect.timeout` of the upstream",
            "server" | "client_idle" => "`idle` bounds silence on both sides",
            "tunnel" | "inactivity" | "inactive" | "read" | "write" => "idle",
            "keepalive" | "keep_alive" => "`tcp.keepalive` probes silent peers; `idle` bounds silence",
            "handshake" | "tls_handshake" | "tls" =>
                "`client` bounds the handshake with the client, `hello` its first message",
            "client_hello" => "hello",
            "max_connection_duration" | "max" => "lifetime",
            "close" | "client_fin" | "server_fin" | "linger" => "half_close";
    }
}

spec! {
    /// Time limits of a route that replace those of its endpoint, key by key.
    pub struct RouteTimeouts {
        /// From accept until the client's TLS and client authentication are done.
        optional client: Timeout,
        /// From there until the origin is ready.
        optional origin: Timeout,
        /// Without a byte of the application in either direction.
        optional idle: Limit<Duration>,
        /// Without progress since one side has ended.
        optional half_close: Limit<Duration>,
        /// The whole connection.
        optional lifetime: Limit<Duration>,
    }
}
