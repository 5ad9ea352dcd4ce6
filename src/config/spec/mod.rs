//! All keys of the configuration file with their defaults and the reasons of these: the table that the
//! reader, the JSON Schema, the printed form and the reference are derived from. Knows nothing of how keys
//! are used, nor which values fit together.

mod acme;
mod acme_leaves;
mod admin;
mod client_auth;
mod collectors;
mod crl_source;
mod digests;
mod endpoint;
mod endpoint_tls;
mod fleet;
mod health;
mod http_check;
mod http_headers;
mod limits;
mod log;
mod names;
mod negotiate;
mod ocsp_source;
mod process;
mod route;
mod sources;
mod tcp;
mod timeouts;
mod tls_words;
mod trust;
mod tunnel;
mod upstream;
mod upstream_tls;
mod urls;
mod vault;

pub use acme::{AcmeCertificate, Challenge, DnsUpdates, ExternalAccount, Issuer};
pub use admin::{Admin, AdminTls};
pub use client_auth::{ClientAuth, ClientAuthMode, Rule};
pub use collectors::{Otlp, Syslog};
pub use crl_source::{ListSource, ListUrl, ListsOfCertificates};
pub use endpoint::Endpoint;
pub use endpoint_tls::{Certificate, CertificatePair, EndpointTls};
pub use fleet::{Fleet, FleetStore};
pub use health::{Check, CheckHeader, Health, OnDown, Preset};
pub use http_check::HttpCheck;
pub use limits::{Bandwidth, EndpointLimits, RouteLimits};
pub use log::{AccessEvent, AccessLog, Log};
pub use names::server_name;
pub use ocsp_source::{OcspFetch, OcspSource};
pub use process::{KeyPermissions, Process, Sandbox};
pub use route::{Acknowledged, DefaultRoute, Delays, Match, Mode, Route, RoutesFile};
pub use sources::{Excluded, NetworkFile, Sources};
pub use tls_words::{CipherSuite, Group, TlsVersion};
pub use trust::Trust;
pub use tunnel::OriginNegotiate;
pub use upstream::{HeaderVersion, Origin, SendProxyProtocol, Tlv, Upstream};
pub use upstream_tls::{ClientCertificate, ClientIdentity, UpstreamAlpn, UpstreamTls, Verify};
pub use urls::HttpUrl;
pub use vault::{Vault, VaultAuth, VaultCertificate};

use super::reader::fields::spec;
use super::reader::generic::Names;
use super::reader::read::Located;

spec! {
    /// A whole configuration file.
    pub struct Spec {
        /// The process as a whole.
        default process: Process = "{}",
        /// The process log: what happens to the process, apart from the access log.
        default log: Log = "{}",
        /// The access log: one record for each connection.
        default access_log: AccessLog = "{}",
        /// CAs that issue certificates by ACME, by name.
        default acme: Names<Issuer> = "{}",
        /// PKI engines of Vault or OpenBao that issue certificates, by name.
        default vault: Names<Vault> = "{}",
        /// The admin socket and the metrics listener.
        default admin: Admin = "{}",
        /// The store that many instances get their endpoints and upstreams from. This file then holds what is
        /// local, and neither of the two.
        optional fleet: Fleet,
        /// The endpoints that clients connect to, at least one.
        given endpoints: Vec<Located<Endpoint>> = "fleet",
        /// Groups of servers that routes lead to, by name.
        given upstreams: Names<Upstream> = "fleet",
        instead
            "frontend" | "frontends" | "listeners" | "listener" => "endpoints",
            "listen" => "`endpoints: [{ name: NAME, listen: ADDRESS, .. }]` is where addresses are",
            "entrypoints" | "servers" | "server" => "endpoints",
            "services" | "backend" | "backends" | "clusters" | "pools" | "origins" => "upstreams",
            "routes" | "routers" => "`endpoints` have routes: each its own",
            "global" | "general" => "process",
            "logging" | "logs" => "log",
            "accesslog" => "access_log",
            "metrics" | "stats" => "`admin: { metrics: IP:PORT }` is the listener for metrics",
            "api" => "admin",
            "defaults" =>
                "there are no defaults; an anchor under a key that begins with `x-` can be repeated by `<<`",
            "tls" => "`endpoints` have `tls` for clients, and `upstreams` for origins",
            "certificates" => "`endpoints` have certificates, under `tls`",
            "timeouts" => "`endpoints` have timeouts",
            "threads" | "nbthread" | "worker_processes" | "workers" => "`process: { workers: N }` sets it",
            "maxconn" | "max_connections" => "`process: { limits: { connections: N } }` bounds connections",
            "user" | "group" => "the unit of systemd sets `User=` and `Group=`",
            "pidfile" | "pid_file" | "pid" | "daemon" =>
                "it runs in the foreground, without a PID file; systemd or `&` puts it into the background",
            "include" => "all is in one file",
            "version" => "the format has no version: leave it out",
            "http" => "HTTP is not read: there are `endpoints` and `upstreams`",
            "stream" | "tcp" => "`endpoints` and `upstreams` are at the top";
    }
}

impl Spec {
    /// Every source of revocation lists, of clients and of origins.
    pub fn list_sources(&self) -> impl Iterator<Item = &Located<ListSource>> {
        let endpoints = self.endpoints.iter().flat_map(|endpoint| {
            let routes = endpoint.routes.iter();
            let routes = routes.filter_map(|route| route.client_auth.as_ref());
            routes.chain([&endpoint.tls.client_auth])
        });
        let of_clients = endpoints.filter_map(|auth| auth.crl.as_ref());
        let upstreams = self.upstreams.0.iter();
        let of_origins = upstreams.map(|(_, upstream)| &upstream.tls.crl);
        of_clients
            .chain(of_origins)
            .flat_map(|sources| sources.iter())
    }

    /// Every OCSP response to be stapled.
    pub fn ocsp_sources(&self) -> impl Iterator<Item = &Located<OcspSource>> {
        let endpoints = self.endpoints.iter();
        let certificates = endpoints.flat_map(|endpoint| endpoint.tls.certificates.iter());
        certificates.filter_map(|certificate| match &certificate.value {
            Certificate::Pair(pair) => pair.ocsp.as_ref(),
            Certificate::Directory(_) | Certificate::Acme(_) => None,
        })
    }
}
