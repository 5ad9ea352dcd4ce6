//! SHA-256 digests of certificates and of their keys.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::tls::info::hex;

/// Declares a digest with the command that prints it.
macro_rules! digest {
    ($(#[doc = $about:literal])+ $name:ident, $help:literal) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(pub [u8; 32]);

        impl Leaf for $name {
            fn what() -> Cow<'static, str> {
                "a SHA-256 digest".into()
            }

            fn parse(text: &str) -> Result<Self, Invalid> {
                sha256(text).map(Self).ok_or_else(|| {
                    Invalid::new(
                        "{} is not a SHA-256 digest: 64 hexadecimal digits, or 44 characters of base64",
                    )
                    .help($help)
                })
            }

            fn schema() -> Value {
                json!({ "type": "string", "minLength": 44, "maxLength": 95 })
            }

            fn render(&self) -> String {
                hex(&self.0)
            }
        }
    };
}

digest! {
    /// SHA-256 of a whole certificate.
    CertificateSha256,
    "openssl x509 -in CERT -noout -fingerprint -sha256 prints that of a certificate"
}

digest! {
    /// SHA-256 of a public key (SubjectPublicKeyInfo).
    KeySha256,
    "openssl x509 -in CERT -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 prints \
     that of a key"
}

/// Hexadecimal, with or without colons, or base64.
fn sha256(text: &str) -> Option<[u8; 32]> {
    let found = hexadecimal(text).or_else(|| STANDARD.decode(text).ok());
    found.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<_> = text.chars().filter(|c| *c != ':').collect();
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some((high.to_digit(16)? * 16 + low.to_digit(16)?) as u8),
            _ => None,
        })
        .collect()
}
