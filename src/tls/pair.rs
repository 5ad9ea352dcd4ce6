//! A chain and its private key, which are presented to clients or to origins.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::handshake_notes::{Algorithms, RecordingKey};
use super::material::file::{Contents, Exposed, MaterialError};
use super::material::pem::{self, Item};
use super::material::{certificates_in, refused};
use super::presented_chain::{self as chain, MESSAGE_MAX, MESSAGE_SMALL, RSA_BITS_MIN};
use super::usage::Usage;
use super::validity::Validity;
use super::{digest, info, ocsp};
use crate::hostname::{HostPattern, HostTable};

/// What the first line of a private key in PEM says.
const KEY_LABEL: &[u8] = b"PRIVATE KEY-----";

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PairFiles {
    /// The chain.
    pub cert: PathBuf,
    /// Its private key, which may be in the same file.
    pub key: PathBuf,
    /// A response about it, to be stapled.
    pub ocsp: Option<PathBuf>,
}

impl PairFiles {
    /// All of them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let ocsp = self.ocsp.as_deref();
        [self.cert.as_path(), self.key.as_path()]
            .into_iter()
            .chain(ocsp)
    }
}

/// What the files of a certificate hold; chain and key may be in one.
pub struct PairContents {
    cert: Option<Contents>,
    key: Contents,
}

impl PairContents {
    /// Reads both, each once.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read.
    pub fn read(files: &PairFiles) -> Result<Self, MaterialError> {
        let cert = (files.cert != files.key).then(|| Contents::read(&files.cert));
        let cert = cert.transpose()?;
        let key = Contents::read(&files.key)?;
        Ok(Self { cert, key })
    }

    fn chain(&self) -> &Contents {
        self.cert.as_ref().unwrap_or(&self.key)
    }

    /// Whether every user of the machine may read a private key that is in one of them. A file without
    /// one that should have one has another fault, which is told when the key is taken from it.
    pub fn exposed(&self) -> Option<Exposed> {
        let holds_key = |file: &&Contents| {
            let mut windows = file.bytes.windows(KEY_LABEL.len());
            windows.any(|part| part == KEY_LABEL)
        };
        let files = std::iter::once(&self.key).chain(&self.cert);
        files
            .filter(holds_key)
            .find_map(|file| file.exposed("private key"))
    }
}

/// A chain and its key, which belong together, and what is said of the certificate itself.
#[derive(Debug)]
pub struct Pair {
    /// The file of the chain.
    pub source: String,
    /// Chain and key, nothing stapled.
    pub key: Arc<CertifiedKey>,
    /// The same with an OCSP response.
    pub stapled: Option<Stapled>,
    /// The DNS names it is for.
    pub names: Vec<HostPattern>,
    /// The IP addresses it is for. Clients that dial one send no name.
    pub addresses: Vec<IpAddr>,
    /// The common name of its subject, where that is text.
    pub common_name: Option<String>,
    /// Start of its validity, in seconds of unix time.
    pub not_before: i64,
    /// End of its validity, in seconds of unix time.
    pub not_after: i64,
    /// The validity of every certificate of the chain, its own first; never empty.
    pub chain: Vec<Validity>,
    /// What it may be used for.
    pub usage: Usage,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// Of what kind the certificate is.
    pub algorithms: Arc<Algorithms>,
}

/// Chain and key with a stapled response, and when that holds.
#[derive(Debug)]
pub struct Stapled {
    /// What is presented then.
    pub key: Arc<CertifiedKey>,
    /// From when the response holds, in seconds of unix time.
    pub from: i64,
    /// Until when, in seconds of unix time.
    pub until: i64,
}

impl Stapled {
    /// Whether the response holds at this moment, in seconds of unix time.
    pub const fn holds(&self, now: i64) -> bool {
        self.from <= now && now < self.until
    }
}

impl Pair {
    /// Whether the certificate is for every name of a pattern.
    pub fn covers(&self, pattern: &HostPattern) -> bool {
        let mut own = HostTable::default();
        for name in &self.names {
            *own.entry(name.clone()) = ();
        }
        own.covering(pattern).is_some()
    }

    /// When the first certificate of the chain ends, in seconds of unix time.
    pub fn chain_end(&self) -> i64 {
        let ends = self.chain.iter().map(|validity| validity.not_after);
        ends.min().unwrap_or(self.not_after)
    }
}

