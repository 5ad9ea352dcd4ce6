//! Certificates, keys and CA bundles from files. Every error names the file and the way out.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::certificates::Certificate;
use super::{AES_FIRST, provider};
use crate::name::{NameTable, Pattern};

/// No file that we read is larger; a bundle of every public CA has a fifth of a megabyte.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// AWS-LC signs with no shorter RSA key, nor would clients accept it.
const RSA_BITS_MIN: usize = 2048;

/// What is wrong with a file, and what to do about it.
#[derive(Debug)]
pub struct MaterialError {
    /// One sentence that names the file.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

impl MaterialError {
    fn new(path: &Path, what: impl std::fmt::Display) -> Self {
        Self {
            message: format!("{}: {what}", path.display()),
            help: None,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A key file that others may read.
#[derive(Debug)]
pub struct Exposed(pub MaterialError);

/// Reads a regular file, bounded in size.
fn read(path: &Path) -> Result<Vec<u8>, MaterialError> {
    let meta = fs::metadata(path).map_err(|e| cannot_read(path, &e))?;
    if !meta.is_file() {
        return Err(MaterialError::new(path, "not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|e| cannot_read(path, &e))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(MaterialError::new(path, "larger than 16 MiB"));
    }
    Ok(bytes)
}

fn cannot_read(path: &Path, error: &std::io::Error) -> MaterialError {
    let found = MaterialError::new(path, format_args!("cannot be read: {}", plain(error)));
    match error.kind() {
        std::io::ErrorKind::NotFound => found.help(
            "paths are relative to the configuration file; `reseal certs --out DIR NAME` makes certificates to try with",
        ),
        _ => found,
    }
}

/// An I/O error without the number that std puts behind it.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// The certificates of a PEM file, in order; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let pem = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|e| MaterialError::new(path, format_args!("broken PEM: {e}")))?;
    if found.is_empty() {
        let hint = if pem.starts_with(&[0x30]) {
            "it looks like DER; convert it: openssl x509 -inform der -in FILE -out FILE.pem"
        } else {
            "it must hold at least one BEGIN CERTIFICATE block"
        };
        return Err(MaterialError::new(path, "holds no certificate").help(hint));
    }
    Ok(found)
}

/// The trust anchors of CA files; at least one in each.
pub fn roots(paths: &[PathBuf]) -> Result<RootCertStore, MaterialError> {
    let mut store = RootCertStore::empty();
    for path in paths {
        for (n, ca) in certificates(path)?.into_iter().enumerate() {
            store.add(ca).map_err(|e| {
                MaterialError::new(
                    path,
                    format_args!("certificate {} is no usable CA: {e}", n + 1),
                )
            })?;
        }
    }
    Ok(store)
}

/// The private key of a PEM file.
fn key(path: &Path) -> Result<PrivateKeyDer<'static>, MaterialError> {
    let pem = read(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let text = String::from_utf8_lossy(&pem);
        if text.contains("ENCRYPTED") {
            MaterialError::new(path, "the private key is encrypted")
                .help("decrypt it: openssl pkey -in FILE -out FILE.plain, and protect the file by its permissions")
        } else {
            MaterialError::new(path, "holds no private key").help("it must hold one BEGIN PRIVATE KEY block (PKCS#8, PKCS#1 or SEC1)")
        }
    })
}

/// Whether every user of the machine may read this key file.
pub fn exposed(path: &Path) -> Option<Exposed> {
    let mode = fs::metadata(path).ok()?.mode();
    (mode & 0o004 != 0).then(|| {
        Exposed(
            MaterialError::new(path, format_args!("every user may read this private key (mode {:04o})", mode & 0o7777))
                .help(format!(
                    "chmod 0640 {}; in Kubernetes set `defaultMode: 0440` on the secret's volume; or set `process.key_permissions: warn`",
                    path.display()
                )),
        )
    })
}

/// A chain and its key, which must belong together.
pub fn pair(cert: &Path, key_path: &Path) -> Result<CertifiedKey, MaterialError> {
    let chain = certificates(cert)?;
    let bits = chain.first().and_then(rsa_bits);
    let key = key(key_path)?;
    CertifiedKey::from_der(chain, key, &provider(&AES_FIRST)).map_err(|error| match (error, bits) {
        (Error::InconsistentKeys(InconsistentKeys::KeyMismatch), _) => MaterialError::new(
            cert,
            format_args!("the certificate does not match the key in {}", key_path.display()),
        )
        .help("the first certificate of the file must be the one that the key belongs to, its issuers after it"),
        (_, Some(bits)) if bits < RSA_BITS_MIN => {
            MaterialError::new(key_path, format_args!("an RSA key of {bits} bits is too weak"))
                .help("make one of 2048 bits or more, or better an ECDSA key on P-256")
        }
        (other, _) => MaterialError::new(
            key_path,
            format_args!("unusable with {}: {other}", cert.display()),
        ),
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

/// Reads a certificate that an endpoint presents. Without `names` it is for the names in it.
pub fn certificate(
    name: String,
    cert: &Path,
    key: &Path,
    names: Option<Vec<Pattern>>,
) -> Result<(Certificate, Vec<String>), MaterialError> {
    let pair = pair(cert, key)?;
    let leaf = pair
        .cert
        .first()
        .map(|der| der.as_ref())
        .unwrap_or_default();
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|e| MaterialError::new(cert, format_args!("broken certificate: {e}")))?;
    let own = dns_names(&parsed);
    let names = names.unwrap_or_else(|| own.clone());
    if names.is_empty() {
        return Err(MaterialError::new(cert, "the certificate names no host")
            .help("give the names it is for: names: [host.example.com]"));
    }
    let mut weaknesses = weaknesses(&parsed);
    let mut covered = NameTable::default();
    for name in own {
        *covered.entry(name) = ();
    }
    for name in &names {
        if covered.covering(name).is_none() {
            weaknesses.push(format!(
                "the certificate is not for `{name}`: clients will refuse it"
            ));
        }
    }
    let (not_before, not_after) = (
        parsed.validity().not_before.timestamp(),
        parsed.validity().not_after.timestamp(),
    );
    let certificate = Certificate {
        name,
        key: Arc::new(pair),
        names,
        not_before,
        not_after,
    };
    Ok((certificate, weaknesses))
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
