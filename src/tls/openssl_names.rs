//! OpenSSL's names of suites, algorithms and schemes, which PROXY headers use.

use rustls::{CipherSuite, SignatureScheme};
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

use super::suites::Suite;

/// A supported cipher suite.
pub fn cipher(suite: CipherSuite) -> Option<&'static str> {
    Suite::of(suite).map(|suite| suite.openssl)
}

/// A signature scheme. OpenSSL uses IANA's names for these.
pub const fn signature_scheme(scheme: SignatureScheme) -> Option<&'static str> {
    use SignatureScheme as S;
    Some(match scheme {
        S::RSA_PKCS1_SHA256 => "rsa_pkcs1_sha256",
        S::RSA_PKCS1_SHA384 => "rsa_pkcs1_sha384",
        S::RSA_PKCS1_SHA512 => "rsa_pkcs1_sha512",
        S::RSA_PSS_SHA256 => "rsa_pss_rsae_sha256",
        S::RSA_PSS_SHA384 => "rsa_pss_rsae_sha384",
        S::RSA_PSS_SHA512 => "rsa_pss_rsae_sha512",
        S::ECDSA_NISTP256_SHA256 => "ecdsa_secp256r1_sha256",
        S::ECDSA_NISTP384_SHA384 => "ecdsa_secp384r1_sha384",
        S::ECDSA_NISTP521_SHA512 => "ecdsa_secp521r1_sha512",
        S::ED25519 => "ed25519",
        _ => return None,
    })
}

/// The signature algorithm of a certificate.
pub fn signature_algorithm(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    let oid = certificate.signature_algorithm.algorithm.to_id_string();
    Some(match oid.as_str() {
        "1.2.840.113549.1.1.5" => "RSA-SHA1",
        "1.2.840.113549.1.1.11" => "RSA-SHA256",
        "1.2.840.113549.1.1.12" => "RSA-SHA384",
        "1.2.840.113549.1.1.13" => "RSA-SHA512",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.3.101.112" => "ED25519",
        _ => return None,
    })
}

/// The kind and size of a certificate's key, written as HAProxy does.
pub fn key_algorithm(certificate: &X509Certificate<'_>) -> Option<String> {
    let key = certificate.public_key();
    if let Ok(PublicKey::RSA(rsa)) = key.parsed() {
        return Some(format!("RSA{}", rsa.key_size()));
    }
    let curve = || {
        Some(
            key.algorithm
                .parameters
                .as_ref()?
                .as_oid()
                .ok()?
                .to_id_string(),
        )
    };
    let oid = key.algorithm.algorithm.to_id_string();
    let name = match (oid.as_str(), curve().as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => "EC256",
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => "EC384",
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => "EC521",
        ("1.3.101.112", _) => "ED25519",
        _ => return None,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
    use x509_parser::prelude::FromDer;

    use super::*;

    #[track_caller]
    fn of(algorithm: &'static SignatureAlgorithm, signature: &str, key: &str) {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        let certificate = params.self_signed(&pair).unwrap();
        let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
        assert_eq!(signature_algorithm(&parsed), Some(signature));
        assert_eq!(key_algorithm(&parsed).as_deref(), Some(key));
    }

    #[test]
    fn certificates_are_described_as_openssl_does() {
        of(&rcgen::PKCS_ECDSA_P256_SHA256, "ecdsa-with-SHA256", "EC256");
        of(&rcgen::PKCS_ECDSA_P384_SHA384, "ecdsa-with-SHA384", "EC384");
        of(&rcgen::PKCS_ECDSA_P521_SHA512, "ecdsa-with-SHA512", "EC521");
        of(&rcgen::PKCS_ED25519, "ED25519", "ED25519");
        of(&rcgen::PKCS_RSA_SHA256, "RSA-SHA256", "RSA2048");
    }
}
