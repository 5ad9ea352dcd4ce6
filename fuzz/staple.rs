//! An OCSP response is stapled to a certificate only if it names that certificate. Shared by the fuzz
//! target and the test of its corpus.

use reseal::internals::ocsp::{self, Status, Subject};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

const CA: &[u8] = include_bytes!("material/ca.der");
const LEAVES: [&[u8]; 2] = [
    include_bytes!("material/leaf.der"),
    include_bytes!("material/leaf-with-point.der"),
];

/// Reads a response for the certificates of `material/`; returns whether it is valid for the first.
pub fn must_be_about_the_certificate(bytes: &[u8]) -> bool {
    let issuer = CertificateDer::from(CA);
    let is_good = LEAVES.map(|leaf| {
        let (_, certificate) = X509Certificate::from_der(leaf).unwrap();
        let [named, unknown] = [Some(&issuer), None].map(|issuer| {
            let certificate = &certificate;
            ocsp::read(
                bytes,
                Subject {
                    certificate,
                    issuer,
                },
            )
        });
        let Ok(Status::Good { from, until }) = named else {
            return false;
        };
        assert_eq!(
            unknown,
            Ok(Status::Good { from, until }),
            "with less information, more is refused"
        );
        let serial = certificate.raw_serial();
        let is_named = bytes.windows(serial.len()).any(|window| window == serial);
        assert!(is_named, "the serial number is not in the response");
        true
    });
    is_good[0]
}
