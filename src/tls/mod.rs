//! TLS with clients and with origins: reading the ClientHello, both handshakes, and their policies.
//!
//! Works on the socket of a [`Transport`](crate::transport::Transport) and leaves the TLS state in it.
//! Knows nothing of routes, of the configuration file or of deadlines: names and policies come in as
//! finished values, and the caller bounds the time.

pub mod acceptor;
pub mod certificates;
mod certified_key;
pub mod classify;
pub mod connector;
mod der;
pub mod digest;
mod early_data;
pub mod foreign;
pub mod handshake;
pub mod handshake_notes;
pub mod hello;
mod hello_message;
pub mod hello_offer;
pub mod https;
pub mod info;
pub mod ja4;
pub mod listener_config;
pub mod material;
pub mod ocsp;
pub mod openssl_names;
mod origin_sessions;
pub mod pair;
pub mod pair_files;
mod presented_chain;
pub mod requests;
mod second_hello;
pub mod sessions;
pub mod suites;
mod turns;
pub mod usage;
pub mod validity;
pub mod verify;
pub mod words;
mod wrapped_suites;

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion, version,
};

/// The alert for an unknown server name (RFC 6066 section 3), spelled as in the RFC.
pub const UNRECOGNIZED_NAME: AlertDescription = AlertDescription::UnrecognisedName;

/// The alert for a client that policy does not admit (RFC 8446 section 6.2).
pub const ACCESS_DENIED: AlertDescription = AlertDescription::AccessDenied;

/// The alert for a client for whom there is no room (RFC 8446 section 6.2).
pub const INTERNAL_ERROR: AlertDescription = AlertDescription::InternalError;

/// The signature algorithms accepted in certificates, CRLs and handshakes.
static SIGNATURES: LazyLock<WebPkiSupportedAlgorithms> =
    LazyLock::new(|| aws_lc_rs::default_provider().signature_verification_algorithms);

/// A provider of these suites and groups, in this order; with no group, of every supported one.
fn provider(suites: Vec<SupportedCipherSuite>, groups: &[NamedGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: suites,
        kx_groups: suites::groups(groups),
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

/// Draws the first random bytes, which makes AWS-LC seed its generator. That takes tens of milliseconds
/// and must not delay a client.
pub fn seed_randomness() -> Result<(), rustls::crypto::GetRandomFailed> {
    aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut [0; 32])
}

/// The current time in seconds of unix time, the unit of certificates and CRLs.
pub fn unix_now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}
