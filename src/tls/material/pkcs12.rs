//! Reads PKCS#12 (RFC 7292): a private key and certificates behind one password. The content is walked over
//! as it is, so that no copy of a key is made but the one that is returned.

use aws_lc_rs::{digest, hmac};
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::password::Password;
use super::pbe::{self, Effort, Locked};
use super::pem::Refusal;
use crate::tls::der::{Elements, INTEGER, OCTET_STRING, OID, SEQUENCE, only};

/// The content of a file: one key, and certificates in any order.
pub struct Store {
    /// The private key in PKCS#8.
    pub key: Zeroizing<Vec<u8>>,
    /// The certificates.
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The most certificates of a file: more than any chain has.
const CERTIFICATES_MAX: usize = 64;

/// The parts of a file that have a password of their own are few: keys, and certificates.
const PARTS_MAX: usize = 16;

/// Contents of PKCS#7; the last byte tells which.
const CONTENT: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07";
const DATA: u8 = 1;
const SIGNED: u8 = 2;
const ENVELOPED: u8 = 3;
const ENCRYPTED: u8 = 6;

/// Bags; the last byte tells which.
const BAG: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01";
const KEY_BAG: u8 = 1;
const SHROUDED_KEY_BAG: u8 = 2;
const CERTIFICATE_BAG: u8 = 3;
const NESTED_BAG: u8 = 6;

/// A certificate in DER.
const X509: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x16\x01";

const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";

/// SHA-2; the last byte tells which.
const SHA2: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02";
const PBMAC1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0e";

/// Tags of `[0]`, explicit and implicit.
const EXPLICIT: u8 = 0xa0;
const IMPLICIT: u8 = 0x80;

/// The algorithms of a MAC over the content: digest, HMAC, and the length of a block in bytes.
type Mac = (&'static digest::Algorithm, hmac::Algorithm, usize);

/// Whether a file is PKCS#12: a SEQUENCE with the version 3, and then a SEQUENCE. In BER, too, which
/// [`open`] refuses.
pub fn is_store(bytes: &[u8]) -> bool {
    let content = match bytes {
        [SEQUENCE, 0x80, rest @ ..] => rest,
        _ => match only(bytes, SEQUENCE) {
            Some(content) => content,
            None => return false,
        },
    };
    content.starts_with(&[INTEGER, 1, 3, SEQUENCE])
}

/// Reads a file.
///
/// # Errors
///
/// If the password is wrong, the file is malformed, has no key or several, is encrypted by something that is
/// not supported, or would take more than some seconds.
pub fn open(bytes: &[u8], password: &Password) -> Result<Store, Refusal> {
    let mut reading = Reading {
        password,
        effort: Effort::of_a_file(),
        keys: Vec::new(),
        certificates: Vec::new(),
    };
    reading.file(bytes).map_err(|why| refusal(&why, bytes))?;
    let mut keys = reading.keys.into_iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(Store {
            key,
            certificates: reading.certificates,
        }),
        (None, _) => Err(Refusal::new(
            None,
            "PKCS#12 without a private key",
            "it may be a store of trusted CAs, which `ca` takes in PEM: \
             openssl pkcs12 -in FILE -nokeys -out FILE.pem",
        )),
        (Some(_), Some(_)) => Err(Refusal::new(
            None,
            "PKCS#12 with more than one private key",
            "put the one that is to be used into a file of its own; of a store of Java: keytool -importkeystore \
             -srckeystore FILE -srcalias ALIAS -destkeystore ONE.p12 -deststoretype PKCS12",
        )),
    }
}

/// A file that is being read.
struct Reading<'p> {
    password: &'p Password,
    effort: Effort,
    keys: Vec<Zeroizing<Vec<u8>>>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Reading<'_> {
    fn file(&mut self, bytes: &[u8]) -> Result<(), Locked> {
        let mut pfx = Elements(only(bytes, SEQUENCE).ok_or(Locked::Malformed)?);
        pfx.expect(INTEGER).ok_or(Locked::Malformed)?;
        let content = pfx.expect(SEQUENCE).ok_or(Locked::Malformed)?;
        let safe = match content_of(content)? {
            (DATA, data) => only(data, OCTET_STRING).ok_or(Locked::Malformed)?,
            (SIGNED, _) => return Err(Locked::Unsupported("a signature in place of a password")),
            _ => return Err(Locked::Malformed),
        };
        if let Some(mac) = pfx.next() {
            self.verify(mac.content, safe)?;
        }
        let mut parts = Elements(only(safe, SEQUENCE).ok_or(Locked::Malformed)?);
        for part in parts.by_ref().take(PARTS_MAX) {
            self.part(part.content)?;
        }
        parts.is_done().then_some(()).ok_or(Locked::Malformed)
    }

