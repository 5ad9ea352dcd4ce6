//! Certificates, keys and CA bundles from files. Every error names the file and the way out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::authorities::Authorities;
use super::file::{Contents, Exposed, MaterialError};
use super::pem::{self, Item, Refusal};
use super::resumption::TicketSecret;
use super::revocation::RevocationList;
use super::shown::{Algorithms, NotingKey};
use super::{AES_FIRST, digest, limits, ocsp, provider, words};
use crate::name::{NameTable, Pattern};

/// What the first line of a private key in PEM says.
const KEY_LABEL: &[u8] = b"PRIVATE KEY-----";

/// AWS-LC signs with no shorter RSA key, nor would clients accept it.
const RSA_BITS_MIN: usize = 2048;

/// What a reader of PEM says of a file, with the file's name.
fn refused(path: &Path, refusal: Refusal) -> MaterialError {
    let error = match refusal.line {
        Some(line) => MaterialError::at_line(path, line, refusal.reason),
        None => MaterialError::new(path, refusal.reason),
    };
    error.help(refusal.help)
}

/// The certificates of a PEM file, a chain, in order; at least one. Its private key may be there, too.
///
/// # Errors
///
/// When the file cannot be read, or holds anything that is not understood.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    certificates_in(&Contents::read(path)?)
}

fn certificates_in(file: &Contents) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let chain = pem::chain(&file.bytes).map_err(|refusal| refused(&file.path, refusal))?;
    Ok(chain.into_iter().map(|item| item.value).collect())
}

/// The trust anchors of CA files, at least one in each, and what is doubtful about them: neither a trust
/// anchor's own validity nor whether it may sign is looked at when it is used.
pub fn roots(
    paths: &[PathBuf],
    now: i64,
) -> Result<(Authorities, Vec<MaterialError>), MaterialError> {
    let mut store = Authorities::of_anchors(RootCertStore::empty());
    let mut doubts = Vec::new();
    for path in paths {
        let bytes = Contents::read(path)?.bytes;
        let authorities = pem::authorities(&bytes).map_err(|refusal| refused(path, refusal))?;
        for (n, Item { line, value: ca }) in authorities.into_iter().enumerate() {
            if let Ok((_, parsed)) = X509Certificate::from_der(&ca) {
                let n = n + 1;
                if parsed.validity().not_after.timestamp() < now {
                    let what = format!("certificate {n} has expired");
                    doubts.push(MaterialError::new(path, what).help(
                        "an expired CA still admits whom it signed: take it out of the file",
                    ));
                }
                for (limit, way_out) in limits::of_authority(&parsed) {
                    let what = format!("certificate {n} has {limit}");
                    doubts.push(MaterialError::new(path, what).help(way_out));
                }
                if is_no_ca(&parsed) {
                    let what = format!("certificate {n} is no CA: it has signed nobody");
                    doubts.push(MaterialError::new(path, what).help(
                        "name the CA that signed it; to trust this one alone, add a rule: allow: { sha256: … }",
                    ));
                }
            }
            store.add(ca).map_err(|e| {
                MaterialError::at_line(
                    path,
                    line,
                    format_args!("certificate {} is no usable CA: {}", n + 1, words::tls(&e)),
                )
            })?;
        }
    }
    Ok((store, doubts))
}

/// Whether a certificate may sign no others and was itself signed by another. One that signed itself
/// may be a CA of before basic constraints (RFC 5280, section 4.2.1.9).
fn is_no_ca(certificate: &X509Certificate<'_>) -> bool {
    let may_sign = match certificate.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.ca,
        _ => false,
    };
    !may_sign && certificate.issuer() != certificate.subject()
}

/// The revocation lists of files, in PEM or DER; at least one in each.
pub fn revocation_lists(paths: &[PathBuf]) -> Result<Vec<RevocationList>, MaterialError> {
    let mut lists = Vec::new();
    for path in paths {
        let bytes = Contents::read(path)?.bytes;
        let source: Arc<str> = path.display().to_string().into();
        let found = pem::lists(&bytes).map_err(|refusal| refused(path, refusal))?;
        for (n, Item { line, value }) in found.into_iter().enumerate() {
            let list = RevocationList::read(value, &source).map_err(|e| {
                let what = format!("revocation list {} cannot be used: {e}", n + 1);
                MaterialError::at_line(path, line, what)
            })?;
            lists.push(list);
        }
    }
    Ok(lists)
}

/// A secret that ticket keys are derived from: the bytes of the file as they are.
pub fn ticket_secret(file: &Contents) -> Result<TicketSecret, MaterialError> {
    TicketSecret::new(&file.bytes).ok_or_else(|| {
        let least = TicketSecret::LEN_MIN;
        file.error(format_args!(
            "a ticket secret has at least {least} bytes, this has {}",
            file.bytes.len()
        ))
        .help("make one: head -c 48 /dev/urandom > FILE")
    })
}

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
    /// The same with a response stapled, and until when, in seconds of unix time.
    pub stapled: Option<(Arc<CertifiedKey>, i64)>,
    /// The names it is for.
    pub names: Vec<Pattern>,
    /// Start of its validity, in seconds of unix time.
    pub not_before: i64,
    /// End of its validity, in seconds of unix time.
    pub not_after: i64,
    /// SHA-256 of the certificate.
    pub sha256: [u8; 32],
    /// Of what kind the certificate is.
    pub algorithms: Arc<Algorithms>,
}

