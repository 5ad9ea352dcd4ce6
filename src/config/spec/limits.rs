//! The keys of limits on connections.

use crate::admission::WhenFull;
use crate::config::reader::byte_rate::ByteRate;
use crate::config::reader::fields::spec;
use crate::config::reader::generic::Limit;
use crate::config::reader::rate::Rate;
use crate::config::reader::values::Count;
use crate::config::reader::words::keyword;

spec! {
    /// How many connections an endpoint takes. The limits of the process and of the route apply as well.
    pub struct EndpointLimits {
        /// Connections at a time.
        default connections: Limit<Count<1, 10_000_000>> = "none"
            because "`process.limits.connections` bounds all endpoints together",
        /// Connections at a time of each source.
        default per_source: Limit<Count<1, 10_000_000>> = "none"
            because "many clients may share one address",
        /// New connections of all sources: so many in each second or minute, and as many at once.
        default new: Limit<Rate> = "none"
            because "what a machine can take is measured, not guessed",
        /// New connections of each source, likewise.
        default new_per_source: Limit<Rate> = "none"
            because "many clients may share one address",
        /// TLS handshakes with clients at a time. One source gets at most as many as are free, so at most
        /// half.
        default handshakes: Limit<Count<1, 1_000_000>> = "none"
            because "`process.limits.handshakes` bounds all endpoints together",
        /// TLS handshakes at a time of each source, slow ones included.
        default handshakes_per_source: Limit<Count<1, 1_000_000>> = "none"
            because "`process.limits.handshakes` is shared fairly by source",
        /// What counts as one source; for the routes of the endpoint, too.
        default source_prefix: SourcePrefix = "{}",
        /// What happens at `connections` and `handshakes`. Source and rate limits always refuse. Before a
        /// client waits or is refused for `connections`, the oldest connection that has said nothing is
        /// dropped.
        default when_full: WhenFull = "wait"
            because "a short wait is better than an error, and a full queue of the kernel slows clients down",
        /// Whether clients beyond these limits are admitted all the same, and only counted and recorded.
        default dry_run: bool = "false"
            because "a limit that limits nothing would be a surprise",
        later shared => "until then, divide the limit by the number of instances";
        example "{ connections: 1000 }";
        instead
            "maxconn" | "max_connections" | "conn" => "connections",
            "limit_conn" | "per_ip" | "connections_per_source" | "connections_per_ip" | "in_flight" => "per_source",
            "rate" => "`new: 2000/s` bounds new connections, `new_per_source: 50/s` those of each source",
            "maxconnrate" => "new",
            "conn_rate" | "new_per_ip" | "rate_per_source" => "new_per_source",
            "burst" => "the burst of a rate is one second's worth; of `/m`, one minute's",
            "maxsslrate" => "`handshakes: N` bounds handshakes at a time",
            "maxsslconn" => "handshakes",
            "overflow" => "when_full",
            "prefix" => "source_prefix",
            "bandwidth" | "bandwidth_per_connection" => "bandwidth is limited by route: write it in `limits` of the route";
    }
}

spec! {
    /// How many connections a route takes. The limits of the process and of the endpoint apply as well, and
    /// `source_prefix` of the endpoint says what a source is. All of them refuse.
    pub struct RouteLimits {
        /// Connections at a time.
        default connections: Limit<Count<1, 10_000_000>> = "none"
            because "the origins of the upstream have limits of their own",
        /// Connections at a time of each source.
        default per_source: Limit<Count<1, 10_000_000>> = "none"
            because "many clients may share one address",
        /// New connections of all sources: so many in each second or minute, and as many at once.
        default new: Limit<Rate> = "none"
            because "what an origin can take is measured, not guessed",
        /// New connections of each source, likewise.
        default new_per_source: Limit<Rate> = "none"
            because "many clients may share one address",
        /// Bytes per second of all connections together, shared fairly.
        default bandwidth: Bandwidth = "{}",
        /// Bytes per second of each connection.
        default bandwidth_per_connection: Bandwidth = "{}",
        /// Whether these limits hold nobody up: clients beyond them are admitted all the same, bytes beyond
        /// them move, and both are only counted.
        default dry_run: bool = "false"
            because "a limit that limits nothing would be a surprise",
        example "{ connections: 1000 }";
        instead
            "maxconn" | "max_connections" => "connections",
            "per_ip" | "connections_per_source" => "per_source",
            "limit_rate" | "proxy_download_rate" | "proxy_upload_rate" | "rate_limit" | "bwlim" =>
                "bandwidth_per_connection",
            "throughput" | "speed" => "bandwidth",
            "rate" => "`new: 2000/s` bounds new connections, `new_per_source: 50/s` those of each source",
            "new_per_ip" | "rate_per_source" => "new_per_source",
            "burst" => "the burst of a rate is one second's worth; of `/m`, one minute's",
            "handshakes" =>
                "handshakes are limited by endpoint: a client is in its handshake \
                 before it counts for a route",
            "handshakes_per_source" => "handshakes are limited by endpoint",
            "when_full" => "the limits of a route always refuse; those of the endpoint can make clients wait",
            "source_prefix" => "`limits: { source_prefix: .. }` of the endpoint says it for its routes, too";
    }
}

spec! {
    /// Bytes of the application per second, in each direction. At most a tenth of a second's worth moves at
    /// once after a pause. Modes that open or begin TLS need `16KiB/s` or more, the size of a TLS record.
    pub struct Bandwidth {
        /// From the client to the origin.
        default up: Limit<ByteRate> = "none"
            because "what a network carries is measured, not guessed",
        /// From the origin to the client.
        default down: Limit<ByteRate> = "none"
            because "what a network carries is measured, not guessed",
        example "{ down: 10MiB/s }";
        instead
            "upload" | "in" | "out" | "rx" | "tx" | "read" | "write" =>
                "`up` is from the client to the origin, `down` from the origin to the client",
            "download" => "down",
            "rate" => "`{ up: 10MiB/s, down: 10MiB/s }` limits both directions",
            "burst" => "the burst is a tenth of a second's worth",
            "=none" => "{ up: none, down: none }";
    }
}

spec! {
    /// How many leading bits of an address make one source.
    pub struct SourcePrefix {
        /// Of an IPv4 address.
        default ipv4: Count<1, 32> = "32"
            because "IPv4 addresses are few, and each may be a host or a whole network behind it",
        /// Of an IPv6 address.
        default ipv6: Count<1, 128> = "64"
            because "one host has a whole /64, and can change its address within it at will",
        example "{ ipv6: 56 }";
    }
}

keyword! {
    impl WhenFull("choice") {
        /// A client waits: for `connections` in the kernel's accept queue, for `handshakes` within
        /// `timeouts.client`.
        Wait = "wait",
        /// It is refused.
        Refuse = "refuse",
        instead
            "queue" | "pause" => "wait",
            "reject" | "drop" | "deny" | "close" | "reset" => "refuse";
    }
}
