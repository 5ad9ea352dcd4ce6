//! A certificate chain and its private key, presented to clients or to origins.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::certified_key::certified_key;
use super::der::Outline;
use super::handshake_notes::{Algorithms, RecordingKey};
use super::material::file::{Contents, MaterialError};
use super::material::{certificates_in, pem, refused};
use super::pair_files::{PairContents, PairFiles, StapleContents};
use super::presented_chain::{self as chain, MESSAGE_MAX, MESSAGE_SMALL};
use super::usage::Usage;
use super::validity::Validity;
use super::{digest, info, ocsp, unix_now};
use crate::hostname::{HostPattern, HostTable};

/// A chain and its matching key, and facts about the certificate.
#[derive(Debug)]
pub struct Pair {
    /// The file of the chain.
    pub source: String,
    /// Chain and key without OCSP response.
    pub key: Arc<CertifiedKey>,
    /// The same with an OCSP response.
    pub stapled: Option<Stapled>,
    /// The certificate of its issuer, if its OCSP response is fetched and the issuer is known.
    pub issuer: Option<CertificateDer<'static>>,
    /// Its DNS names.
    pub names: Vec<HostPattern>,
    /// Its IP addresses. Clients that connect to an address send no server name.
    pub addresses: Vec<IpAddr>,
    /// The common name of its subject, if that is text.
    pub common_name: Option<String>,
    /// Start of its validity, in seconds of unix time.
    pub not_before: i64,
    /// End of its validity, in seconds of unix time.
    pub not_after: i64,
    /// The validity of every certificate of the chain, the leaf first; never empty.
    pub chain: Vec<Validity>,
    /// Its key usages.
    pub usage: Usage,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// Its algorithms.
    pub algorithms: Arc<Algorithms>,
}

/// Chain and key with an OCSP response, and its validity.
#[derive(Debug)]
pub struct Stapled {
    /// Chain and key with the response.
    pub key: Arc<CertifiedKey>,
    /// The start of the response's validity, in seconds of unix time.
    pub from: i64,
    /// The end, exclusive, in seconds of unix time.
    pub until: i64,
}

impl Stapled {
    fn of(key: &CertifiedKey, response: &Contents, from: i64, until: i64) -> Self {
        let mut key = key.clone();
        key.ocsp = Some(response.bytes.to_vec());
        Self {
            key: Arc::new(key),
            from,
            until,
        }
    }

    /// Whether the response is valid at `now`, in seconds of unix time.
    pub const fn is_valid_at(&self, now: i64) -> bool {
        self.from <= now && now < self.until
    }
}

/// Two pairs are equal if chain, OCSP response and file are. Each key matches its certificate.
impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        let stapled = |pair: &Self| {
            pair.stapled
                .as_ref()
                .map(|stapled| stapled.key.ocsp.clone())
        };
        self.source == other.source
            && self.key.cert == other.key.cert
            && stapled(self) == stapled(other)
    }
}

impl Eq for Pair {}

impl Pair {
    /// Whether the certificate covers every name of a pattern.
    pub fn covers(&self, pattern: &HostPattern) -> bool {
        let mut own = HostTable::default();
        for name in &self.names {
            *own.entry(name.clone()) = ();
        }
        own.covering(pattern).is_some()
    }

    /// The serial number of the certificate, without leading zeros.
    pub fn serial(&self) -> Option<Vec<u8>> {
        let outline = Outline::of(self.key.cert.first()?)?;
        let zeros = outline.serial.iter().take_while(|byte| **byte == 0).count();
        Some(outline.serial.get(zeros..)?.to_vec())
    }

    /// The earliest end of validity in the chain, in seconds of unix time.
    pub fn chain_end(&self) -> i64 {
        let ends = self.chain.iter().map(|validity| validity.not_after);
        ends.min().unwrap_or(self.not_after)
    }

    /// When the renewal of a certificate in the chain is due first, in seconds of unix time.
    pub fn renewal_due(&self) -> i64 {
        let due = self.chain.iter().map(Validity::renewal_due);
        due.min().unwrap_or(self.not_after)
    }
}

/// Parses a chain and its key from `contents`. Also returns warnings: what some peers may refuse.
/// Dates, usage and file permissions are checked elsewhere.
///
/// # Errors
///
/// If a file is malformed, the key does not match the certificate, or the chain is too long for peers.
pub fn pair(
    files: &PairFiles,
    contents: &PairContents,
) -> Result<(Pair, Vec<String>), MaterialError> {
    let cert = files.cert.as_path();
    let (key, mut warnings) = certified_key(contents)?;
    let leaf = key.cert.first().map(|der| der.to_vec());
    let leaf = leaf.unwrap_or_default();
    let (_, parsed) = X509Certificate::from_der(&leaf)
        .map_err(|_| MaterialError::new(cert, "broken certificate: it is no X.509 in DER"))?;
    let (mut stapled, mut issuer) = (None, None);
    match &contents.ocsp {
        Some(StapleContents::Named(file)) => match response(file, &key.cert, &parsed)? {
            ocsp::Status::Good { from, until } => {
                stapled = Some(Stapled::of(&key, file, from, until));
            }
            ocsp::Status::Unusable(why) => warnings.push(format!(
                "{}: the OCSP response is not stapled: {why}",
                file.path.display()
            )),
        },
        Some(StapleContents::Fetched {
            response,
            issuer: named,
        }) => {
            issuer = match named {
                Some(file) => Some(issuer_in(file, &leaf)?),
                None => chain::issuer_of_leaf(&key.cert),
            };
            stapled = response
                .as_ref()
                .zip(issuer.as_ref())
                .and_then(|(file, issuer)| {
                    let leaf = CertificateDer::from(leaf.as_slice());
                    let (from, until) =
                        ocsp::verified(&file.bytes, &leaf, issuer, unix_now()).ok()?;
                    Some(Stapled::of(&key, file, from, until))
                });
        }
        None => {}
    }
    let staple = stapled
        .as_ref()
        .and_then(|stapled| stapled.key.ocsp.as_ref());
    warnings.extend(message_size(cert, &key.cert, staple.map(Vec::len))?);
    // After the length check: the cost is quadratic in the number of certificates.
    let faults = chain::faults(&key.cert);
    warnings.extend(
        faults
            .into_iter()
            .map(|fault| format!("{}: {fault}", cert.display())),
    );
    let source = cert.display().to_string();
    let pair = Pair::of(source, key, stapled, &parsed);
    Ok((Pair { issuer, ..pair }, warnings))
}

