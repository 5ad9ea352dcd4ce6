//! Reads certificates, keys and CA bundles from files: PEM, and PKCS#12 for a key with its chain. Every error
//! names the file and a remedy.

pub mod carried;
pub mod directory;
pub mod file;
pub mod password;
mod pbe;
pub mod pem;
pub mod pkcs12;
pub mod system;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use self::file::{Contents, FileReader, MaterialError};
use self::password::Password;
use self::pbe::{Effort, Locked};
use self::pem::{Item, Refusal};
use crate::tls::sessions::TicketSecret;
use crate::tls::validity::{DateFault, Validity};
use crate::tls::verify::authorities::Authorities;
use crate::tls::verify::crl::{RevocationList, distribution_points};
use crate::tls::verify::limits;
use crate::tls::words;

/// Adds the file's name to a refusal of the PEM reader.
pub(super) fn refused(path: &Path, refusal: Refusal) -> MaterialError {
    let error = match refusal.line {
        Some(line) => MaterialError::at_line(path, line, refusal.reason),
        None => MaterialError::new(path, refusal.reason),
    };
    error.help(with_path(&refusal.help, path))
}

/// The help with the path in place of the `FILE` of its commands. In `key: FILE` it stands for another one.
fn with_path(help: &str, path: &Path) -> String {
    let path = path.display().to_string();
    let mut parts = help.split("FILE");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_other = out.ends_with(": ");
        out.push_str(if is_other { "FILE" } else { &path });
        out.push_str(part);
    }
    out
}

/// The chain of certificates in a PEM file, in order; at least one. The file may hold the private key,
/// too.
///
/// # Errors
///
/// If the file cannot be read, or holds anything unknown or damaged.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    certificates_in(&Contents::read(path)?)
}

pub(super) fn certificates_in(
    file: &Contents,
) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let chain = pem::chain(&file.bytes).map_err(|refusal| refused(&file.path, refusal))?;
    Ok(chain.into_iter().map(|item| item.value).collect())
}

/// What is to be told about a CA that is used all the same.
#[derive(Debug)]
pub struct Doubt {
    /// What it is.
    pub about: MaterialError,
    /// Whether it is no warning, since nothing has to be done.
    pub is_notice: bool,
}

impl From<MaterialError> for Doubt {
    fn from(about: MaterialError) -> Self {
        Self {
            about,
            is_notice: false,
        }
    }
}

/// The trust anchors of CA files, at least one in each, and doubts about them: verification checks
/// neither the validity of a trust anchor nor whether it may sign.
pub fn roots(
    files: &mut FileReader,
    paths: &[PathBuf],
    now: i64,
) -> Result<(Authorities, Vec<Doubt>), MaterialError> {
    let mut store = Authorities::of_anchors(RootCertStore::empty());
    let mut doubts = Vec::new();
    for path in paths {
        let mut ends_soon = Vec::new();
        let mut has_lasting = false;
        let source: Arc<str> = path.display().to_string().into();
        let bytes = files.read(path)?.bytes;
        let authorities = pem::authorities(&bytes).map_err(|refusal| refused(path, refusal))?;
        for (n, Item { line, value: ca }) in authorities.into_iter().enumerate() {
            let n = n + 1;
            let mut subject = String::new();
            if let Ok((_, parsed)) = X509Certificate::from_der(&ca) {
                let validity = Validity::of(&parsed);
                subject = format!(" ({})", validity.subject);
                match validity.fault(now) {
                    None => has_lasting = true,
                    Some(DateFault::EndsSoon) => ends_soon.push((n, validity.clone())),
                    Some(fault) => doubts.push(ca_dates(path, n, &validity, fault).into()),
                }
                for (limit, way_out) in limits::of_authority(&parsed) {
                    let what = format!("certificate {n} has {limit}{subject}");
                    doubts.push(MaterialError::new(path, what).help(way_out).into());
                }
                if is_no_ca(&parsed) {
                    let what = format!("certificate {n} is not a CA certificate{subject}");
                    let error = MaterialError::new(path, what).help(
                        "name the CA that signed it; to trust this one alone, \
                         add a rule: allow: { sha256: … }",
                    );
                    doubts.push(error.into());
                }
                store.add_validity(&source, validity);
                store.add_distribution_points(distribution_points(&parsed));
            }
            store.add(ca).map_err(|e| {
                let what = format!(
                    "certificate {n} is no usable CA: {}{subject}",
                    words::tls(&e)
                );
                MaterialError::at_line(path, line, what)
            })?;
        }
        // The CA that follows is there: the certificates of the old one still need it.
        doubts.extend(ends_soon.into_iter().map(|(n, validity)| Doubt {
            about: ca_dates(path, n, &validity, DateFault::EndsSoon),
            is_notice: has_lasting,
        }));
    }
    Ok((store, doubts))
}

