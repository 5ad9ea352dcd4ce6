//! The keys of TLS with clients, and of the certificates for them.

use serde_json::{Value, json};

use super::acme::AcmeCertificate;
use super::client_auth::ClientAuth;
use super::ocsp_source::OcspSource;
use super::tls_words::{CipherSuite, Group, TlsVersion};
use crate::config::reader::definitions::Definitions;
use crate::config::reader::fields::spec;
use crate::config::reader::generic::{OffOr, OneOrMany};
use crate::config::reader::read::{Located, Read, Reader};
use crate::config::reader::reference::{Form, Reference};
use crate::config::reader::rendered::Rendered;
use crate::config::reader::values::{Count, Name, Path, Protocol, Timeout};
use crate::config::reader::words::keyword;
use crate::config::reader::yaml::{Kind, Node};
use crate::hostname::HostPattern;
use crate::relay::OnTruncation;

spec! {
    /// TLS with clients.
    pub struct EndpointTls {
        /// The oldest allowed version.
        default min_version: TlsVersion = "1.2"
            because "older versions are deprecated (RFC 8996), and some devices speak no 1.3",
        /// The newest allowed version.
        default max_version: TlsVersion = "1.3"
            because "it is the newest there is",
        /// ALPN protocols to choose from, by preference; empty negotiates none.
        default alpn: OneOrMany<Protocol> = "[]"
            because "only the origin's owner knows which protocols it speaks",
        /// Cipher suites, by preference; empty is TLS 1.3 and ECDHE with an AEAD, AES-128-GCM first unless a
        /// client prefers ChaCha20.
        default cipher_suites: OneOrMany<CipherSuite> = "[]"
            because "all of them are secure",
        /// Key exchange groups; empty is all. The client's preference decides.
        default groups: OneOrMany<Group> = "[]"
            because "all of them are secure",
        /// Whether clients may resume TLS sessions.
        default resumption: OffOr<Resumption> = "{}",
        /// What the origin gets when a client ends without `close_notify`.
        default on_truncation: OnTruncation = "reset"
            because "without `close_notify`, an attacker may have cut the data",
        /// The certificates for clients.
        default certificates: Vec<Located<Certificate>> = "[]"
            because "routes that pass TLS through need none",
        /// Whether clients need a certificate; a route may replace the whole block.
        default client_auth: ClientAuth = "{ mode: off }",
        example "{ certificates: [{ cert: FILE, key: FILE }] }";
        instead
            "cert" | "key" => "`certificates: [{ cert: FILE, key: FILE }]` holds it",
            "crt" | "certs" | "ssl_certificate" | "tls_certificates" => "certificates",
            "cert_file" | "key_file" => "`certificates: [{ cert: FILE, key: FILE }]` holds it",
            "ca" | "verify" => "`client_auth: { mode: required, ca: FILE }` is how clients are verified",
            "verify_client" | "ssl_verify_client" | "mtls" => "client_auth",
            "ciphers" | "ssl_ciphers" | "ciphersuites" | "cipher_list" => "cipher_suites",
            "curves" | "ecdh_curves" | "ecdhe" | "curve_preferences" | "ssl_ecdh_curve" => "groups",
            "min_tls_version" | "tls_minimum_protocol_version" | "ssl_min_ver" | "sslversionmin"
                | "minimum_version" => "min_version",
            "ssl_max_ver" | "tls_maximum_protocol_version" | "max_tls_version" => "max_version",
            "versions" | "protocols" | "ssl_protocols" | "sslversion" =>
                "`min_version` and `max_version` are the bounds",
            "alpn_protocols" | "protocol" => "alpn",
            "session_cache" | "session_tickets" | "tickets" => "resumption",
            "acme" | "letsencrypt" | "cert_resolver" | "certresolver" | "auto_https" =>
                "`certificates: [{ acme: NAME, names: [HOST] }]` is kept by an issuer of `acme`, at the top",
            "ocsp" | "ocsp_stapling" | "ssl_stapling" =>
                "`certificates: [{ cert: FILE, key: FILE, ocsp: fetch }]` is stapled, and `ocsp: FILE`",
            "dhparam" | "dh_params" | "ssl_dhparam" => "finite-field Diffie-Hellman is not supported: leave it out",
            "enabled" => "TLS is on unless the endpoint has `protocol: tcp`";
    }
}

keyword! {
    impl OnTruncation("policy") {
        /// A reset: the data may be truncated.
        Reset = "reset",
        /// A normal close.
        Close = "close",
    }
}

spec! {
    /// Which TLS sessions clients may resume.
    pub struct Resumption {
        /// Tickets for each TLS 1.3 connection.
        default tickets: Count<1, 8> = "1"
            because "each resumption brings a new one",
        /// Lifetime of a session after its full handshake, at most 7 days.
        default max_age: Timeout = "12h"
            because "clients that return on the same day save a signature; a stolen key is soon worthless",
    }
}

