//! Password-based encryption: PBES2 with PBKDF2 and AES (RFC 8018), as OpenSSL, Java and Windows write it
//! today. AWS-LC derives the keys and decrypts. What is older is told apart, and refused.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use super::password::Password;
use crate::tls::der::{Elements, INTEGER, OCTET_STRING, OID, SEQUENCE, only};

/// How many iterations all derivations of one file may take together. They take some seconds; OpenSSL writes
/// 2048, Java 10 000, and who is careful a million.
const ITERATIONS_MAX: u32 = 5_000_000;

/// The longest key of AES, in bytes.
const KEY_MAX: usize = 32;

const PBES2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
pub(super) const PBKDF2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
const SCRYPT: &[u8] = b"\x2b\x06\x01\x04\x01\xda\x47\x04\x0b";

/// HMAC with a digest; the last byte tells which.
const HMAC: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x02";

/// AES; the last byte tells the length of the key and the mode.
const AES: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x01";

/// Algorithms that are not supported, by the beginning of their identifiers.
const OLD: [(&[u8], &str); 10] = [
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x01", "RC4"),
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x02",
        "RC4 of 40 bits",
    ),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03", "Triple DES"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x04", "Triple DES"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x05", "RC2"),
    (
        b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x06",
        "RC2 of 40 bits",
    ),
    // PBES1, and ciphers in PBES2.
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x05", "DES or RC2"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x03\x02", "RC2"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x03\x07", "Triple DES"),
    (SCRYPT, "a key of scrypt"),
];

/// Why something is not decrypted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Locked {
    /// The password is wrong, or the content is damaged.
    WrongPassword,
    /// By these words, which are not supported.
    Unsupported(&'static str),
    /// The derivations would take too long.
    TooManyIterations,
    /// It is not encoded as it should be.
    Malformed,
}

/// What is left of the iterations of a file.
pub(super) struct Effort(u32);

impl Effort {
    pub(super) const fn of_a_file() -> Self {
        Self(ITERATIONS_MAX)
    }

    /// Takes so many, which a file asks for by this content of an INTEGER.
    pub(super) fn spend(&mut self, integer: &[u8]) -> Result<NonZeroU32, Locked> {
        let digits = integer.strip_prefix(&[0]).unwrap_or(integer);
        if integer.first().is_none_or(|first| *first >= 0x80) {
            return Err(Locked::Malformed);
        }
        let number = match digits.len() {
            0..=4 => digits.iter().fold(0, |n, digit| n << 8 | u32::from(*digit)),
            _ => u32::MAX,
        };
        let number = NonZeroU32::new(number).ok_or(Locked::Malformed)?;
        self.0 = self
            .0
            .checked_sub(number.get())
            .ok_or(Locked::TooManyIterations)?;
        Ok(number)
    }
}

/// Decrypts what was encrypted by the algorithm with this content of an AlgorithmIdentifier.
pub(super) fn decrypt(
    algorithm: &[u8],
    encrypted: &[u8],
    password: &Password,
    effort: &mut Effort,
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    let mut algorithm = Elements(algorithm);
    let scheme = algorithm.expect(OID).ok_or(Locked::Malformed)?;
    if scheme != PBES2 {
        return Err(unsupported(scheme));
    }
    let mut parts = Elements(algorithm.expect(SEQUENCE).ok_or(Locked::Malformed)?);
    let derivation = parts.expect(SEQUENCE).ok_or(Locked::Malformed)?;
    let mut cipher = Elements(parts.expect(SEQUENCE).ok_or(Locked::Malformed)?);
    let name = cipher.expect(OID).ok_or(Locked::Malformed)?;
    let cipher_kind = aes(name).ok_or_else(|| unsupported(name))?;
    let iv = cipher.expect(OCTET_STRING).ok_or(Locked::Malformed)?;
    let iv = <[u8; 16]>::try_from(iv).map_err(|_| Locked::Malformed)?;
    let mut key = Zeroizing::new([0; KEY_MAX]);
    let key = key.get_mut(..cipher_kind.1).unwrap_or_default();
    derive(derivation, password, effort, key)?;
    let key = UnboundCipherKey::new(cipher_kind.0, key)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .map_err(|_| Locked::Malformed)?;
    let mut bytes = Zeroizing::new(encrypted.to_vec());
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let len = match key.decrypt(&mut bytes, context) {
        Ok(plain) => plain.len(),
        // Its padding is wrong.
        Err(_) => return Err(Locked::WrongPassword),
    };
    bytes.truncate(len);
    Ok(bytes)
}

