//! The keys of PKI engines of Vault and OpenBao, and of the certificates that they issue.

use super::trust::Trust;
use super::urls::HttpUrl;
use crate::config::reader::fields::spec;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::values::{Name, Path, Text, Timeout};

spec! {
    /// A PKI engine of Vault or OpenBao, and how it is asked.
    pub struct Vault {
        /// The URL of the server, without a path. `http` only to an address of this machine: what is sent is
        /// secret.
        required address: HttpUrl,
        /// The CAs that may sign the server's certificate: files in PEM, `webpki` (the public CAs that are
        /// built in), or `system` (the system's store).
        default ca: Trust = "webpki"
            because "it verifies public servers, and fails for private ones until their CA is named",
        /// The path of the engine.
        default mount: Text = "pki"
            because "it is where the engine is enabled unless a path is given",
        /// The role by which it issues. It says how long certificates live, and for which names they may be.
        required role: Text,
        /// How Reseal logs in.
        required auth: VaultAuth,
        /// The directory for certificates with their keys, readable for Reseal's user alone. It is made if it
        /// is missing.
        default state: Path = "/var/lib/reseal/vault"
            because "a service of systemd has its state below /var/lib",
        /// Whether Reseal revokes its certificates when it ends, where its policy allows that. Not after an
        /// upgrade: the new process goes on with them.
        default revoke: bool = "true"
            because "an identity that nobody has any more should not be valid",
        example "{ address: URL, role: ROLE, auth: { token_file: FILE } }";
        instead
            "url" | "server" | "addr" | "vault_addr" => "address",
            "ca_file" | "cacert" | "ca_cert" | "vault_cacert" => "ca",
            "path" | "engine" | "pki" | "backend" => "mount",
            "token" | "vault_token" => "`auth: { token_file: FILE }` names the file that holds it",
            "approle" => "`auth: { approle: { role_id: ID, secret_id_file: FILE } }` logs in by it",
            "namespace" => "namespaces are part of the path: `mount: NAMESPACE/pki`",
            "cache" | "dir" | "storage" => "state";
    }
}

spec! {
    /// How Reseal logs in: one of `token_file`, `cert` and `approle`.
    pub struct VaultAuth {
        /// A file that holds a token, as an agent writes it. It is a secret, and re-read when it changes.
        optional token_file: Path,
        /// The client certificate for the method `cert`: the chain in PEM.
        optional cert: Path,
        /// Its private key in PEM. Absent: in the file of `cert`.
        optional key: Path,
        /// A role of the method `approle`.
        optional approle: AppRole,
        /// The path of the method. Absent: its name.
        optional mount: Text,
        example "{ token_file: FILE }";
        instead
            "token" => "`token_file: FILE` names the file that holds it",
            "role_id" | "secret_id" | "secret_id_file" => "`approle: { role_id: ID, secret_id_file: FILE }` logs in by it";
    }
}

spec! {
    /// A role of the method `approle`.
    pub struct AppRole {
        /// Its identifier.
        required role_id: Text,
        /// The file that holds its secret. It is re-read when it changes.
        required secret_id_file: Path,
        example "{ role_id: ID, secret_id_file: FILE }";
        instead
            "secret_id" | "secret" => "`secret_id_file: FILE` names the file that holds it";
    }
}

spec! {
    /// A client certificate that an engine of `vault` issues.
    pub struct VaultCertificate {
        /// In place of `cert`: the engine of `vault` that issues it.
        required vault: Name,
        /// What the certificate is for: host names, IP addresses and URIs; the first host name is its common
        /// name.
        required names: OneOrMany<Text>,
        /// How long it lives. Absent: as long as the role says.
        optional ttl: Timeout,
        example "{ vault: NAME, names: [HOST] }";
        instead
            "common_name" | "name" | "alt_names" | "uri_sans" => "names",
            "lifetime" | "period" | "max_age" => "ttl";
    }
}
