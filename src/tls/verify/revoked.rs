//! The names of a certificate, by which it may be revoked.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::revoked::CertificateNames;
use crate::tls::{digest, info};

/// All names of a certificate.
pub fn names(certificate: &CertificateDer<'_>) -> CertificateNames {
    let sha256 = info::hex(&digest::sha256(certificate));
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return CertificateNames {
            sha256,
            ..CertificateNames::default()
        };
    };
    let sans = parsed.subject_alternative_name();
    let is_read = sans.is_ok();
    let sans = sans.ok().flatten();
    let sans = sans.iter().flat_map(|sans| &sans.value.general_names);
    let uris = sans.filter_map(|name| match name {
        GeneralName::URI(uri) => Some((*uri).to_owned()),
        _ => None,
    });
    let common_names = parsed.subject().iter_common_name();
    let common_names = common_names.filter_map(|name| name.as_str().ok().map(str::to_owned));
    let serial = info::hex(parsed.raw_serial());
    CertificateNames {
        serial: serial.trim_start_matches('0').to_owned(),
        sha256,
        uris: uris.collect(),
        common_names: common_names.collect(),
        is_read,
    }
}
