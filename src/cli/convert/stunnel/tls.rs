//! Versions, suites and groups of a service.

use super::lines::Line;
use crate::tls::suites::SUITES;

/// A version that Reseal speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V12,
    V13,
}

impl Version {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        }
    }
}

/// What the options about TLS say.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsOptions {
    pub(super) oldest: Option<Version>,
    pub(super) newest: Option<Version>,
    pub(super) suites: Vec<&'static str>,
    pub(super) groups: Vec<&'static str>,
}

/// Why an option has no counterpart, or only a part of it has one.
#[derive(Debug)]
pub(super) struct NoCounterpart {
    pub(super) why: String,
    /// Whether the service is not to be had without it.
    pub(super) blocks: bool,
}

impl NoCounterpart {
    fn left_out(why: impl Into<String>) -> Result<(), Self> {
        let why = why.into();
        Err(Self { why, blocks: false })
    }
}

impl TlsOptions {
    pub(super) fn read(&mut self, line: &Line) -> Result<(), NoCounterpart> {
        match line.key.as_str() {
            "ciphers" | "ciphersuites" => self.read_suites(&line.value),
            "curve" | "curves" => self.read_groups(&line.value),
            "options" => self.read_openssl_option(&line.value),
            key => self.read_version(key, &line.value),
        }
    }

    fn read_version(&mut self, key: &str, value: &str) -> Result<(), NoCounterpart> {
        let version = match value.to_ascii_lowercase().as_str() {
            "tlsv1.2" => Version::V12,
            "tlsv1.3" => Version::V13,
            "all" => return Ok(()),
            "sslv2" | "sslv3" | "tlsv1" | "tlsv1.1" if key == "sslversionmin" => {
                return NoCounterpart::left_out("the oldest version is TLS 1.2");
            }
            _ => {
                return Err(NoCounterpart {
                    why: "only TLS 1.2 and 1.3 are spoken".to_owned(),
                    blocks: true,
                });
            }
        };
        if key != "sslversionmax" {
            self.oldest = Some(version);
        }
        if key != "sslversionmin" {
            self.newest = Some(version);
        }
        Ok(())
    }

    /// Suites of TLS 1.2 and those of 1.3 are two lists of OpenSSL, and one of Reseal.
    fn read_suites(&mut self, value: &str) -> Result<(), NoCounterpart> {
        let mut unknown = Vec::new();
        let names = value.split([':', ',', ' ']);
        for name in names.filter(|name| !name.is_empty()) {
            let mut all = SUITES.iter();
            match all.find(|suite| suite.openssl.eq_ignore_ascii_case(name)) {
                Some(suite) if self.suites.contains(&suite.iana) => {}
                Some(suite) => self.suites.push(suite.iana),
                None => unknown.push(name),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        let unknown = unknown.join(", ");
        NoCounterpart::left_out(format!(
            "without {unknown}: Reseal has the suites of TLS 1.3, and ECDHE with an AEAD"
        ))
    }

    fn read_groups(&mut self, value: &str) -> Result<(), NoCounterpart> {
        const GROUPS: [(&str, &str); 8] = [
            ("x25519mlkem768", "X25519MLKEM768"),
            ("x25519", "X25519"),
            ("p-256", "secp256r1"),
            ("prime256v1", "secp256r1"),
            ("secp256r1", "secp256r1"),
            ("p-384", "secp384r1"),
            ("secp384r1", "secp384r1"),
            ("auto", ""),
        ];
        let mut unknown = Vec::new();
        for name in value.split([':', ',']).map(str::trim) {
            let lower = name.to_ascii_lowercase();
            match GROUPS.iter().find(|(openssl, _)| *openssl == lower) {
                Some((_, group)) if group.is_empty() || self.groups.contains(group) => {}
                Some((_, group)) => self.groups.push(group),
                None => unknown.push(name),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        NoCounterpart::left_out(format!("without {}", unknown.join(", ")))
    }

    fn read_openssl_option(&mut self, value: &str) -> Result<(), NoCounterpart> {
        // What is always so: no old versions, no compression, no renegotiation, fresh key shares.
        const HOLDS: [&str; 13] = [
            "ALL",
            "CIPHER_SERVER_PREFERENCE",
            "DONT_INSERT_EMPTY_FRAGMENTS",
            "NO_COMPRESSION",
            "NO_RENEGOTIATION",
            "NO_SESSION_RESUMPTION_ON_RENEGOTIATION",
            "NO_SSLV2",
            "NO_SSLV3",
            "NO_TLSV1",
            "NO_TLSV1.1",
            "NO_TLSV1_1",
            "SINGLE_DH_USE",
            "SINGLE_ECDH_USE",
        ];
        match value.to_ascii_uppercase().as_str() {
            "NO_TLSV1.2" | "NO_TLSV1_2" => self.oldest = Some(Version::V13),
            "NO_TLSV1.3" | "NO_TLSV1_3" => self.newest = Some(Version::V12),
            value if HOLDS.contains(&value) => {}
            value if value.starts_with("-NO_") => {
                return NoCounterpart::left_out(
                    "TLS 1.2 and 1.3 are on by default, and there are no older versions",
                );
            }
            _ => return NoCounterpart::left_out("options of OpenSSL have no counterpart"),
        }
        Ok(())
    }
}