    /// Verifies the MAC over the content, which shows a wrong password before anything is decrypted.
    fn verify(&mut self, mac: &[u8], safe: &[u8]) -> Result<(), Locked> {
        let mut parts = Elements(mac);
        let mut info = Elements(parts.expect(SEQUENCE).ok_or(Locked::Malformed)?);
        let algorithm = info.expect(SEQUENCE).ok_or(Locked::Malformed)?;
        let tag = info.expect(OCTET_STRING).ok_or(Locked::Malformed)?;
        let salt = parts.expect(OCTET_STRING).ok_or(Locked::Malformed)?;
        let name = Elements(algorithm).expect(OID).ok_or(Locked::Malformed)?;
        let (digest, hmac, block) = match mac_of(name) {
            Some(known) => known,
            None if name == PBMAC1 => return Err(Locked::Unsupported("a MAC by PBMAC1")),
            None => return Err(Locked::Unsupported("a MAC that is not known")),
        };
        let iterations = parts.expect(INTEGER).unwrap_or(&[1]);
        let iterations = self.effort.spend(iterations)?.get();
        let wide = self.password.wide();
        // Without a password, some programs take none, and others an empty text.
        let is_empty = self.password.bytes().is_empty();
        let forms = [&**wide, &[]].into_iter().take(1 + usize::from(is_empty));
        for password in forms {
            let key = mac_key(digest, block, password, salt, iterations);
            if hmac::verify(&hmac::Key::new(hmac, key.as_ref()), safe, tag).is_ok() {
                return Ok(());
            }
        }
        Err(Locked::WrongPassword)
    }

    /// Reads a part: bags, in the clear or encrypted.
    fn part(&mut self, content: &[u8]) -> Result<(), Locked> {
        match content_of(content)? {
            (DATA, data) => self.bags(only(data, OCTET_STRING).ok_or(Locked::Malformed)?),
            (ENCRYPTED, data) => {
                let mut data = Elements(only(data, SEQUENCE).ok_or(Locked::Malformed)?);
                data.expect(INTEGER).ok_or(Locked::Malformed)?;
                let mut info = Elements(data.expect(SEQUENCE).ok_or(Locked::Malformed)?);
                info.expect(OID).ok_or(Locked::Malformed)?;
                let algorithm = info.expect(SEQUENCE).ok_or(Locked::Malformed)?;
                let encrypted = info.expect(IMPLICIT).ok_or(Locked::Malformed)?;
                let effort = &mut self.effort;
                let bags = pbe::decrypt(algorithm, encrypted, self.password, effort)?;
                self.bags(&bags)
            }
            (ENVELOPED, _) => Err(Locked::Unsupported("a certificate in place of a password")),
            _ => Err(Locked::Malformed),
        }
    }

    fn bags(&mut self, bytes: &[u8]) -> Result<(), Locked> {
        // After a wrong password without a MAC, anything may be here.
        let mut bags = Elements(only(bytes, SEQUENCE).ok_or(Locked::WrongPassword)?);
        for bag in bags.by_ref() {
            self.bag(bag.content)?;
        }
        bags.is_done().then_some(()).ok_or(Locked::Malformed)
    }

    fn bag(&mut self, bag: &[u8]) -> Result<(), Locked> {
        let mut parts = Elements(bag);
        let name = parts.expect(OID).ok_or(Locked::Malformed)?;
        let value = parts.expect(EXPLICIT).ok_or(Locked::Malformed)?;
        match name.strip_prefix(BAG) {
            Some([KEY_BAG]) => self.keys.push(Zeroizing::new(value.to_vec())),
            Some([SHROUDED_KEY_BAG]) => {
                let key = pbe::private_key(value, self.password, &mut self.effort)?;
                self.keys.push(key);
            }
            Some([CERTIFICATE_BAG]) => {
                let mut parts = Elements(only(value, SEQUENCE).ok_or(Locked::Malformed)?);
                let is_x509 = parts.expect(OID) == Some(X509);
                let value = parts.expect(EXPLICIT).filter(|_| is_x509);
                let der = value.and_then(|value| only(value, OCTET_STRING));
                let der = der.ok_or(Locked::Malformed)?;
                if self.certificates.len() == CERTIFICATES_MAX {
                    return Err(Locked::Unsupported("more than 64 certificates"));
                }
                self.certificates.push(der.to_vec().into());
            }
            Some([NESTED_BAG]) => return Err(Locked::Unsupported("bags inside of bags")),
            // Lists and secrets are of no use here.
            _ => {}
        }
        Ok(())
    }
}