/// A certificate with its key, a directory of them, or one that an issuer keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// One pair of files.
    Pair(Box<CertificatePair>),
    /// Every pair in a directory.
    Directory(CertificateDirectory),
    /// One that an issuer of `acme` keeps.
    Acme(AcmeCertificate),
}

spec! {
    /// A certificate with its key.
    pub struct CertificatePair {
        /// What `default_route` calls it. Absent: the file's name without its extension.
        optional name: Name,
        /// The chain in PEM, the server's own certificate first; or PKCS#12, which holds the key, too.
        required cert: Path,
        /// The private key in PEM (PKCS#8, PKCS#1 or SEC1). Absent: in the file of `cert`.
        optional key: Path,
        /// The file with the password of PKCS#12, or of an encrypted key (PKCS#8 with PBES2 and AES); one
        /// line, read by nobody else.
        optional password_file: Path,
        /// The server names it is presented for. Absent: the DNS names in the certificate.
        optional names: OneOrMany<HostPattern>,
        /// An OCSP response to be stapled until its next update: a file in DER, or where it is fetched from.
        optional ocsp: OcspSource,
        example "{ cert: FILE, key: FILE }";
        instead
            "certificate" | "certificate_chain" | "cert_file" | "certfile" | "crt" | "chain"
                | "fullchain" | "pem" | "ssl_certificate" | "file" | "path" => "cert",
            "private_key" | "key_file" | "keyfile" | "privkey" | "ssl_certificate_key" => "key",
            "sni" | "hosts" | "server_names" | "domains" | "server_name" => "names",
            "ocsp_staple" => "ocsp",
            "directory" => "`dir: DIRECTORY`, in place of `cert`, takes every pair in a directory",
            "password" | "passphrase" | "pass" | "storepass" | "key_password" =>
                "`password_file: FILE` names the file that holds it",
            "keystore" | "pkcs12" | "p12" | "pfx" => "`cert: FILE.p12` beside `password_file: FILE` is PKCS#12",
            "pkcs11" | "pkcs11_module" | "engine" | "engineid" | "hsm" =>
                "keys in hardware (PKCS#11) are not supported: have the CA in it sign a short-lived certificate \
                 for a key in a file, or let a program with PKCS#11 terminate TLS behind a `passthrough`";
    }
}

spec! {
    /// A directory of certificates.
    pub struct CertificateDirectory {
        /// In place of `cert`: every pair in this directory, `NAME.pem` with `NAME.key`, or
        /// `NAME/fullchain.pem` with `NAME/privkey.pem`.
        required dir: Path,
    }
}

impl Read for Certificate {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            cx.unexpected(node, "a map")
                .help("write `{ cert: FILE, key: FILE }` or `{ dir: DIRECTORY }`");
            return None;
        };
        let has = |name: &str| entries.iter().any(|(key, _)| key.text == name);
        if has("acme") {
            if let Some(other) = ["cert", "dir"].into_iter().find(|other| has(other)) {
                cx.error(node.at, format!("`acme` and `{other}` exclude each other"));
                return None;
            }
            return AcmeCertificate::read(node, cx).map(Self::Acme);
        }
        match (has("cert"), has("dir")) {
            (true, true) => {
                cx.error(node.at, "`cert` and `dir` exclude each other");
                None
            }
            (false, true) => CertificateDirectory::read(node, cx).map(Self::Directory),
            (true, false) => CertificatePair::read(node, cx).map(|pair| Self::Pair(Box::new(pair))),
            (false, false)
                if entries
                    .iter()
                    .all(|(key, _)| Self::keys().contains(&key.text.as_str())) =>
            {
                cx.error(node.at, "missing key `cert` or `dir`")
                    .help("add `cert: FILE`, or `dir: DIRECTORY` for every pair in a directory");
                None
            }
            // A key that stands for `cert` is reported as unknown.
            (false, false) => {
                CertificatePair::read(node, cx);
                None
            }
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let pair = CertificatePair::schema(definitions);
        let directory = CertificateDirectory::schema(definitions);
        json!({ "anyOf": [pair, directory, AcmeCertificate::schema(definitions)] })
    }

    fn form(reference: &mut Reference) -> Form {
        let mut form = CertificatePair::form(reference);
        form.maps.extend(CertificateDirectory::form(reference).maps);
        form.maps.extend(AcmeCertificate::form(reference).maps);
        form
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Pair(pair) => pair.render(),
            Self::Directory(directory) => directory.render(),
            Self::Acme(kept) => kept.render(),
        }
    }

    fn keys() -> &'static [&'static str] {
        CertificatePair::keys()
    }
}