/// The certificate of a leaf's issuer in a file of its own.
fn issuer_in(file: &Contents, leaf: &[u8]) -> Result<CertificateDer<'static>, MaterialError> {
    let leaf = CertificateDer::from(leaf.to_vec());
    let chain: Vec<_> = std::iter::once(leaf)
        .chain(certificates_in(file)?)
        .collect();
    let issuer = chain::issuer_of_leaf(&chain);
    issuer.ok_or_else(|| {
        let error =
            file.error("no certificate in it has signed the certificate whose status is fetched");
        error.help("name the file with the certificate of its issuer")
    })
}

impl Pair {
    /// A certificate that signs itself and that no file holds; `None` if the key is none that can be used.
    pub fn in_memory(
        source: &str,
        certificate: CertificateDer<'static>,
        key: &PrivateKeyDer<'static>,
    ) -> Option<Self> {
        let signing = aws_lc_rs::sign::any_supported_type(key).ok()?;
        let leaf = certificate.clone();
        let (_, parsed) = X509Certificate::from_der(&leaf).ok()?;
        let key = CertifiedKey::new(vec![certificate], Arc::new(RecordingKey(signing)));
        Some(Self::of(source.to_owned(), key, None, &parsed))
    }

    /// A chain with its key, whose leaf is `parsed`.
    fn of(
        source: String,
        key: CertifiedKey,
        stapled: Option<Stapled>,
        parsed: &X509Certificate<'_>,
    ) -> Self {
        let leaf = key.cert.first().map(|der| der.as_ref()).unwrap_or_default();
        Self {
            source,
            names: dns_names(parsed),
            addresses: addresses(parsed),
            common_name: info::common_name(&CertificateDer::from(leaf)),
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            chain: chain::validities(&key.cert),
            usage: Usage::of(parsed),
            sha256: digest::sha256(leaf),
            algorithms: Arc::new(Algorithms::of(parsed)),
            stapled,
            issuer: None,
            key: Arc::new(key),
        }
    }
}

/// Reads the status of the leaf of a chain from an OCSP response.
fn response(
    file: &Contents,
    chain: &[CertificateDer<'_>],
    leaf: &X509Certificate<'_>,
) -> Result<ocsp::Status, MaterialError> {
    pem::refuse_pem(&file.bytes, "an OCSP response")
        .map_err(|refusal| refused(&file.path, refusal))?;
    let issuer = chain::issuer_of_leaf(chain);
    let subject = ocsp::Subject {
        certificate: leaf,
        issuer: issuer.as_ref(),
    };
    ocsp::read(&file.bytes, subject)
        .map_err(|e| file.error(e).help("it must hold one OCSP response in DER"))
}

/// Refuses a chain that hardly any peer accepts, and warns about one that some do not. The lengths in
/// the message cannot overflow: they have three bytes, and a file has at most 16 MiB.
fn message_size(
    cert: &Path,
    chain: &[CertificateDer<'_>],
    stapled: Option<usize>,
) -> Result<Option<String>, MaterialError> {
    let len = chain::message_len(chain, stapled);
    let count = chain.len();
    if len > MESSAGE_MAX {
        return Err(MaterialError::new(
            cert,
            format_args!("the chain of {count} certificates takes {len} bytes on the wire, \
                and OpenSSL takes no more than {MESSAGE_MAX}"),
        )
        .help("put the leaf and the intermediates that lead to its root into the file, and nothing else"));
    }
    Ok((len > MESSAGE_SMALL).then(|| {
        format!(
            "{}: the chain of {count} certificates takes {len} bytes on the wire: \
             Java takes no more than {MESSAGE_SMALL}, rustls 65535, OpenSSL {MESSAGE_MAX}",
            cert.display()
        )
    }))
}

/// The DNS names in a certificate's SANs, without those that are no host names: they match nothing.
/// The common name is ignored, as clients ignore it (RFC 9525 section 2).
fn dns_names(certificate: &X509Certificate<'_>) -> Vec<HostPattern> {
    let names = alternative_names(certificate);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => HostPattern::parse(name).ok(),
            _ => None,
        })
        .collect()
}

/// The IP addresses in a certificate's SANs.
fn addresses(certificate: &X509Certificate<'_>) -> Vec<IpAddr> {
    let names = alternative_names(certificate);
    names
        .filter_map(|name| match name {
            GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from))
                .ok(),
            _ => None,
        })
        .collect()
}

fn alternative_names<'c>(
    certificate: &'c X509Certificate<'_>,
) -> impl Iterator<Item = &'c GeneralName<'c>> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    extension
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
}

/// The name of a file without its extension.
pub fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