/// The kind of a ContentInfo (RFC 2315 section 7), and its content.
fn content_of(info: &[u8]) -> Result<(u8, &[u8]), Locked> {
    let mut parts = Elements(info);
    let name = parts.expect(OID).ok_or(Locked::Malformed)?;
    let content = parts.expect(EXPLICIT).ok_or(Locked::Malformed)?;
    match name.strip_prefix(CONTENT) {
        Some([kind]) => Ok((*kind, content)),
        _ => Err(Locked::Malformed),
    }
}

fn mac_of(name: &[u8]) -> Option<Mac> {
    const SHORT: usize = 64;
    const LONG: usize = 128;
    if name == SHA1 {
        let hmac = hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY;
        return Some((&digest::SHA1_FOR_LEGACY_USE_ONLY, hmac, SHORT));
    }
    match name.strip_prefix(SHA2)? {
        [1] => Some((&digest::SHA256, hmac::HMAC_SHA256, SHORT)),
        [2] => Some((&digest::SHA384, hmac::HMAC_SHA384, LONG)),
        [3] => Some((&digest::SHA512, hmac::HMAC_SHA512, LONG)),
        _ => None,
    }
}

/// The key of a MAC (RFC 7292 appendix B.2). It is as long as the digest, so that one block is enough.
fn mac_key(
    algorithm: &'static digest::Algorithm,
    block: usize,
    password: &[u8],
    salt: &[u8],
    iterations: u32,
) -> digest::Digest {
    /// What the derived bytes are for: the key of a MAC.
    const PURPOSE: u8 = 3;
    let filled = |len: usize| len.div_ceil(block) * block;
    let (salted, secret) = (filled(salt.len()), filled(password.len()));
    let mut input = Zeroizing::new(Vec::with_capacity(block + salted + secret));
    input.extend(std::iter::repeat_n(PURPOSE, block));
    input.extend(salt.iter().cycle().take(salted));
    input.extend(password.iter().cycle().take(secret));
    let mut key = digest::digest(algorithm, &input);
    for _ in 1..iterations {
        key = digest::digest(algorithm, key.as_ref());
    }
    key
}

/// What is wrong with a file, and the remedy.
fn refusal(why: &Locked, bytes: &[u8]) -> Refusal {
    const ANEW: &str = "have it written anew with AES: openssl pkcs12 -legacy -in FILE -nodes -out FILE.pem && \
        openssl pkcs12 -export -in FILE.pem -out FILE.new; then remove FILE.pem, which holds the key";
    let is_ber = bytes.get(1) == Some(&0x80);
    match why {
        Locked::WrongPassword => Refusal::new(
            None,
            "PKCS#12: the password is wrong, or the file is damaged",
            "try it: openssl pkcs12 -in FILE -passin file:PASSWORD -noout",
        ),
        Locked::Unsupported(what) => Refusal::new(
            None,
            format!("PKCS#12 with {what}, which is not supported"),
            ANEW,
        ),
        Locked::TooManyIterations => Refusal::new(
            None,
            "PKCS#12 whose password would take more than 5 million iterations",
            "have it written anew: openssl pkcs12 -in FILE -nodes -out FILE.pem && \
             openssl pkcs12 -export -iter 600000 -in FILE.pem -out FILE.new; then remove FILE.pem, which holds the key",
        ),
        Locked::Malformed if is_ber => {
            Refusal::new(None, "PKCS#12 in BER, which is not supported", ANEW)
        }
        Locked::Malformed => Refusal::new(
            None,
            "PKCS#12 that is damaged, or not in DER",
            "take the file once more from where it comes, or have OpenSSL write it anew: \
             openssl pkcs12 -in FILE -nodes -out FILE.pem && openssl pkcs12 -export -in FILE.pem -out FILE.new; \
             then remove FILE.pem, which holds the key",
        ),
    }
}

#[cfg(test)]
mod tests;
