//! The keys of `admin`.

use crate::config::reader::admin_address::{AdminAddress, IpPort};
use crate::config::reader::fields::spec;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::values::{Path, Permissions, Text};

spec! {
    /// The admin socket and the metrics listener. A change needs a restart, except for `token_file` and
    /// `tls`.
    pub struct Admin {
        /// The admin socket: `unix:PATH`, or `IP:PORT`, which needs `token_file` or `tls` with `client_ca`.
        /// Absent: `admin.sock` in `$RUNTIME_DIRECTORY` if that is set, else none.
        optional listen: AdminAddress,
        /// The permission bits of the unix socket, in octal. A user who may open it may do everything.
        default permissions: Permissions = "0600"
            because "only the user that Reseal runs as may control it",
        /// The user that the unix socket belongs to, by number or by a name that the system knows (NSS).
        /// Absent: the process's.
        optional owner: Text,
        /// The group that the unix socket belongs to, likewise. Absent: the process's.
        optional group: Text,
        /// A file with the tokens of which requests over TCP must carry one: one a line, of at least 16
        /// characters. `read:TOKEN` may query, `operate:TOKEN` do everything but stop the process, and a bare
        /// one everything.
        optional token_file: Path,
        /// TLS on the TCP address. Absent: HTTP in clear text.
        optional tls: AdminTls,
        /// The address of a listener for `/metrics`, `/healthz` and `/readyz` alone, without a token.
        optional metrics: IpPort,
        example "{ listen: unix:/run/reseal/admin.sock }";
        instead
            "address" | "socket" => "listen",
            "stats" | "prometheus" => "metrics",
            "mode" => "permissions",
            "user" => "owner",
            "token" => "token_file";
    }
}

spec! {
    /// TLS of the admin socket, if that is a TCP address.
    pub struct AdminTls {
        /// The chain in PEM.
        required cert: Path,
        /// The private key in PEM. Absent: in the file of `cert`.
        optional key: Path,
        /// The CAs that may sign clients' certificates, which are then demanded. With `token_file`, a client
        /// needs both.
        optional client_ca: OneOrMany<Path>,
        example "{ cert: FILE, key: FILE }";
        instead
            "certificate" | "cert_file" | "crt" => "cert",
            "private_key" | "key_file" => "key",
            "ca" | "client_auth" | "ca_file" => "client_ca";
    }
}
