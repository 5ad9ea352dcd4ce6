//! What the configuration says: where something is fetched from, and who must have signed it. Immutable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use rustls::pki_types::CertificateDer;

use crate::state::Kept;
use crate::tls::digest;
use crate::tls::verify::authorities::Authorities;

/// Something that is fetched from one URL, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is fetched from.
    pub url: String,
    /// Which addresses the URL's host may have.
    pub reach: Reach,
    /// How often it is fetched, at least.
    pub every: Duration,
    /// The file that keeps it.
    pub file: PathBuf,
    /// What it must be.
    pub wanted: Wanted,
}

/// Which addresses a host may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Any: an operator has written the URL.
    Any,
    /// Those of the public internet: a certificate names the URL, and its author must not choose which
    /// machine of this network gets a request.
    Public,
}

/// What a source must bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Revocation lists.
    Lists(Lists),
    /// The status of a certificate of ours.
    Staple(Staple),
}

/// Revocation lists, and who must have signed them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    /// The CAs of each policy that uses the lists: the CAs of one must have signed all of them.
    pub signers: Vec<Arc<Authorities>>,
    /// The CAs of servers of `https`; absent: the public ones, and those of the policies.
    pub servers: Option<Arc<Authorities>>,
}

/// A certificate whose status is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    /// The certificate.
    pub leaf: CertificateDer<'static>,
    /// The one that has signed it.
    pub issuer: CertificateDer<'static>,
}

impl Kept for Source {
    fn file(&self) -> &Path {
        &self.file
    }
}

impl Wanted {
    /// Its word in logs, metrics and answers.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Lists(_) => "crl",
            Self::Staple(_) => "ocsp",
        }
    }
}

impl Source {
    /// The port that it is fetched from.
    pub fn port(&self) -> u16 {
        let uri: Option<Uri> = self.url.parse().ok();
        let port = uri.as_ref().and_then(Uri::port_u16);
        let usual = match self.url.starts_with("https:") {
            true => 443,
            false => 80,
        };
        port.unwrap_or(usual)
    }

    /// The directory of its file.
    pub fn state(&self) -> &Path {
        self.file.parent().unwrap_or_else(|| Path::new("."))
    }

    /// A file of a directory. Its name tells an operator what it is about; the digest is of what tells it
    /// from others.
    pub fn file_in(directory: &Path, about: &str, of: &[u8], extension: &str) -> PathBuf {
        const SHOWN_MAX: usize = 100;
        let shown: String = about.chars().take(SHOWN_MAX).collect();
        let shown = shown.replace(
            |c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-',
            "_",
        );
        let mut digits = String::new();
        for byte in &digest::sha256(of)[..8] {
            digits.push_str(&format!("{byte:02x}"));
        }
        directory.join(format!("{shown}-{digits}.{extension}"))
    }
}