/// A chain and its key, and what is doubtful about them for whomever they are presented to: its dates
/// and usage are not looked at here. `contents` are those of the files, whose permissions were looked at.
///
/// # Errors
///
/// A file that cannot be read, or does not hold what it should; a key that is another certificate's;
/// a chain that is too long for peers.
pub fn pair(
    files: &PairFiles,
    contents: &PairContents,
) -> Result<(Pair, Vec<String>), MaterialError> {
    let cert = files.cert.as_path();
    let key = certified_key(contents)?;
    let leaf = key.cert.first().map(|der| der.as_ref()).unwrap_or_default();
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|_| MaterialError::new(cert, "broken certificate: it is no X.509 in DER"))?;
    let mut doubts = Vec::new();
    let mut stapled = None;
    if let Some(path) = &files.ocsp {
        let (answer, response) = response(path, &key.cert, &parsed)?;
        match answer {
            ocsp::Answer::Good { from, until } => {
                let mut key = key.clone();
                key.ocsp = Some(response);
                let key = Arc::new(key);
                stapled = Some(Stapled { key, from, until });
            }
            ocsp::Answer::Useless(why) => doubts.push(format!(
                "{}: the OCSP response is not stapled: {why}",
                path.display()
            )),
        }
    }
    let staple = stapled
        .as_ref()
        .and_then(|stapled| stapled.key.ocsp.as_ref());
    doubts.extend(message_size(cert, &key.cert, staple.map(Vec::len))?);
    // After the length was bounded: each certificate is held against all of those before it.
    let faults = chain::faults(&key.cert);
    doubts.extend(
        faults
            .into_iter()
            .map(|fault| format!("{}: {fault}", cert.display())),
    );
    let pair = Pair {
        source: cert.display().to_string(),
        names: dns_names(&parsed),
        addresses: addresses(&parsed),
        common_name: info::common_name(&CertificateDer::from(leaf)),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        chain: chain::validities(&key.cert),
        usage: Usage::of(&parsed),
        sha256: digest::sha256(leaf),
        algorithms: Arc::new(Algorithms::of(&parsed)),
        stapled,
        key: Arc::new(key),
    };
    Ok((pair, doubts))
}

/// What an OCSP response says of the leaf of a chain, and its bytes.
fn response(
    path: &Path,
    chain: &[CertificateDer<'_>],
    leaf: &X509Certificate<'_>,
) -> Result<(ocsp::Answer, Vec<u8>), MaterialError> {
    let response = Contents::read(path)?.bytes;
    pem::refuse_pem(&response, "an OCSP response").map_err(|refusal| refused(path, refusal))?;
    let issuer = chain::issuer_of_leaf(chain);
    let about = ocsp::About {
        certificate: leaf,
        issuer: issuer.as_ref(),
    };
    let answer = ocsp::read(&response, about)
        .map_err(|e| MaterialError::new(path, e).help("it must hold one OCSP response in DER"))?;
    Ok((answer, response))
}

/// Refuses a chain that next to no peer takes, and tells of one that some do not. The lengths in the
/// message cannot overflow: they have three bytes, and a file has 16 MiB at most.
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
            format_args!("the chain of {count} certificates takes {len} bytes on the wire, and OpenSSL takes no more than {MESSAGE_MAX}"),
        )
        .help("put the leaf and the intermediates that lead to its root into the file, and nothing else"));
    }
    Ok((len > MESSAGE_SMALL).then(|| {
        format!(
            "{}: the chain of {count} certificates takes {len} bytes on the wire: Java takes no more than {MESSAGE_SMALL}, rustls 65535, OpenSSL {MESSAGE_MAX}",
            cert.display()
        )
    }))
}

/// A chain and its key, which must belong together: their public keys are compared, byte by byte.
/// webpki, which rustls would ask, reads no certificates of version 1, and peers take those.
fn certified_key(contents: &PairContents) -> Result<CertifiedKey, MaterialError> {
    let (cert, key_file) = (contents.chain(), &contents.key);
    let chain = certificates_in(cert)?;
    let leaf = chain.first().map(|der| der.as_ref()).unwrap_or_default();
    let (_, leaf) = X509Certificate::from_der(leaf)
        .map_err(|_| cert.error("broken certificate: it is no X.509 in DER"))?;
    let key = signing_key(key_file, chain::rsa_bits(&leaf))?;
    let public = key.public_key();
    if public.is_none_or(|public| public.as_ref() != leaf.public_key().raw) {
        let other = key_file.path.display();
        return Err(cert
            .error(format_args!("the certificate does not match the key in {other}"))
            .help("the first certificate of the file must be the one that the key belongs to, its issuers after it"));
    }
    Ok(CertifiedKey::new(chain, Arc::new(RecordingKey(key))))
}

/// The private key of a file. `bits` is the size of its certificate's key, where that is RSA.
fn signing_key(file: &Contents, bits: Option<usize>) -> Result<Arc<dyn SigningKey>, MaterialError> {
    let Item { line, value } =
        pem::key(&file.bytes).map_err(|refusal| refused(&file.path, refusal))?;
    let loaded = aws_lc_rs::default_provider()
        .key_provider
        .load_private_key(value);
    loaded.map_err(|_| match bits {
        Some(bits) if bits < RSA_BITS_MIN => file
            .error(format_args!("an RSA key of {bits} bits is too weak"))
            .help("make one of 2048 bits or more, or better an ECDSA key on P-256"),
        _ => MaterialError::at_line(
            &file.path,
            line,
            "the private key is damaged, or of a kind that cannot be used",
        )
        .help("keys are RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519; see what it is: openssl pkey -in FILE -noout -text"),
    })
}

/// The DNS names of a certificate's SANs; those that are no host names match nothing and are left
/// out. The common name is not looked at, as no client looks at it either (RFC 9525 section 2).
fn dns_names(certificate: &X509Certificate<'_>) -> Vec<HostPattern> {
    let names = alternative_names(certificate);
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => HostPattern::parse(name).ok(),
            _ => None,
        })
        .collect()
}

/// The addresses of a certificate's SANs.
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
