//! Every variant of the libraries' errors has a readable message.

mod certificates;
mod protocol;

use std::sync::Arc;
use std::time::Duration;

use rustls::{
    AlertDescription as A, CertRevocationListError as L, CertificateError as C, ContentType, Error,
    ExtendedKeyPurpose, HandshakeType, InconsistentKeys, InvalidMessage as M, OtherError,
    PeerIncompatible as I, PeerMisbehaved as P,
};

use self::certificates::{of_certificates, of_webpki};
use self::protocol::{of_ourselves, of_peers};
use super::*;

/// ecdsa-with-SHA256, and an unregistered identifier, as in an AlgorithmIdentifier.
const ECDSA: &[u8] = &[6, 8, 42, 134, 72, 206, 61, 4, 3, 2];

const UNKNOWN: &[u8] = &[6, 4, 42, 134, 72, 1];

fn at() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000))
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> OtherError {
    OtherError(Arc::new(error))
}

/// What gives away a debug form: brackets, and names in camel case.
fn is_in_words(text: &str) -> bool {
    // The RFC's own name of a message.
    let text = text
        .replace("ClientHello", "hello")
        .replace("basicConstraints", "");
    let pairs = text.as_bytes().windows(2);
    let is_camel = |pair: &[u8]| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase();
    let looks_technical = text.contains(['{', '}', '[', ']', '"']) || text.contains("Other(");
    !text.trim().is_empty() && !looks_technical && !pairs.clone().any(is_camel)
}

#[test]
fn every_error_of_the_libraries_has_a_readable_message() {
    let all = [of_peers(), of_certificates(), of_ourselves()].concat();
    for error in all {
        let text = tls(&error);
        assert!(is_in_words(&text), "{error:?}: {text}");
    }
    for error in of_webpki() {
        let text = webpki(&error);
        assert!(is_in_words(&text), "{error:?}: {text}");
    }
}

#[test]
fn messages_contain_the_details_of_an_error() {
    for (error, words) in [
        (Error::AlertReceived(A::UnknownCA), "unknown_ca"),
        (
            Error::AlertReceived(A::UnknownPSKIdentity),
            "unknown_psk_identity",
        ),
        (
            P::SelectedUnofferedCipherSuite.into(),
            "selected unoffered cipher suite",
        ),
        (
            M::MissingData("ClientHelloPayload").into(),
            "client hello payload is cut short",
        ),
        (
            C::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: ECDSA.to_vec(),
                supported_algorithms: vec![],
            }
            .into(),
            "SHA256",
        ),
        (
            C::ExpiredContext {
                time: at(),
                not_after: at(),
            }
            .into(),
            "2027",
        ),
        (
            C::NotValidForNameContext {
                expected: "a.test".try_into().unwrap(),
                presented: vec!["DnsName(\"b.test\")".to_owned()],
            }
            .into(),
            "not for a.test, but for b.test",
        ),
        (
            super::super::classify::from_webpki(::webpki::Error::RequiredEkuNotFoundContext(
                ::webpki::RequiredEkuNotFoundContext {
                    required: ::webpki::KeyUsage::client_auth(),
                    present: vec![vec![1, 3, 6, 1, 5, 5, 7, 3, 1]],
                },
            )),
            "client authentication: its extended key usage allows server authentication",
        ),
    ] {
        let text = tls(&error);
        assert!(text.contains(words), "{text}");
    }
}
