//! TLS on both legs: reading the ClientHello, the two handshakes, and the policy they apply.
//!
//! Works on a [`Leg`](crate::leg::Leg)'s socket and yields its seal. Knows nothing of routes, of the
//! configuration file or of deadlines: names and policies come in as finished values, a caller bounds
//! the time.

pub mod blame;
pub mod certificates;
pub mod client_auth;
pub mod client_side;
pub mod facts;
mod handshake;
pub mod hello;
pub mod material;
pub mod server_side;
pub mod trust;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite};
use rustls::{AlertDescription, SupportedCipherSuite, SupportedProtocolVersion, version};

/// The alert for a server name that is not served (RFC 6066 section 3), spelled as the RFC does.
pub const UNRECOGNIZED_NAME: AlertDescription = AlertDescription::UnrecognisedName;

/// TLS 1.3 and the ECDHE suites of TLS 1.2 with an AEAD, AES-128-GCM first: with the AES
/// instructions of any current processor it is the fastest, and none of the others is stronger in
/// practice.
static AES_FIRST: [SupportedCipherSuite; 9] = [
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// For clients that put ChaCha20 first because they have no AES instructions.
static CHACHA_FIRST: [SupportedCipherSuite; 9] = [
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
];

fn provider(suites: &[SupportedCipherSuite]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: suites.to_vec(),
        ..aws_lc_rs::default_provider()
    })
}

static TLS12: &[&SupportedProtocolVersion] = &[&version::TLS12];
static TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];
static BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

/// The TLS versions that a policy allows; at least one, by construction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.2 alone.
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
    /// Both.
    Both,
}

impl Versions {
    fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => TLS12,
            Self::Tls13 => TLS13,
            Self::Both => BOTH,
        }
    }
}

/// Draws the first random bytes. AWS-LC seeds itself then, for tens of milliseconds, and no client
/// should wait for that.
pub fn seed_randomness() -> Result<(), rustls::crypto::GetRandomFailed> {
    aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut [0; 32])
}
