//! The keys of `admin`.

use crate::config::reader::admin_address::{AdminAddress, IpPort};
use crate::config::reader::fields::spec;
use crate::config::reader::values::{Path, Permissions, Text};

spec! {
    /// The admin socket and the metrics listener. A change needs a restart.
    pub struct Admin {
        /// The admin socket: `unix:PATH`, or `IP:PORT`, which needs `token_file`. Absent: `admin.sock` in
        /// `$RUNTIME_DIRECTORY` if that is set, else none.
        optional listen: AdminAddress,
        /// The permission bits of the unix socket, in octal. A user who may open it may do everything.
        default permissions: Permissions = "0600"
            because "only the user that Reseal runs as may control it",
        /// The user that the unix socket belongs to, by number or by a name that the system knows (NSS).
        /// Absent: the process's.
        optional owner: Text,
        /// The group that the unix socket belongs to, likewise. Absent: the process's.
        optional group: Text,
        /// A file with the token that requests over TCP must carry: one line of at least 16 characters.
        optional token_file: Path,
        /// The address of a listener for `/metrics`, `/healthz` and `/readyz` alone, without a token.
        optional metrics: IpPort,
        later tls => "until then, listen on `unix:PATH`, or on loopback behind a route of this file";
        example "{ listen: unix:/run/reseal/admin.sock }";
        instead
            "address" | "socket" => "listen",
            "stats" | "prometheus" => "metrics",
            "mode" => "permissions",
            "user" => "owner",
            "token" => "token_file";
    }
}
