//! Sealing: AES-256-GCM with keys derived from the secrets of `seal_key`. What is sealed is bound to the place
//! that it is for, and opens nowhere else.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

/// The length of a key's name, by which what is sealed refers to it.
const NAME_LEN: usize = 8;

/// The derived bytes: name and key.
struct Material;

impl Material {
    const LEN: usize = NAME_LEN + 32;
}

impl KeyType for Material {
    fn len(&self) -> usize {
        Self::LEN
    }
}

/// A key of one secret.
#[derive(Clone)]
pub struct SealKey {
    name: [u8; NAME_LEN],
    aead: Arc<RandomizedNonceKey>,
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey")
    }
}

impl SealKey {
    /// The least length of a secret, in bytes.
    pub const LEN_MIN: usize = 32;

    /// The key of a secret, unless that is shorter than [`SealKey::LEN_MIN`].
    pub fn of(secret: &[u8]) -> Option<Self> {
        if secret.len() < Self::LEN_MIN {
            return None;
        }
        let root = Salt::new(HKDF_SHA256, b"reseal fleet").extract(secret);
        let mut material = Zeroizing::new([0; Material::LEN]);
        let derived = root.expand(&[b"seal"], Material).ok()?;
        derived.fill(&mut *material).ok()?;
        let (name, key) = material.split_first_chunk()?;
        Some(Self {
            name: *name,
            aead: Arc::new(RandomizedNonceKey::new(&AES_256_GCM, key).ok()?),
        })
    }
}

/// Why something cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// It is no sealed value.
    Malformed,
    /// It was sealed with a key that is not ours.
    UnknownKey,
    /// It was changed, or sealed for another place.
    Altered,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "it is not sealed",
            Self::UnknownKey => "it is sealed with another key than those of `fleet.seal_key`",
            Self::Altered => "it was altered, or is sealed for another place",
        })
    }
}

/// The keys of all secrets: the first seals, all open.
#[derive(Clone, Debug)]
pub struct SealKeys(pub Vec<SealKey>);

impl SealKeys {
    /// Seals `plain` for a place: name of the key, nonce, ciphertext.
    pub fn seal(&self, place: &str, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.0.first()?;
        let mut text = plain.to_vec();
        let aad = Aad::from(place.as_bytes());
        let nonce = key.aead.seal_in_place_append_tag(aad, &mut text).ok()?;
        Some([&key.name[..], &nonce.as_ref()[..], &text].concat())
    }

    /// Opens what was sealed for a place.
    ///
    /// # Errors
    ///
    /// If it was sealed with another key or for another place, or was altered.
    pub fn open(&self, place: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (name, rest) = sealed
            .split_first_chunk::<NAME_LEN>()
            .ok_or(SealError::Malformed)?;
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealError::Malformed)?;
        let key = self.0.iter().find(|key| key.name == *name);
        let key = key.ok_or(SealError::UnknownKey)?;
        let mut plain = Zeroizing::new(text.to_vec());
        let aad = Aad::from(place.as_bytes());
        let opened = key.aead.open_in_place(Nonce::from(nonce), aad, &mut plain);
        let len = opened.map_err(|_| SealError::Altered)?.len();
        plain.truncate(len);
        Ok(plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> SealKeys {
        SealKeys(
            bytes
                .iter()
                .map(|byte| SealKey::of(&[*byte; 32]).unwrap())
                .collect(),
        )
    }

    #[test]
    fn what_is_sealed_opens_at_its_place_and_with_its_key_alone() {
        let sealed = keys(&[1]).seal("a/gen/1/0", b"secret").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
        assert_eq!(
            keys(&[1]).open("a/gen/1/0", &sealed).unwrap().as_slice(),
            b"secret"
        );
        assert_eq!(
            keys(&[1]).open("a/gen/2/0", &sealed),
            Err(SealError::Altered)
        );
        assert_eq!(
            keys(&[2]).open("a/gen/1/0", &sealed),
            Err(SealError::UnknownKey)
        );
        assert_eq!(
            keys(&[1]).open("a/gen/1/0", &sealed[..12]),
            Err(SealError::Malformed)
        );
        let mut altered = sealed;
        *altered.last_mut().unwrap() ^= 1;
        assert_eq!(
            keys(&[1]).open("a/gen/1/0", &altered),
            Err(SealError::Altered)
        );
    }

    #[test]
    fn a_rotated_key_still_opens_what_the_old_one_sealed() {
        let sealed = keys(&[1]).seal("p", b"old").unwrap();
        assert_eq!(keys(&[2, 1]).open("p", &sealed).unwrap().as_slice(), b"old");
        let sealed = keys(&[2, 1]).seal("p", b"new").unwrap();
        assert_eq!(keys(&[1]).open("p", &sealed), Err(SealError::UnknownKey));
    }

    #[test]
    fn a_short_secret_is_no_key() {
        assert!(SealKey::of(&[7; 31]).is_none());
    }
}
