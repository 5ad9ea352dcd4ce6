//! The keys of client authentication, and of the rules on certificates.

use super::crl_source::ListSource;
use super::digests::{CertificateSha256, KeySha256};
use super::names::{DnsSan, EmailSan, UriSan};
use crate::config::reader::fields::spec;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::ip::Cidr;
use crate::config::reader::values::{Path, Text};
use crate::config::reader::words::keyword;
use crate::tls::verify::client::{AtExpiry, Recheck};
use crate::tls::verify::crl::{Depth, OnUnknown};

spec! {
    /// Whether clients need a certificate, and which.
    pub struct ClientAuth {
        /// Whether clients are asked for a certificate.
        required mode: ClientAuthMode,
        /// Files in PEM with the CAs that may sign client certificates; needed with `optional` and
        /// `required`.
        optional ca: OneOrMany<Path>,
        /// Whether clients are sent the names of the CAs, so that they can choose a certificate.
        default send_ca_names: bool = "true"
            because "a client with several certificates cannot choose without them",
        /// Files with revocation lists in PEM or DER, and URLs from which Reseal fetches them.
        optional crl: OneOrMany<ListSource>,
        /// Which certificates of a chain are checked against them.
        default crl_scope: Depth = "chain"
            because "a revoked intermediate revokes everything below it",
        /// What to do if no list is from a certificate's issuer.
        default crl_unknown: OnUnknown = "deny"
            because "a list that is missing must not admit a revoked client",
        /// What to do if a list is past its next update.
        default crl_expired: OnUnknown = "deny"
            because "an old list does not know the latest revocations",
        /// Which certificates are admitted: one rule or a list of alternatives. Absent: all that the CAs have
        /// signed.
        optional allow: OneOrMany<Rule>,
        /// What happens to live connections whose client a reload no longer admits.
        default recheck: Recheck = "close"
            because "a revocation has to end what it revokes",
        /// What happens to a live connection when its client certificate expires.
        default at_expiry: AtExpiry = "log"
            because "with short-lived certificates, long connections would be cut each day",
        example "{ mode: required, ca: FILE }";
        instead
            "=off" | "=none" | "=false" | "=no" => "{ mode: off }",
            "=optional" => "{ mode: optional, ca: FILE }",
            "verify" | "type" | "policy" | "require" | "required" | "verify_client"
                | "clientauthtype" => "mode",
            "ca_file" | "cafile" | "cafiles" | "ca_files" | "cas" | "client_ca" | "cacert"
                | "cacerts" | "trusted_ca" | "trust" | "truststore" | "ssl_client_certificate" => "ca",
            "crl_file" | "crlfile" | "ssl_crl" => "crl",
            "allow_cn" => "`allow: { common_name: NAME }` admits by the common name",
            "allow_dns" => "`allow: { dns: NAME }` admits by a DNS name",
            "allow_uri" => "`allow: { uri: URI }` admits by a URI",
            "allow_ou" => "`allow: { organizational_unit: NAME }` admits by the unit",
            "cn" | "subject" => "`allow: { common_name: NAME }` admits by the common name",
            "allowed" | "rules" => "allow",
            "depth" | "verify_depth" => "the depth of chains is bounded already";
    }
}

keyword! {
    impl Depth("scope") {
        /// Every certificate but the CA itself.
        Chain = "chain",
        /// The peer's own certificate.
        Leaf = "leaf",
    }
}

keyword! {
    impl OnUnknown("policy") {
        /// The certificate is rejected.
        Deny = "deny",
        /// The certificate is accepted.
        Allow = "allow",
    }
}

keyword! {
    impl Recheck("policy") {
        /// They are closed.
        Close = "close",
        /// They stay, with a warning for each.
        Log = "log",
        /// They are not checked.
        Off = "off",
    }
}

keyword! {
    impl AtExpiry("policy") {
        /// It stays, with a warning.
        Log = "log",
        /// It is closed.
        Close = "close",
    }
}

spec! {
    /// Conditions on a certificate: all keys must match, each with one value of its list. Comparison is
    /// exact.
    pub struct Rule {
        /// DNS names among its SANs: exact, or `*.` for one label.
        optional dns: OneOrMany<DnsSan>,
        /// URIs among its SANs, such as SPIFFE IDs; `*` is one whole segment of the path.
        optional uri: OneOrMany<UriSan>,
        /// Mail addresses among its SANs.
        optional email: OneOrMany<EmailSan>,
        /// Addresses among its SANs, or networks that contain them.
        optional ip: OneOrMany<Cidr>,
        /// The only common name of its subject.
        optional common_name: OneOrMany<Text>,
        /// Organizational units of its subject.
        optional organizational_unit: OneOrMany<Text>,
        /// SHA-256 of the certificate, in hexadecimal or base64.
        optional sha256: OneOrMany<CertificateSha256>,
        /// SHA-256 of its public key (SubjectPublicKeyInfo), in hexadecimal or base64.
        optional spki_sha256: OneOrMany<KeySha256>,
        example "{ dns: NAME }";
        instead
            "cn" | "subject" | "common_names" => "common_name",
            "ou" => "organizational_unit",
            "san" | "sans" | "dns_name" | "dns_names" | "name" | "names" => "dns",
            "spiffe" | "spiffe_id" | "uris" => "uri",
            "mail" | "rfc822name" => "email",
            "address" => "ip",
            "fingerprint" | "cert_hash" | "verify_certificate_hash" => "sha256",
            "verify_certificate_spki" | "pin" | "spki" => "spki_sha256";
    }
}

keyword! {
    /// Whether clients are asked for a certificate.
    pub enum ClientAuthMode("mode") {
        /// They are not.
        Off = "off",
        /// A client may send none, but not an invalid one.
        Optional = "optional",
        /// A client must send a valid one.
        Required = "required",
        instead
            "require" | "true" | "on" | "yes" | "mandatory" | "need" | "verify"
                | "require_and_verify" | "requireandverifyclientcert" => "required",
            "request" | "want" | "optional_no_ca" | "verifyclientcertifgiven"
                | "verify_if_given" => "optional",
            "requireanyclientcert" =>
                "a certificate that nobody verifies proves nothing: write `required`, with `ca: FILE`",
            "none" | "noclientcert" | "never" | "disabled" => "off";
    }
}
