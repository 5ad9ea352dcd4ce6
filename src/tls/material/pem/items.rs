//! Reads certificates, CRLs and keys from the blocks of a file. A block whose content does not match its
//! label is refused.

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer,
    PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::blocks::{Block, blocks};
use super::foreign::{self, element, is_der};
use super::labels::{ENCRYPTED, Role, Use, accept};
use super::refusal::{DAMAGED, Refusal};

/// The content of a block, and the line on which the block begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<T> {
    /// The line, counted from 1.
    pub line: usize,
    /// The content.
    pub value: T,
}

/// A certificate and its issuers, in the order of the file; at least one. Private keys and parameters in
/// the file are ignored; [`key`] reads them.
///
/// # Errors
///
/// If anything in the file is damaged or not allowed there.
pub fn chain(bytes: &[u8]) -> Result<Vec<Item<CertificateDer<'static>>>, Refusal> {
    certificates(bytes, Use::Chain)
}

/// Trusted CAs; at least one, and nothing else.
///
/// # Errors
///
/// As for [`chain`], and if there is any other block.
pub fn authorities(bytes: &[u8]) -> Result<Vec<Item<CertificateDer<'static>>>, Refusal> {
    certificates(bytes, Use::Authorities)
}

fn certificates(bytes: &[u8], of: Use) -> Result<Vec<Item<CertificateDer<'static>>>, Refusal> {
    let blocks = checked(bytes, of)?;
    let has_key = blocks.iter().any(|block| Role::of(block.label).is_key());
    let certificates = blocks
        .into_iter()
        .filter(|block| Role::of(block.label).is_certificate());
    let found: Vec<_> = certificates
        .map(|block| Item {
            line: block.line,
            value: block.into_der().into(),
        })
        .collect();
    if found.is_empty() && has_key {
        let reason = format!("holds no {}", of.wanted());
        let help = "it holds a private key: are `cert` and `key` swapped?";
        return Err(Refusal::new(None, reason, help));
    }
    if found.is_empty() {
        return Err(nothing(of));
    }
    Ok(found)
}

/// Revocation lists; at least one, and nothing else. A file in DER holds one.
///
/// # Errors
///
/// As for [`chain`], and if there is any other block.
pub fn lists(bytes: &[u8]) -> Result<Vec<Item<CertificateRevocationListDer<'static>>>, Refusal> {
    if is_der(bytes) && is_list(bytes) {
        return Ok(vec![Item {
            line: 1,
            value: bytes.to_vec().into(),
        }]);
    }
    let blocks = checked(bytes, Use::Lists)?;
    if blocks.is_empty() {
        return Err(nothing(Use::Lists));
    }
    let found = blocks.into_iter().map(|block| Item {
        line: block.line,
        value: block.into_der().into(),
    });
    Ok(found.collect())
}

/// The only private key of a file, which may hold its chain, too.
///
/// # Errors
///
/// As for [`chain`], and if there are several keys: there is no rule which one to use.
pub fn key(bytes: &[u8]) -> Result<Item<PrivateKeyDer<'static>>, Refusal> {
    key_or(bytes, |_| Err((ENCRYPTED.0.to_owned(), ENCRYPTED.1)))
}

