//! The keys of CAs that issue certificates by ACME, and of the certificates that they keep.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use hyper::Uri;
use serde_json::{Value, json};

use super::upstream_tls::Trust;
use crate::acme::{HttpPlace, Identifier, KeyKind};
use crate::config::reader::fields::spec;
use crate::config::reader::generic::{AutoOr, OneOrMany};
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::config::reader::reference::Form;
use crate::config::reader::values::{Name, Path, Text, Timeout, check_text};
use crate::config::reader::words::keyword;
use crate::hostname::{HostName, HostPattern};

spec! {
    /// A CA that issues certificates by ACME (RFC 8555), and how it is asked.
    pub struct Issuer {
        /// The URL of the CA's directory.
        required directory: HttpsUrl,
        /// Where the CA may write to, such as `mailto:ops@example.com`.
        default contact: OneOrMany<Contact> = "[]"
            because "CAs issue without one, and many have stopped writing",
        /// The CAs that may sign the certificate of the directory's server: files in PEM, `webpki` (the public
        /// CAs that are built in), or `system` (the system's store).
        default ca: Trust = "webpki"
            because "it verifies public CAs, and fails for private ones until they are named",
        /// The account with the CA to which the ACME account is bound, where the CA demands one (RFC 8555,
        /// section 7.3.4).
        optional eab: ExternalAccount,
        /// The profile of certificates that is asked for, one of those that the CA's directory lists; `none`
        /// leaves it to the CA.
        default profile: Profile = "none"
            because "profiles are named by each CA as it likes, and many have none",
        /// The kind of key that certificates get, from their next renewal on.
        default key: KeyKind = "p256"
            because "it signs fastest, and every client verifies it",
        /// How control of a name is shown to the CA.
        default challenge: Challenge = "tls-alpn-01"
            because "the endpoint answers it on the port that it has anyway",
        /// Where validations by `http-01` are answered, such as `*:80`.
        optional http: HttpListen,
        /// The directory for the account's key and the certificates with their keys, readable for Reseal's user
        /// alone. It is made if it is missing.
        required state: Path,
        /// When a certificate is renewed: `auto`, or so long before it ends.
        default renew: AutoOr<Timeout> = "auto"
            because "the CA knows best (RFC 9773); where it does not say, a third of the life is left for retries",
        later dns => "name each host in place of a wildcard; `challenge: tls-alpn-01` needs no DNS server";
        example "{ directory: URL, state: DIRECTORY }";
        instead
            "url" | "server" | "ca_server" | "caserver" | "directory_url" | "acme_ca" | "uri" => "directory",
            "email" | "contacts" | "mail" => "contact",
            "storage" | "storage_path" | "state_path" | "path" | "dir" | "acme_json" => "state",
            "ca_certificates" | "acme_ca_root" | "ca_file" | "cacert" | "root_ca" => "ca",
            "external_account" | "external_account_key" | "external_account_binding" => "eab",
            "keytype" | "key_type" | "keys" | "curves" | "bits" => "key",
            "challenges" | "challenge_type" => "challenge",
            "tlschallenge" | "tls_challenge" => "`challenge: tls-alpn-01` is the default",
            "http_challenge" | "httpchallenge" => "`challenge: http-01`, with `http: ADDRESS`",
            "dns_challenge" | "dnschallenge" => "`tls-alpn-01` and `http-01` are what is supported so far",
            "renew_before" | "renewal_window_ratio" | "renewal" => "renew",
            "accept_terms_of_service" | "agree_tos" =>
                "naming a CA here accepts its terms of service: leave it out";
    }
}

spec! {
    /// An account with a CA outside of ACME.
    pub struct ExternalAccount {
        /// The identifier of the key, as the CA gave it.
        required key_id: Text,
        /// The file that holds the key in base64url, as the CA gave it.
        required key_file: Path,
        example "{ key_id: ID, key_file: FILE }";
        instead
            "kid" | "id" => "key_id",
            "hmac" | "hmac_key" | "hmacencoded" | "mac_key" | "key" => "`key_file` is a file that holds the key";
    }
}

spec! {
    /// A certificate that is kept by an issuer of `acme`.
    pub struct AcmeCertificate {
        /// What `default_route` calls it. Absent: the first of its `names`.
        optional name: Name,
        /// In place of `cert`: the issuer of `acme` that keeps it.
        required acme: Name,
        /// The host names and IP addresses that the certificate is for.
        required names: OneOrMany<Identifier>,
    }
}

keyword! {
    /// How control of a name is shown to a CA.
    pub enum Challenge("challenge") {
        /// On the endpoint itself, to connections with the ALPN protocol `acme-tls/1` alone (RFC 8737). The CA
        /// connects to port 443.
        TlsAlpn01 = "tls-alpn-01",
        /// By HTTP, on the listener of `http`, which has no other answers (RFC 8555, section 8.3). The CA connects
        /// to port 80.
        Http01 = "http-01",
        instead
            "tls_alpn" | "tls" | "tlsalpn" | "alpn" | "tls_challenge" => "tls-alpn-01",
            "http_01" | "http" | "http01" => "http-01",
            "dns_01" | "dns" | "dns01" => "`tls-alpn-01` and `http-01` are what is supported so far: name each host";
    }
}

