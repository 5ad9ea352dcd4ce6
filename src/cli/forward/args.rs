//! The flags of `reseal forward`.

use super::peers::{ClientArgs, OriginArgs};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Listening address: ADDRESS:PORT, *:PORT, unix:PATH or systemd:NAME; with tls:// before it, TLS ends
    /// there
    #[arg(long, value_name = "[tls://]ADDRESS", required_unless_present = "unix")]
    pub(super) listen: Option<String>,
    /// Listening unix socket, the same as --listen unix:PATH
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    pub(super) unix: Option<String>,
    /// Origin: HOST:PORT, srv:NAME or unix:PATH, with tls:// before it to connect with TLS; repeatable
    #[arg(long, value_name = "[tls://]HOST:PORT", required = true)]
    pub(super) to: Vec<String>,
    /// Protocol in which TLS begins, on each side that has TLS: postgres, ldap, smtp, imap, pop3 or xmpp
    #[arg(long, value_name = "PROTOCOL")]
    pub(super) negotiate: Option<String>,
    /// ALPN protocol of a tls:// listener, else what a tls:// origin is offered; repeatable
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',')]
    pub(super) alpn: Vec<String>,
    #[command(flatten)]
    pub(super) clients: ClientArgs,
    #[command(flatten)]
    pub(super) origins: OriginArgs,
    /// Close a connection that is idle for this long
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    pub(super) idle: String,
    /// Maximum number of connections [default: what the descriptor limit allows]
    #[arg(long, value_name = "NUMBER")]
    pub(super) max_connections: Option<u32>,
    /// Bytes per second in each direction, such as 1MiB/s, shared by all connections
    #[arg(long, value_name = "RATE")]
    pub(super) rate: Option<String>,
    /// Pass each chunk of at most 256 KiB on this much later, in both directions; not with --listen tls://
    #[arg(long, value_name = "DURATION")]
    pub(super) delay: Option<String>,
    /// Print the configuration that the flags stand for, and do nothing else
    #[arg(long)]
    pub(super) print: bool,
}