/// The same of a file whose key may be encrypted: `decrypt` returns it in PKCS#8, or a reason and a remedy.
///
/// # Errors
///
/// As for [`key`], and as `decrypt` says.
pub fn key_or(
    bytes: &[u8],
    decrypt: impl FnOnce(&[u8]) -> Result<Zeroizing<Vec<u8>>, (String, &'static str)>,
) -> Result<Item<PrivateKeyDer<'static>>, Refusal> {
    let blocks = checked(bytes, Use::Key)?;
    let has_certificate = blocks
        .iter()
        .any(|block| Role::of(block.label).is_certificate());
    let mut keys = blocks
        .into_iter()
        .filter(|block| Role::of(block.label).is_key());
    let Some(block) = keys.next() else {
        let help = match has_certificate {
            true => {
                "it holds a certificate: is it the file of `cert`? `key: FILE` names that of the private key"
            }
            false => Use::Key.must_hold(),
        };
        return Err(Refusal::new(None, "holds no private key", help));
    };
    if let Some(second) = keys.next() {
        let reason = format!(
            "a second private key; the first begins on line {}",
            block.line
        );
        return Err(Refusal::new(
            second.line,
            reason,
            "leave the one that belongs to the certificate in this file",
        ));
    }
    let (line, role) = (block.line, Role::of(block.label));
    if role == Role::EncryptedKey {
        let mut plain =
            decrypt(&block.der).map_err(|(reason, help)| Refusal::new(line, reason, help))?;
        let value = PrivatePkcs8KeyDer::from(std::mem::take(&mut *plain)).into();
        return Ok(Item { line, value });
    }
    let der = block.into_der();
    let value = match role {
        Role::Pkcs1 => PrivatePkcs1KeyDer::from(der).into(),
        Role::Sec1 => PrivateSec1KeyDer::from(der).into(),
        _ => PrivatePkcs8KeyDer::from(der).into(),
    };
    Ok(Item { line, value })
}

/// All blocks of a file, with contents that match their labels.
fn checked(bytes: &[u8], of: Use) -> Result<Vec<Block<'_>>, Refusal> {
    foreign::refuse(bytes, of)?;
    let blocks = blocks(bytes, |label| accept(of, label))?;
    for block in &blocks {
        block.check()?;
    }
    Ok(blocks)
}

fn nothing(of: Use) -> Refusal {
    Refusal::new(None, format!("holds no {}", of.wanted()), of.must_hold())
}

impl Block<'_> {
    fn into_der(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.der)
    }

    /// Checks that the content matches the label, without trailing bytes.
    fn check(&self) -> Result<(), Refusal> {
        let (role, label) = (Role::of(self.label), self.label);
        let is_right = match role {
            Role::Certificate => is_certificate(&self.der),
            Role::TrustedCertificate => {
                self.check_trusted()?;
                true
            }
            Role::List => is_list(&self.der),
            Role::Pkcs8 => self.begins_with(&[0x02, 0x30]),
            Role::Pkcs1 => self.begins_with(&[0x02, 0x02]),
            Role::Sec1 => self.begins_with(&[0x02, 0x04]),
            Role::EncryptedKey | Role::Parameters | Role::Other => true,
        };
        if is_right {
            return Ok(());
        }
        let reason =
            format!("the block `{label}` does not hold what its label says, or is damaged");
        let help = if role.is_key() {
            "have it written anew: openssl pkey -in FILE -out FILE.pem; if that cannot read it either, \
             the key is lost"
        } else {
            DAMAGED
        };
        Err(Refusal::new(self.line, reason, help))
    }

    /// Whether the content is one SEQUENCE whose first elements have these tags.
    fn begins_with(&self, tags: &[u8]) -> bool {
        let Some((0x30, mut inner, [])) = element(&self.der) else {
            return false;
        };
        tags.iter().all(|expected| match element(inner) {
            Some((tag, _, rest)) => {
                inner = rest;
                tag == *expected
            }
            None => false,
        })
    }

    /// Refuses a `TRUSTED CERTIFICATE` with trust settings, which OpenSSL appends to the certificate.
    /// Without them it is an ordinary certificate.
    fn check_trusted(&self) -> Result<(), Refusal> {
        match X509Certificate::from_der(&self.der) {
            Ok(([], _)) => Ok(()),
            Ok(_) => Err(Refusal::new(
                self.line,
                "`TRUSTED CERTIFICATE` with trust settings of OpenSSL, which would not be obeyed here",
                "write it as a plain certificate, trusted for all that it is used for: \
                 openssl x509 -in FILE -out FILE.pem",
            )),
            Err(_) => {
                let reason = "the block `TRUSTED CERTIFICATE` holds no certificate, or is damaged";
                Err(Refusal::new(self.line, reason, DAMAGED))
            }
        }
    }
}

fn is_certificate(der: &[u8]) -> bool {
    matches!(X509Certificate::from_der(der), Ok(([], _)))
}

fn is_list(der: &[u8]) -> bool {
    matches!(CertificateRevocationList::from_der(der), Ok(([], _)))
}