keyword! {
    impl KeyKind("kind of key") {
        /// ECDSA on P-256.
        P256 = "p256",
        /// ECDSA on P-384.
        P384 = "p384",
        /// RSA of 2048 bits.
        Rsa2048 = "rsa2048",
        instead
            "ec256" | "ecdsa" | "ec" | "prime256v1" | "secp256r1" | "p_256" => "p256",
            "ec384" | "secp384r1" | "p_384" => "p384",
            "rsa" | "rsa_2048" | "2048" => "rsa2048",
            "rsa4096" | "rsa_4096" | "4096" => "`p256` is stronger than RSA of any usual size; `rsa2048` is for old clients",
            "ed25519" => "public CAs sign no Ed25519 keys: `p256`";
    }
}

/// Where a listener for validations is: `IP:PORT`, or `*:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpListen(pub HttpPlace);

impl Leaf for HttpListen {
    fn what() -> Cow<'static, str> {
        "an address such as `*:80`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        let place = match text.strip_prefix("*:") {
            Some(port) => port.parse().ok().map(|port| HttpPlace {
                address: (Ipv6Addr::UNSPECIFIED, port).into(),
                both: true,
            }),
            None => text.parse().ok().map(|address| HttpPlace {
                address,
                both: false,
            }),
        };
        let place = place.filter(|place| place.address.port() != 0);
        place.map(Self).ok_or_else(|| {
            Invalid::new("{} is not an address to listen on")
                .help("`IP:PORT`, `[IPV6]:PORT` or `*:PORT`")
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": ":[0-9]+$" })
    }

    fn form() -> Form {
        Form::of("address")
    }

    fn render(&self) -> String {
        match self.0.both {
            true => format!("*:{}", self.0.address.port()),
            false => self.0.address.to_string(),
        }
    }
}

/// A profile that is asked for, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile(pub Option<String>);

impl Leaf for Profile {
    fn what() -> Cow<'static, str> {
        "the name of a profile, or `none`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        Ok(Self((text != "none").then(|| text.to_owned())))
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn render(&self) -> String {
        self.0.clone().unwrap_or_else(|| "none".to_owned())
    }
}

/// A URL that begins with `https://` and has no fragment and no user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl(pub Uri);

impl Leaf for HttpsUrl {
    fn what() -> Cow<'static, str> {
        "a URL such as `https://ca.internal/acme/directory`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        if text.starts_with("http://") {
            return Err(Invalid::new("{} does not begin with `https://`")
                .help("a CA is asked over TLS alone (RFC 8555 section 6.1); `ca: FILE` names who vouches for it"));
        }
        let url: Option<Uri> = text.parse().ok().filter(|_| !text.contains('#'));
        let fits = |url: &Uri| {
            let authority = url.authority();
            let is_whole =
                authority.is_some_and(|at| !at.as_str().contains('@') && !at.host().is_empty());
            url.scheme_str() == Some("https") && is_whole
        };
        url.filter(fits).map(Self).ok_or_else(|| {
            Invalid::new("{} is not the URL of a directory")
                .help("write it as the CA does, such as `https://ca.internal/acme/directory`")
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^https://" })
    }

    fn form() -> Form {
        Form::of("URL")
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// Where a CA may write to: a URL, of a scheme that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact(pub String);

impl Leaf for Contact {
    fn what() -> Cow<'static, str> {
        "an address such as `mailto:ops@example.com`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        let is_scheme = |scheme: &str| {
            !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if scheme.is_some_and(is_scheme) {
            return Ok(Self(text.to_owned()));
        }
        let fix = text.contains('@').then(|| format!("write `mailto:{text}`"));
        Err(Invalid::new("{} is not a URL")
            .help("write `mailto:` before an address")
            .fix(fix))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9]+:" })
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

impl Leaf for Identifier {
    fn what() -> Cow<'static, str> {
        "a host name such as `a.example.com`, or an IP address".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(address));
        }
        match <HostPattern as Leaf>::parse(text)? {
            HostPattern::Exact(name) => Ok(Self::Dns(name)),
            HostPattern::Wildcard(_) | HostPattern::Deep(_) => Err(Invalid::new(
                "{} is a wildcard",
            )
            .help("CAs issue those for dns-01 alone, which is not supported yet: name each host")),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 255 })
    }

    fn form() -> Form {
        Form::of("host name").or(Form::of("IP address"))
    }

    fn render(&self) -> String {
        match self {
            Self::Dns(name) => HostName::as_str(name).to_owned(),
            Self::Ip(address) => address.to_string(),
        }
    }
}