/// Derives a key by the algorithm with this content of an AlgorithmIdentifier.
pub(super) fn derive(
    algorithm: &[u8],
    password: &Password,
    effort: &mut Effort,
    key: &mut [u8],
) -> Result<(), Locked> {
    let mut algorithm = Elements(algorithm);
    let name = algorithm.expect(OID).ok_or(Locked::Malformed)?;
    if name != PBKDF2 {
        return Err(unsupported(name));
    }
    let mut parts = Elements(algorithm.expect(SEQUENCE).ok_or(Locked::Malformed)?);
    let salt = parts.expect(OCTET_STRING).ok_or(Locked::Malformed)?;
    let iterations = parts.expect(INTEGER).ok_or(Locked::Malformed)?;
    // The length of the key, which the cipher tells, too; and the digest, by default SHA-1.
    let rest = parts.filter(|element| element.tag == SEQUENCE).last();
    let digest = match rest {
        None => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(element) => {
            let name = Elements(element.content).expect(OID);
            let name = name.ok_or(Locked::Malformed)?;
            match name.strip_prefix(HMAC) {
                Some([7]) => pbkdf2::PBKDF2_HMAC_SHA1,
                Some([9]) => pbkdf2::PBKDF2_HMAC_SHA256,
                Some([10]) => pbkdf2::PBKDF2_HMAC_SHA384,
                Some([11]) => pbkdf2::PBKDF2_HMAC_SHA512,
                _ => {
                    return Err(Locked::Unsupported(
                        "a key of PBKDF2 with another digest than SHA-1 or SHA-2",
                    ));
                }
            }
        }
    };
    let iterations = effort.spend(iterations)?;
    pbkdf2::derive(digest, iterations, salt, password.bytes(), key);
    Ok(())
}

/// AES in CBC by its identifier, and the length of its key in bytes.
fn aes(name: &[u8]) -> Option<(&'static Algorithm, usize)> {
    match name.strip_prefix(AES)? {
        [0x02] => Some((&AES_128, 16)),
        [0x16] => Some((&AES_192, 24)),
        [0x2a] => Some((&AES_256, 32)),
        _ => None,
    }
}

fn unsupported(name: &[u8]) -> Locked {
    let old = OLD.iter().find(|(known, _)| name.starts_with(known));
    Locked::Unsupported(old.map_or("an algorithm that is not known", |(_, words)| *words))
}

/// Decrypts an EncryptedPrivateKeyInfo (RFC 5958 section 3) to PKCS#8.
pub(super) fn private_key(
    der: &[u8],
    password: &Password,
    effort: &mut Effort,
) -> Result<Zeroizing<Vec<u8>>, Locked> {
    let mut parts = Elements(only(der, SEQUENCE).ok_or(Locked::Malformed)?);
    let algorithm = parts.expect(SEQUENCE).ok_or(Locked::Malformed)?;
    let encrypted = parts.expect(OCTET_STRING).ok_or(Locked::Malformed)?;
    let plain = decrypt(algorithm, encrypted, password, effort)?;
    // One wrong password in 256 has a right padding.
    let mut inside = Elements(only(&plain, SEQUENCE).ok_or(Locked::WrongPassword)?);
    let is_key = inside.expect(INTEGER).is_some() && inside.expect(SEQUENCE).is_some();
    is_key.then_some(plain).ok_or(Locked::WrongPassword)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_cannot_ask_for_more_iterations_than_it_may_have() {
        let mut effort = Effort::of_a_file();
        assert_eq!(effort.spend(&[0x08, 0x00]).unwrap().get(), 2048);
        // 4 999 999
        assert_eq!(
            effort.spend(&[0x4c, 0x4b, 0x3f]),
            Err(Locked::TooManyIterations)
        );
        for (bytes, error) in [
            (&[0x7f, 0xff, 0xff, 0xff][..], Locked::TooManyIterations),
            (&[0, 0xff, 0xff, 0xff, 0xff], Locked::TooManyIterations),
            (&[1, 0, 0, 0, 0, 0], Locked::TooManyIterations),
            (&[0xff], Locked::Malformed),
            (&[0], Locked::Malformed),
            (&[], Locked::Malformed),
        ] {
            assert_eq!(effort.spend(bytes), Err(error), "{bytes:?}");
        }
    }
}
