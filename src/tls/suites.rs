//! The cipher suites and key exchange groups that are supported: the only table of either.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{cipher_suite as suite, kx_group};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite};

/// A supported cipher suite.
#[derive(Debug)]
pub struct Suite {
    /// Its IANA name.
    pub iana: &'static str,
    /// OpenSSL's name for it.
    pub openssl: &'static str,
    /// rustls' implementation.
    pub rustls: SupportedCipherSuite,
    /// Whether its AEAD is ChaCha20-Poly1305.
    pub is_chacha: bool,
}

impl Suite {
    /// The suite of this number.
    pub fn of(number: CipherSuite) -> Option<&'static Self> {
        SUITES.iter().find(|suite| suite.rustls.suite() == number)
    }

    /// Whether it belongs to TLS 1.3.
    pub fn is_tls13(&self) -> bool {
        self.rustls.tls13().is_some()
    }

    const fn new(rustls: SupportedCipherSuite, iana: &'static str, openssl: &'static str) -> Self {
        Self {
            iana,
            openssl,
            rustls,
            is_chacha: false,
        }
    }

    const fn chacha(self) -> Self {
        Self {
            is_chacha: true,
            ..self
        }
    }
}

/// TLS 1.3 and the ECDHE suites of TLS 1.2 with an AEAD. AES-128-GCM is first: on any current processor
/// with AES instructions it is the fastest, and no other suite is stronger in practice.
pub static SUITES: [Suite; 9] = [
    Suite::new(
        suite::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_128_GCM_SHA256",
    ),
    Suite::new(
        suite::TLS13_AES_256_GCM_SHA384,
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_256_GCM_SHA384",
    ),
    Suite::new(
        suite::TLS13_CHACHA20_POLY1305_SHA256,
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
    )
    .chacha(),
    Suite::new(
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    ),
    Suite::new(
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    Suite::new(
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
    ),
    Suite::new(
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
    ),
    Suite::new(
        suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    )
    .chacha(),
    Suite::new(
        suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
    .chacha(),
];

/// Every suite, AES-128-GCM first.
pub(super) fn aes_first() -> Vec<SupportedCipherSuite> {
    SUITES.iter().map(|suite| suite.rustls).collect()
}

/// Every suite, for clients that put ChaCha20-Poly1305 first because they have no AES instructions.
pub(super) fn chacha_first() -> Vec<SupportedCipherSuite> {
    let mut suites: Vec<_> = SUITES.iter().collect();
    suites.sort_by_key(|suite| (!suite.is_tls13(), !suite.is_chacha));
    suites.iter().map(|suite| suite.rustls).collect()
}

/// The suites of TLS 1.3.
pub(super) fn tls13() -> impl Iterator<Item = &'static SupportedCipherSuite> {
    let suites = SUITES.iter().filter(|suite| suite.is_tls13());
    suites.map(|suite| &suite.rustls)
}

/// A supported key exchange group.
#[derive(Debug)]
pub struct Group {
    /// Its IANA name.
    pub iana: &'static str,
    /// Its name in the configuration.
    pub word: &'static str,
    /// rustls' implementation.
    pub rustls: &'static dyn SupportedKxGroup,
}

impl Group {
    /// The group of this number.
    pub fn of(number: NamedGroup) -> Option<&'static Self> {
        GROUPS.iter().find(|group| group.rustls.name() == number)
    }
}

/// The hybrid with ML-KEM is first: recorded traffic has to stay secret when there are quantum
/// computers.
pub static GROUPS: [Group; 4] = [
    Group {
        iana: "X25519MLKEM768",
        word: "X25519MLKEM768",
        rustls: kx_group::X25519MLKEM768,
    },
    Group {
        iana: "x25519",
        word: "X25519",
        rustls: kx_group::X25519,
    },
    Group {
        iana: "secp256r1",
        word: "secp256r1",
        rustls: kx_group::SECP256R1,
    },
    Group {
        iana: "secp384r1",
        word: "secp384r1",
        rustls: kx_group::SECP384R1,
    },
];

/// The groups of these numbers, in this order; with no number, every group.
pub(super) fn groups(numbers: &[NamedGroup]) -> Vec<&'static dyn SupportedKxGroup> {
    if numbers.is_empty() {
        return GROUPS.iter().map(|group| group.rustls).collect();
    }
    let named = numbers.iter().filter_map(|number| Group::of(*number));
    named.map(|group| group.rustls).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chacha_comes_first_within_each_version() {
        let names = |suites: Vec<SupportedCipherSuite>| -> Vec<_> {
            let suites = suites.iter().filter_map(|suite| Suite::of(suite.suite()));
            suites.map(|suite| suite.openssl).collect()
        };
        assert_eq!(
            names(chacha_first()),
            [
                "TLS_CHACHA20_POLY1305_SHA256",
                "TLS_AES_128_GCM_SHA256",
                "TLS_AES_256_GCM_SHA384",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
                "ECDHE-RSA-CHACHA20-POLY1305",
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-RSA-AES256-GCM-SHA384",
            ]
        );
        assert_eq!(
            names(aes_first()).first().copied(),
            Some("TLS_AES_128_GCM_SHA256")
        );
    }

    #[test]
    fn each_name_is_that_of_its_suite() {
        for suite in &SUITES {
            let number = format!("{:?}", suite.rustls.suite()).replace("TLS13_", "TLS_");
            assert_eq!(number, suite.iana);
            assert_eq!(suite.iana.contains("CHACHA20"), suite.is_chacha);
        }
        for group in &GROUPS {
            let number = format!("{:?}", group.rustls.name());
            assert!(number.eq_ignore_ascii_case(group.iana), "{number}");
        }
    }
}