impl Pair {
    /// Whether the certificate is for every name of a pattern.
    pub fn covers(&self, pattern: &Pattern) -> bool {
        let mut own = NameTable::default();
        for name in &self.names {
            *own.entry(name.clone()) = ();
        }
        own.covering(pattern).is_some()
    }
}

/// A chain and its key, and what makes the certificate weaker than it should be.
///
/// # Errors
///
/// When a file holds anything that is not understood, or the certificate does not belong to the key.
pub fn pair(
    files: &PairFiles,
    contents: &PairContents,
) -> Result<(Pair, Vec<String>), MaterialError> {
    let cert = files.cert.as_path();
    let key = certified_key(contents)?;
    let leaf = key.cert.first().map(|der| der.as_ref()).unwrap_or_default();
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|_| MaterialError::new(cert, "broken certificate: it is no X.509 in DER"))?;
    let mut weaknesses: Vec<_> = weaknesses(&parsed)
        .into_iter()
        .map(|weakness| format!("{}: {weakness}", cert.display()))
        .collect();
    let mut stapled = None;
    if let Some(path) = &files.ocsp {
        match staple(path, &parsed)? {
            Ok((response, until)) => {
                let mut key = key.clone();
                key.ocsp = Some(response);
                stapled = Some((Arc::new(key), until));
            }
            Err(weakness) => weaknesses.push(format!("{}: {weakness}", path.display())),
        }
    }
    let pair = Pair {
        source: cert.display().to_string(),
        names: dns_names(&parsed),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        sha256: digest::sha256(leaf),
        algorithms: Arc::new(Algorithms::of(&parsed)),
        stapled,
        key: Arc::new(key),
    };
    Ok((pair, weaknesses))
}

/// An OCSP response for a certificate and the moment at which it ends; or why it is not stapled.
fn staple(
    path: &Path,
    certificate: &X509Certificate<'_>,
) -> Result<Result<(Vec<u8>, i64), String>, MaterialError> {
    let response = Contents::read(path)?.bytes;
    pem::refuse_pem(&response, "an OCSP response").map_err(|refusal| refused(path, refusal))?;
    let found = ocsp::read(&response, certificate.raw_serial())
        .map_err(|e| MaterialError::new(path, e).help("it must hold one OCSP response in DER"))?;
    Ok(match found {
        ocsp::Answer::Good { until } => Ok((response, until)),
        ocsp::Answer::Useless(why) => Err(format!("the OCSP response is not stapled: {why}")),
    })
}

/// A chain and its key, which must belong together.
fn certified_key(contents: &PairContents) -> Result<CertifiedKey, MaterialError> {
    let (cert, key_file) = (contents.chain(), &contents.key);
    let chain = certificates_in(cert)?;
    let key = signing_key(key_file, chain.first().and_then(rsa_bits))?;
    let certified = CertifiedKey::new(chain, Arc::new(NotingKey(key)));
    match certified.keys_match() {
        // A key that does not say which public key it has; none of those that are read here.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(cert
            .error(format_args!("the certificate does not match the key in {}", key_file.path.display()))
            .help("the first certificate of the file must be the one that the key belongs to, its issuers after it")),
        Err(other) => Err(cert.error(format_args!("unusable with {}: {}", key_file.path.display(), words::tls(&other)))),
    }
}

/// The private key of a file. `bits` is the size of its certificate's key, where that is RSA.
fn signing_key(file: &Contents, bits: Option<usize>) -> Result<Arc<dyn SigningKey>, MaterialError> {
    let Item { line, value } =
        pem::key(&file.bytes).map_err(|refusal| refused(&file.path, refusal))?;
    let loaded = provider(&AES_FIRST).key_provider.load_private_key(value);
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

/// The size of a certificate's key, if it is RSA.
fn rsa_bits(certificate: &CertificateDer<'_>) -> Option<usize> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    match parsed.public_key().parsed() {
        Ok(PublicKey::RSA(rsa)) => Some(rsa.key_size()),
        _ => None,
    }
}

/// The DNS names of a certificate's SANs; those that are no host names match nothing and are left
/// out. The common name is not looked at, as no client looks at it either (RFC 9525 section 2).
fn dns_names(certificate: &X509Certificate<'_>) -> Vec<Pattern> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Pattern::parse(name).ok(),
            _ => None,
        })
        .collect()
}

/// What makes a certificate weaker than clients and auditors accept today.
fn weaknesses(certificate: &X509Certificate<'_>) -> Vec<String> {
    const SHA1_WITH_RSA: &str = "1.2.840.113549.1.1.5";
    const SHA1_WITH_ECDSA: &str = "1.2.840.10045.4.1";
    let mut found = Vec::new();
    let signature = certificate.signature_algorithm.algorithm.to_id_string();
    if signature == SHA1_WITH_RSA || signature == SHA1_WITH_ECDSA {
        found.push("weak signature: SHA-1".to_owned());
    }
    found
}

/// The name of a file without its extension.
pub fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
