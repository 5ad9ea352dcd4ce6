//! The keys of TCP options, towards clients and origins.

use crate::config::reader::fields::spec;
use crate::config::reader::generic::Limit;
use crate::config::reader::values::{Duration, Size};

/// A socket buffer in bytes. The kernel raises small values to its minimum and doubles the given value,
/// which must still fit a C int.
pub type SocketBuffer = Size<4096, 0x3fff_ffff>;

spec! {
    /// Options of the client's TCP connection.
    pub struct EndpointTcp {
        /// Send small segments at once (disables Nagle's algorithm).
        default nodelay: bool = "true"
            because "Reseal writes whole TLS records, and waiting would only add latency",
        /// Idle time before a silent peer is probed, from `1s` to `9h`. Four probes follow within the same
        /// time again, so that a vanished peer is found after twice the time.
        default keepalive: Limit<Duration> = "60s"
            because "home routers and cloud load balancers forget idle connections after a few minutes",
        /// How long sent data may stay unacknowledged.
        default user_timeout: Limit<Duration> = "none"
            because "the kernel gives up after about 15 minutes of retransmissions",
        /// What the kernel queues for the client (`SO_SNDBUF`). `none` leaves it to the kernel, which adapts
        /// it up to `net.ipv4.tcp_wmem`.
        default send_buffer: Limit<SocketBuffer> = "none"
            because "the kernel's own tuning is better for throughput; a bound is for memory",
        /// What the kernel takes from the client before Reseal reads it (`SO_RCVBUF`). `none` adapts it up to
        /// `net.ipv4.tcp_rmem`.
        default receive_buffer: Limit<SocketBuffer> = "none"
            because "the kernel's own tuning is better for throughput; a bound is for memory",
        /// TCP Fast Open: accept data with a client's first packet.
        default fast_open: bool = "false"
            because "some middleboxes drop such packets",
    }
}

spec! {
    /// Options of the TCP connection to an origin.
    pub struct UpstreamTcp {
        /// Send small segments at once (disables Nagle's algorithm).
        default nodelay: bool = "true"
            because "Reseal writes whole TLS records, and waiting would only add latency",
        /// Idle time before a silent peer is probed, from `1s` to `9h`. Four probes follow within the same
        /// time again, so that a vanished peer is found after twice the time.
        default keepalive: Limit<Duration> = "60s"
            because "firewalls between Reseal and its origins forget idle connections, too",
        /// How long sent data may stay unacknowledged.
        default user_timeout: Limit<Duration> = "none"
            because "the kernel gives up after about 15 minutes of retransmissions",
        /// What the kernel queues for the origin (`SO_SNDBUF`). `none` leaves it to the kernel, which adapts
        /// it up to `net.ipv4.tcp_wmem`.
        default send_buffer: Limit<SocketBuffer> = "none"
            because "the kernel's own tuning is better for throughput; a bound is for memory",
        /// What the kernel takes from the origin before Reseal reads it (`SO_RCVBUF`). `none` adapts it up to
        /// `net.ipv4.tcp_rmem`.
        default receive_buffer: Limit<SocketBuffer> = "none"
            because "the kernel's own tuning is better for throughput; a bound is for memory",
    }
}
