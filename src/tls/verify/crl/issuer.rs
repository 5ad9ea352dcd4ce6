//! The issuer of a certificate, which signs its list.

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The issuer of a certificate that is checked.
pub(super) struct Issuer<'a> {
    pub(super) key: SubjectPublicKeyInfoDer<'a>,
    /// `None` for a trust anchor, of which only name, key and key identifier are known.
    pub(super) certificate: Option<CertificateDer<'a>>,
    /// Its subject key identifier.
    pub(super) key_id: Option<&'a [u8]>,
}

impl Issuer<'_> {
    pub(super) fn may_sign_lists(&self) -> bool {
        self.certificate.as_ref().is_none_or(may_sign_lists)
    }
}

/// Whether a CA's key usage, if it has one, includes CRL signing.
fn may_sign_lists(authority: &CertificateDer<'_>) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(authority) else {
        return false;
    };
    let usage = parsed.key_usage();
    usage.is_ok_and(|usage| usage.is_none_or(|usage| usage.value.crl_sign()))
}
