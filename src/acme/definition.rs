//! What the configuration says: an issuer, and the certificates that it keeps. Immutable.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use zeroize::Zeroizing;

use super::dns::DnsZone;
use crate::hostname::{HostName, HostPattern};
use crate::tls::digest;
use crate::tls::verify::authorities::Authorities;

/// A CA that issues certificates by ACME, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The URL of its directory.
    pub directory: String,
    /// Where it may write to.
    pub contact: Vec<String>,
    /// Who vouches for the directory.
    pub authorities: Arc<Authorities>,
    /// The account outside of ACME to which ours is bound.
    pub external: Option<ExternalKey>,
    /// The profile that is asked for.
    pub profile: Option<String>,
    /// The kind of key of its certificates.
    pub key: KeyKind,
    /// How control of a name is shown to it.
    pub challenge: ChallengeKind,
    /// How long before its end a certificate is renewed; absent: as the CA says.
    pub renew_before: Option<Duration>,
    /// The directory of its state.
    pub state: PathBuf,
}

impl Issuer {
    /// Where it has names validated by HTTP, if it does.
    pub const fn http(&self) -> Option<HttpPlace> {
        match self.challenge {
            ChallengeKind::Http01(place) => Some(place),
            _ => None,
        }
    }

    /// The ports that orders connect to, as far as the file names them.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let uri: Option<Uri> = self.directory.parse().ok();
        let directory = uri.and_then(|uri| uri.port_u16()).unwrap_or(443);
        let server = match &self.challenge {
            ChallengeKind::Dns01(zone) => Some(zone.server.port()),
            _ => None,
        };
        [directory].into_iter().chain(server)
    }

    /// The file of the account. Another directory, or another account outside, is another account.
    pub fn account_file(&self) -> PathBuf {
        let external = self.external.as_ref().map(|key| key.id.as_bytes());
        let parts = [self.directory.as_bytes()].into_iter().chain(external);
        self.file("account", parts, "json")
    }

    /// A file of the state. Its name tells an operator what it is; the digest, what it is for exactly.
    fn file<'a>(
        &self,
        what: &str,
        parts: impl IntoIterator<Item = &'a [u8]>,
        extension: &str,
    ) -> PathBuf {
        const SHOWN_MAX: usize = 100;
        let shown: String = what.chars().take(SHOWN_MAX).collect();
        let shown = shown.replace(
            |c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-',
            "_",
        );
        let mut digits = String::new();
        for byte in &digest::parts(parts)[..8] {
            digits.push_str(&format!("{byte:02x}"));
        }
        self.state
            .join(format!("{}-{shown}-{digits}.{extension}", self.name))
    }
}

/// The key that binds an ACME account to one outside.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalKey {
    /// Its identifier.
    pub id: String,
    /// The key itself.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ExternalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// How control of a name is shown to a CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    /// By a certificate, on endpoints.
    TlsAlpn01,
    /// By HTTP, at this place.
    Http01(HttpPlace),
    /// By records in this zone.
    Dns01(Arc<DnsZone>),
}

/// Where validations by HTTP are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpPlace {
    /// The address.
    pub address: SocketAddr,
    /// Whether an address of IPv6 takes connections of IPv4, too.
    pub both: bool,
}

/// The kind of key of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// RSA of 2048 bits.
    Rsa2048,
}

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identifier {
    /// A host name.
    Dns(HostName),
    /// Any one label before this name.
    Wildcard(HostName),
    /// An address.
    Ip(IpAddr),
}

impl Identifier {
    /// The server names that it stands for; an address has none.
    pub fn host(&self) -> Option<HostPattern> {
        match self {
            Self::Dns(name) => Some(HostPattern::Exact(name.clone())),
            Self::Wildcard(parent) => Some(HostPattern::Wildcard(parent.clone())),
            Self::Ip(_) => None,
        }
    }

    /// The server name of a validation by tls-alpn-01: for an address, its name for reverse look-ups (RFC
    /// 8738 section 6).
    pub fn validation_name(&self) -> String {
        match self {
            Self::Dns(name) | Self::Wildcard(name) => name.as_str().to_owned(),
            Self::Ip(IpAddr::V4(address)) => {
                let [a, b, c, d] = address.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            Self::Ip(IpAddr::V6(address)) => {
                let digits = address.octets().into_iter().rev();
                let digits = digits.flat_map(|byte| [byte & 15, byte >> 4]);
                digits
                    .map(|digit| format!("{digit:x}."))
                    .collect::<String>()
                    + "ip6.arpa"
            }
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => name.fmt(f),
            Self::Wildcard(parent) => write!(f, "*.{parent}"),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// A certificate that an issuer keeps. However many endpoints present it, it is ordered once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Managed {
    /// Who issues it.
    pub issuer: Arc<Issuer>,
    /// What it is for: sorted, none twice, at least one.
    pub names: Vec<Identifier>,
    /// The file that holds the chain and the key.
    pub file: PathBuf,
}

impl Managed {
    /// The certificate of an issuer for these names, of which there is at least one. The file that holds it
    /// is that of the CA and the names: a certificate of another CA, such as one for tests, is another one.
    pub fn new(issuer: &Arc<Issuer>, mut names: Vec<Identifier>) -> Self {
        names.sort();
        names.dedup();
        let shown = names.first().map(Identifier::to_string).unwrap_or_default();
        let texts: Vec<_> = names.iter().map(Identifier::to_string).collect();
        let parts = [issuer.directory.as_bytes()].into_iter();
        let parts = parts.chain(texts.iter().map(String::as_bytes));
        Self {
            file: issuer.file(&shown, parts, "pem"),
            issuer: Arc::clone(issuer),
            names,
        }
    }

    /// Its names, for people.
    pub fn shown(&self) -> String {
        let names: Vec<_> = self.names.iter().map(Identifier::to_string).collect();
        names.join(" ")
    }

    /// The directory of its state.
    pub fn state(&self) -> &Path {
        &self.issuer.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_validated_under_their_names_for_reverse_lookups() {
        let name = |address: &str| Identifier::Ip(address.parse().unwrap()).validation_name();
        assert_eq!(name("192.0.2.7"), "7.2.0.192.in-addr.arpa");
        assert_eq!(
            name("2001:db8::567:89ab"),
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }
}
