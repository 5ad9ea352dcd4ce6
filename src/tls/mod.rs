//! TLS on both transports: reading the ClientHello, the two handshakes, and the policy they apply.
//!
//! Works on a [`Transport`](crate::transport::Transport)'s socket and yields its seal. Knows nothing of routes, of the
//! configuration file or of deadlines: names and policies come in as finished values, a caller bounds
//! the time.

pub mod acceptor;
pub mod certificates;
pub mod classify;
pub mod connector;
mod der;
mod digest;
mod early_data;
pub mod handshake;
pub mod handshake_notes;
pub mod hello;
mod hello_message;
pub mod info;
pub mod material;
mod ocsp;
pub mod openssl_names;
mod origin_sessions;
pub mod pair;
mod presented_chain;
mod second_hello;
pub mod sessions;
pub mod usage;
pub mod validity;
pub mod verify;
pub mod words;
mod wrapped_suites;

use std::sync::{Arc, LazyLock};

use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms};
use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion,
    version,
};

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

/// The key exchange groups that we speak, the hybrid with ML-KEM first: recorded traffic is to stay
/// secret when there are quantum computers.
static GROUPS: [&dyn SupportedKxGroup; 4] = [
    kx_group::X25519MLKEM768,
    kx_group::X25519,
    kx_group::SECP256R1,
    kx_group::SECP384R1,
];

/// What certificates, revocation lists and handshakes may be signed with.
static SIGNATURES: LazyLock<WebPkiSupportedAlgorithms> =
    LazyLock::new(|| aws_lc_rs::default_provider().signature_verification_algorithms);

fn provider(suites: &[SupportedCipherSuite]) -> Arc<CryptoProvider> {
    provider_of(suites, &[])
}

/// A provider of these suites and groups, in this order; no groups are the default ones.
fn provider_of(suites: &[SupportedCipherSuite], groups: &[NamedGroup]) -> Arc<CryptoProvider> {
    let chosen = groups
        .iter()
        .filter_map(|name| GROUPS.iter().find(|group| group.name() == *name));
    Arc::new(CryptoProvider {
        cipher_suites: suites.to_vec(),
        kx_groups: if groups.is_empty() {
            GROUPS.to_vec()
        } else {
            chosen.copied().collect()
        },
        ..aws_lc_rs::default_provider()
    })
}

/// Suites by their names, in the order given; those that we do not speak are left out.
fn suites(names: &[CipherSuite]) -> Vec<SupportedCipherSuite> {
    let known = |name: &CipherSuite| AES_FIRST.iter().find(|suite| suite.suite() == *name);
    names.iter().filter_map(known).copied().collect()
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

/// This moment in seconds of unix time, in which certificates and lists count.
pub fn unix_now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}
