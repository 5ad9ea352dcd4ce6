//! The keys of TLS with origins.

use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use super::client_auth::Rule;
use super::crl_source::ListSource;
use super::digests::KeySha256;
use super::tls_words::{Group, TlsVersion};
use super::trust::Trust;
use super::tunnel::OriginNegotiate;
use super::vault::VaultCertificate;
use crate::acme::Identifier;
use crate::config::reader::definitions::Definitions;
use crate::config::reader::fields::spec;
use crate::config::reader::generic::{OffOr, OneOrMany};
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::{Located, Read, Reader};
use crate::config::reader::reference::{Form, Reference};
use crate::config::reader::rendered::Rendered;
use crate::config::reader::values::{Name, Path, Protocol, Timeout};
use crate::config::reader::words::keyword;
use crate::config::reader::yaml::{Kind, Node};
use crate::relay::OnTruncation;
use crate::tls::connector::Sni;
use crate::tls::verify::crl::{Depth, OnUnknown};

spec! {
    /// TLS with origins.
    pub struct UpstreamTls {
        /// The CAs that may sign origins' certificates: files in PEM, `webpki` (the public CAs that are built
        /// in), or `system` (the system's store).
        default ca: Trust = "webpki"
            because "it verifies public servers, and fails for private ones until their CA is named",
        /// The host name or IP address that certificates must hold, and that is sent as SNI. Absent: the
        /// origin's host.
        optional server_name: ServerName<'static>,
        /// The SNI that is sent.
        default sni: Sni = "configured"
            because "what a client claims must not choose the name that is verified",
        /// The certificate that Reseal sends to origins that ask for one.
        optional client_certificate: ClientIdentity,
        /// The protocol in which TLS with the origins begins, or an HTTP proxy before them. In mode
        /// `passthrough`: what is sent before the client's ClientHello.
        default negotiate: OriginNegotiate = "none"
            because "most protocols begin with TLS",
        /// The ALPN protocols that are offered.
        default alpn: UpstreamAlpn = "forward"
            because "the two sides of a connection have to speak the same protocol",
        /// The oldest allowed version.
        default min_version: TlsVersion = "1.2"
            because "older versions are deprecated (RFC 8996), and some servers speak no 1.3",
        /// Whether TLS sessions are resumed.
        default resumption: OffOr<UpstreamResumption> = "{}",
        /// What the client gets when an origin ends without `close_notify`.
        default on_truncation: OnTruncation = "reset"
            because "without `close_notify`, an attacker may have cut the data",
        /// Whether certificates are verified.
        default verify: Verify = "full"
            because "without verification, an attacker on the path can pose as the origin",
        /// Files with revocation lists of the origins' issuers, in PEM or DER, and URLs from which Reseal
        /// fetches them.
        default crl: OneOrMany<ListSource> = "[]"
            because "few private CAs publish lists",
        /// Which certificates of a chain are checked against them.
        default crl_scope: Depth = "chain"
            because "a revoked intermediate revokes everything below it",
        /// What to do if no list is from a certificate's issuer.
        default crl_unknown: OnUnknown = "deny"
            because "a list that is missing must not admit a revoked origin",
        /// What to do if a list is past its next update.
        default crl_expired: OnUnknown = "deny"
            because "an old list does not know the latest revocations",
        /// SHA-256 of the public keys (SubjectPublicKeyInfo) that origins may have, in hexadecimal or base64,
        /// in addition to the chain; empty is any.
        default spki_sha256: OneOrMany<KeySha256> = "[]"
            because "a pinned key has to be changed here whenever the origin's changes",
        /// Conditions on certificates in addition to chain and name; empty is none.
        default allow: OneOrMany<Rule> = "[]"
            because "chain and name are enough for most",
        /// Key exchange groups, by preference; empty is all.
        default groups: OneOrMany<Group> = "[]"
            because "all of them are secure; X25519MLKEM768 is offered first",
        example "{ ca: FILE }";
        instead
            "ca_file" | "cafile" | "cafiles" | "cacert" | "root_ca" | "rootcas" | "trusted_ca"
                | "truststore" | "trust" | "proxy_ssl_trusted_certificate" => "ca",
            "name" | "verify_host" | "verifyhost" | "checkhost" | "proxy_ssl_name"
                | "tls_server_name" | "servername" => "server_name",
            "cert" | "key" | "crt" =>
                "`client_certificate: { cert: FILE, key: FILE }` is what Reseal shows to origins",
            "client_cert" | "certificates" | "certificate" => "client_certificate",
            "insecure" | "insecure_skip_verify" | "insecureskipverify" | "tls_insecure_skip_verify" =>
                "`verify: danger-none` accepts any certificate; if verification fails, \
                 the CA is usually missing: `ca: FILE`",
            "verify_peer" | "proxy_ssl_verify" | "verification" => "verify",
            "enabled" | "mode" =>
                "TLS with origins is on where a route has the mode `reencrypt` or `originate`",
            "curves" => "groups",
            "starttls" | "start_tls" => "negotiate",
            "alpn_protocols" => "alpn",
            "protocols" | "versions" => "`min_version` is the oldest version",
            "min_tls_version" => "min_version",
            "max_version" => "the newest version is always 1.3: there is only `min_version`",
            "cipher_suites" | "ciphers" => "all supported cipher suites are offered",
            "crl_file" => "crl",
            "pin" | "fingerprint" => "spki_sha256";
    }
}

