//! The keys of `fleet`.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::collectors::host_and_port;
use super::trust::Trust;
use crate::config::reader::address::OriginAddress;
use crate::config::reader::fields::spec;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::config::reader::reference::Form;
use crate::config::reader::values::{Duration, Name, Path, Text, check_text};
use crate::fleet::StoreEndpoint;

spec! {
    /// The store that many instances get their endpoints and upstreams from, and what this one is called in it. A
    /// change needs a restart, except for the contents of files.
    pub struct Fleet {
        /// How the store is reached.
        required etcd: FleetStore,
        /// The name of this instance, which no other one of the fleet has. Absent: the host name.
        optional instance: Name,
        /// The group of instances that it belongs to.
        default group: Name = "default"
            because "most fleets are all alike",
        /// A directory for the last good document, sealed: with it, an instance starts without the store.
        required cache: Path,
        /// Files with secrets of at least 32 bytes. The first seals what is written, all open what is read.
        required seal_key: OneOrMany<Path>,
        /// A new document is applied within this time, each instance at a moment of its own.
        default apply_within: Duration = "0s"
            because "a document was compiled before it was pushed, and a reload interrupts nothing",
        later when_stale, stale_after;
        example "{ etcd: { endpoints: [URL] }, cache: DIRECTORY, seal_key: FILE }";
        instead
            "name" | "id" | "node" => "instance",
            "store" | "kv" | "consul" | "redis" => "etcd",
            "key" | "secret" | "sealing_key" => "seal_key",
            "directory" | "state" => "cache",
            "jitter" | "spread" => "apply_within";
    }
}

spec! {
    /// An etcd cluster, 3.4 or newer, whose JSON gateway is on (it is unless switched off).
    pub struct FleetStore {
        /// The URLs of its members, `https://HOST:PORT` or `http://HOST:PORT`, at least one.
        required endpoints: OneOrMany<StoreEndpoint>,
        /// The CAs that may sign the members' certificates: files in PEM, `webpki` (the public CAs that are
        /// built in), or `system` (the system's store).
        default ca: Trust = "webpki"
            because "the CA of a cluster is a private one, and has to be named",
        /// The client certificate in PEM, if the cluster demands one.
        optional cert: Path,
        /// Its private key in PEM. Absent: in the file of `cert`.
        optional key: Path,
        /// Before all keys that belong to this fleet.
        default prefix: Text = "/reseal"
            because "a cluster may hold more than one fleet",
        /// A user of the cluster, if it has users.
        optional user: Text,
        /// A file with the password of `user`, and nothing else.
        optional password_file: Path,
        example "{ endpoints: [URL] }";
        instead
            "url" | "urls" | "hosts" | "address" | "addresses" | "servers" => "endpoints",
            "ca_file" | "cacert" | "trusted_ca_file" => "ca",
            "cert_file" | "certificate" => "cert",
            "key_file" | "private_key" => "key",
            "username" => "user",
            "password" => "`password_file: FILE` names the file that holds it";
    }
}

const ENDPOINTS: &str = "`https://HOST:PORT`, or `http://HOST:PORT` without TLS";

/// The port of clients of etcd.
const PORT: u16 = 2379;

impl Leaf for StoreEndpoint {
    fn what() -> Cow<'static, str> {
        "a URL such as `https://10.0.0.1:2379`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        let schemes = [("https://", true), ("http://", false)];
        let known = schemes
            .iter()
            .find_map(|(scheme, is_tls)| Some((text.strip_prefix(scheme)?, *is_tls)));
        let Some((rest, is_tls)) = known else {
            let meant = format!("https://{text}");
            let meant = (!text.contains("://") && Self::parse(&meant).is_ok())
                .then(|| format!("write `{meant}`, or `http://{text}` without TLS"));
            return Err(Invalid::new("{} is no URL of etcd")
                .help(ENDPOINTS)
                .fix(meant));
        };
        let place = rest.strip_suffix('/').unwrap_or(rest);
        if place.contains(['/', '?', '#', '@']) {
            return Err(Invalid::new("{} has more than host and port").help(ENDPOINTS));
        }
        let place = match OriginAddress::parse(place).is_ok() {
            true => host_and_port(place),
            false => host_and_port(&format!("{place}:{PORT}")),
        };
        let place = place.map_err(|_| Invalid::new("{} names no host").help(ENDPOINTS))?;
        Ok(Self { is_tls, place })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^https?://" })
    }

    fn form() -> Form {
        Form::of("URL")
    }

    fn render(&self) -> String {
        self.to_string()
    }
}