/// The doubt about the dates of a CA, the certificate with this number in its file.
fn ca_dates(path: &Path, n: usize, validity: &Validity, fault: DateFault) -> MaterialError {
    let (what, help) = match fault {
        DateFault::Expired => (
            "has expired",
            "an expired CA still admits whom it signed: take it out of the file, or, if the file is the bundle \
             of an operating system, use `ca: system`",
        ),
        DateFault::Early => (
            "is not valid yet",
            "it admits whom it signed already: add it to the file when its time has come",
        ),
        DateFault::EndsSoon => (
            "expires within 14 days",
            "add the CA that follows it, and take this one out when its certificates have ended",
        ),
    };
    let what = format_args!("certificate {n} {what} ({})", validity.subject);
    MaterialError::new(path, what).help(help)
}

/// Whether a certificate is no CA: it may not sign others, and another one signed it. A self-signed one
/// without basic constraints may be an old CA (RFC 5280, section 4.2.1.9).
fn is_no_ca(certificate: &X509Certificate<'_>) -> bool {
    let may_sign = match certificate.basic_constraints() {
        Ok(Some(constraints)) => constraints.value.ca,
        _ => false,
    };
    !may_sign && certificate.issuer() != certificate.subject()
}

/// The revocation lists of files, in PEM or DER; at least one in each.
pub fn revocation_lists(
    files: &mut FileReader,
    paths: &[PathBuf],
) -> Result<Vec<RevocationList>, MaterialError> {
    let mut lists = Vec::new();
    for path in paths {
        let bytes = files.read(path)?.bytes;
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

/// The private key of a file, which may be encrypted, and whether it was.
///
/// # Errors
///
/// As for [`pem::key`], and if it is encrypted and the password is absent or wrong, or does not fit a method
/// that is supported.
pub fn private_key(
    file: &Contents,
    password: Option<&Password>,
) -> Result<(Item<PrivateKeyDer<'static>>, bool), MaterialError> {
    let mut was_encrypted = false;
    let decrypt = |der: &[u8]| {
        was_encrypted = true;
        let Some(password) = password else {
            return Err((pem::ENCRYPTED.0.to_owned(), pem::ENCRYPTED.1));
        };
        let decrypted = pbe::private_key(der, password, &mut Effort::of_a_file());
        decrypted.map_err(|why| locked_key(&why))
    };
    let item = pem::key_or(&file.bytes, decrypt);
    let item = item.map_err(|refusal| refused(&file.path, refusal))?;
    Ok((item, was_encrypted))
}

/// Why an encrypted key is not read, and the remedy.
fn locked_key(why: &Locked) -> (String, &'static str) {
    const ANEW: &str =
        "encrypt it anew with AES: openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out FILE.new";
    match why {
        Locked::WrongPassword => (
            "the password is wrong, or the private key is damaged".to_owned(),
            "try it: openssl pkey -in FILE -passin file:PASSWORD -noout",
        ),
        Locked::Unsupported(what) => (
            format!("the private key is encrypted with {what}, which is not supported"),
            ANEW,
        ),
        Locked::TooManyIterations => (
            "the password of the private key would take more than 5 million iterations".to_owned(),
            "encrypt it anew: openssl pkcs8 -topk8 -v2 aes-256-cbc -iter 600000 -in FILE -out FILE.new",
        ),
        Locked::Malformed => ("the encrypted private key is damaged".to_owned(), ANEW),
    }
}

/// The revocation lists in bytes that were fetched, in PEM or DER; at least one. `source` is where they came
/// from.
///
/// # Errors
///
/// One sentence.
pub fn lists_in(bytes: &[u8], source: &Arc<str>) -> Result<Vec<RevocationList>, String> {
    let found = pem::lists(bytes).map_err(|refusal| refusal.reason)?;
    let lists = found
        .into_iter()
        .map(|item| RevocationList::read(item.value, source));
    lists
        .collect::<Result<_, _>>()
        .map_err(|why| format!("a revocation list cannot be used: {why}"))
}

/// A secret for ticket keys: the unmodified bytes of the file.
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