spec! {
    /// Which TLS sessions are resumed.
    pub struct UpstreamResumption {
        /// Lifetime of a session, at most 7 days.
        default max_age: Timeout = "12h"
            because "it is the lifetime of clients' sessions",
    }
}

/// The certificate that Reseal sends to origins, from any issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientIdentity {
    /// Of files, or one that an issuer of `acme` keeps.
    Named(ClientCertificate),
    /// One that an engine of `vault` issues.
    Vault(VaultCertificate),
}

impl Read for ClientIdentity {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let is_issued = match &node.kind {
            Kind::Map(entries) => entries.iter().any(|(key, _)| key.text == "vault"),
            _ => false,
        };
        match is_issued {
            true => VaultCertificate::read(node, cx).map(Self::Vault),
            false => ClientCertificate::read(node, cx).map(Self::Named),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let files = ClientCertificate::schema(definitions);
        json!({ "anyOf": [files, VaultCertificate::schema(definitions)] })
    }

    fn form(reference: &mut Reference) -> Form {
        ClientCertificate::form(reference).or(VaultCertificate::form(reference))
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Named(named) => named.render(),
            Self::Vault(certificate) => certificate.render(),
        }
    }

    fn keys() -> &'static [&'static str] {
        ClientCertificate::keys()
    }

    fn example() -> Option<&'static str> {
        ClientCertificate::example()
    }
}

spec! {
    /// The certificate that Reseal sends to origins.
    pub struct ClientCertificate {
        /// The chain in PEM; or PKCS#12, which holds the key, too.
        optional cert: Path,
        /// The private key in PEM. Absent: in the file of `cert`.
        optional key: Path,
        /// The file with the password of PKCS#12, or of an encrypted key.
        optional password_file: Path,
        /// In place of `cert`: the issuer of `acme` that keeps it. Until it is issued, no handshake with an
        /// origin begins.
        optional acme: Name,
        /// With `acme`: the host names and IP addresses that the certificate is for.
        optional names: OneOrMany<Identifier>,
        example "{ cert: FILE, key: FILE }";
        instead
            "certificate" | "cert_file" | "crt" => "cert",
            "private_key" | "key_file" => "key",
            "password" | "passphrase" | "pass" | "storepass" | "key_password" =>
                "`password_file: FILE` names the file that holds it",
            "keystore" | "pkcs12" | "p12" | "pfx" => "`cert: FILE.p12` beside `password_file: FILE` is PKCS#12";
    }
}

keyword! {
    impl Sni("choice") {
        /// `server_name`, or the origin's host.
        Configured = "configured",
        /// The client's server name, which is then also the one that is verified unless `server_name` is set.
        /// For clients of the default route, and those without a name, the configured one.
        Client = "client",
        /// None.
        Absent = "none",
        instead
            "." => "a name is written `server_name: NAME`; `sni` is `configured`, `client` or `none`",
            "on" => "configured",
            "true" => "configured",
            "off" => "none",
            "false" => "none",
            "no" => "none",
            "passthrough" => "client",
            "forward" => "client";
    }
}

keyword! {
    /// Whether certificates of origins are verified.
    pub enum Verify("choice") {
        /// Chain, dates and name. If verification fails, `ca` is usually missing.
        Full = "full",
        /// Any certificate is accepted, also an impostor's, unless `spki_sha256` pins the key. Without a pin,
        /// Reseal warns at every start.
        DangerNone = "danger-none",
        instead
            "false" | "off" | "no" | "none" | "0" | "skip" | "insecure" | "disabled" | "optional" =>
                "if verification fails, the CA is usually missing: `ca: FILE`; \
                 any certificate at all is accepted by `danger-none`",
            "true" | "on" | "yes" | "required" | "peer" | "verify_full" | "verify_ca" | "2" | "4" => "full";
    }
}

/// The ALPN protocols that are offered to origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAlpn {
    /// Exactly what the client negotiated.
    Forward,
    /// None.
    None,
    /// These, by preference; never empty.
    List(Vec<Located<Protocol>>),
}

impl Read for UpstreamAlpn {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        const WHAT: &str = "`forward`, `none` or a list of protocols";
        match &node.kind {
            Kind::List(items) if items.is_empty() => {
                cx.error(node.at, "an empty list offers nothing")
                    .help("write `none`");
                None
            }
            Kind::List(items) => cx.all(items).map(Self::List),
            _ => cx.parse(node, WHAT, |text| match text {
                "forward" => Ok(Self::Forward),
                "none" => Ok(Self::None),
                _ => Err(
                    Invalid::new("{} is neither `forward` nor `none` nor a list")
                        .help("put protocols in a list, such as `[h2]`"),
                ),
            }),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let list = Vec::<Located<Protocol>>::schema(definitions);
        json!({ "anyOf": [{ "enum": ["forward", "none"] }, list] })
    }

    fn form(_: &mut Reference) -> Form {
        let words = [
            (
                "forward",
                "What the client negotiated; an origin that does not select it fails with `origin_alpn`.",
            ),
            ("none", "None."),
        ];
        Form::one_of(&words).or(Form::of("list of protocols"))
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Forward => Rendered::Text("forward".to_owned()),
            Self::None => Rendered::Text("none".to_owned()),
            Self::List(protocols) => protocols.render(),
        }
    }
}
