//! Maps rustls' errors to reason codes.

use std::sync::Arc;

use rustls::{
    AlertDescription as Alert, CertRevocationListError, CertificateError, Error,
    ExtendedKeyPurpose, InvalidMessage, OtherError, PeerIncompatible,
};

use webpki::KeyUsage;

use super::verify::errors::NotPinned;
use crate::outcome::Reason;

/// A fatal alert as a plaintext record (RFC 8446 sections 5.1 and 6). Before the ServerHello nothing is
/// encrypted, and rustls has no API to send a chosen alert.
pub fn alert_record(alert: Alert) -> Vec<u8> {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    vec![ALERT, 3, 3, 0, 2, FATAL, alert.into()]
}

/// What rustls 0.23.46 says, without an alert, of a client of TLS 1.2 whose signature schemes have the kind
/// of our key but not its curve. Tested against that version.
const NO_SCHEME_FOR_CURVE: &str = "incompatible signing key";

/// Converts an error of webpki to rustls' type, by which rustls chooses the alert.
pub(super) fn from_webpki(error: webpki::Error) -> Error {
    use CertificateError as C;
    use webpki::Error as W;
    let certificate = match error {
        W::BadDer | W::BadDerTime | W::TrailingData(_) => C::BadEncoding,
        W::CertNotValidYet { time, not_before } => C::NotValidYetContext { time, not_before },
        W::CertExpired { time, not_after } => C::ExpiredContext { time, not_after },
        W::InvalidCertValidity => C::Expired,
        W::UnknownIssuer => C::UnknownIssuer,
        W::CertNotValidForName(context) => C::NotValidForNameContext {
            expected: context.expected,
            presented: context.presented,
        },
        W::CertRevoked => C::Revoked,
        W::UnknownRevocationStatus => C::UnknownRevocationStatus,
        W::CrlExpired { time, next_update } => {
            C::ExpiredRevocationListContext { time, next_update }
        }
        W::InvalidSignatureForPublicKey => C::BadSignature,
        W::UnsupportedSignatureAlgorithmContext(context) => {
            C::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: context.signature_algorithm_id,
                supported_algorithms: context.supported_algorithms,
            }
        }
        W::UnsupportedSignatureAlgorithmForPublicKeyContext(context) => {
            C::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: context.signature_algorithm_id,
                public_key_algorithm_id: context.public_key_algorithm_id,
            }
        }
        W::RequiredEkuNotFoundContext(context) => C::InvalidPurposeContext {
            required: purpose(context.required.oid_values().collect()),
            presented: context.present.into_iter().map(purpose).collect(),
        },
        W::IssuerNotCrlSigner => {
            return Error::InvalidCertRevocationList(CertRevocationListError::IssuerInvalidForCrl);
        }
        W::UnsupportedCrlSignatureAlgorithmContext(context) => {
            return Error::InvalidCertRevocationList(
                CertRevocationListError::UnsupportedSignatureAlgorithmContext {
                    signature_algorithm_id: context.signature_algorithm_id,
                    supported_algorithms: context.supported_algorithms,
                },
            );
        }
        W::InvalidCrlSignatureForPublicKey => {
            return Error::InvalidCertRevocationList(CertRevocationListError::BadSignature);
        }
        other => C::Other(OtherError(Arc::new(other))),
    };
    Error::InvalidCertificate(certificate)
}

fn purpose(numbers: Vec<usize>) -> ExtendedKeyPurpose {
    match numbers.as_slice() {
        KeyUsage::CLIENT_AUTH_REPR => ExtendedKeyPurpose::ClientAuth,
        KeyUsage::SERVER_AUTH_REPR => ExtendedKeyPurpose::ServerAuth,
        _ => ExtendedKeyPurpose::Other(numbers),
    }
}

/// The reason why a handshake with a client failed.
pub fn client(error: &Error) -> Reason {
    use PeerIncompatible as P;
    match error {
        Error::NoCertificatesPresented => Reason::ClientCertMissing,
        Error::InvalidCertificate(error) => client_certificate(error),
        Error::InvalidCertRevocationList(_) => Reason::CrlInvalid,
        Error::NoApplicationProtocol => Reason::NoCommonAlpn,
        Error::PeerIncompatible(P::NoCipherSuitesInCommon) => Reason::NoCommonCipher,
        Error::PeerIncompatible(
            P::NoKxGroupsInCommon | P::KeyShareExtensionRequired | P::NamedGroupsExtensionRequired,
        ) => Reason::NoCommonGroup,
        Error::PeerIncompatible(P::NoSignatureSchemesInCommon) => Reason::NoCommonSignature,
        Error::General(what) if what == NO_SCHEME_FOR_CURVE => Reason::NoCommonSignature,
        Error::PeerIncompatible(
            P::Tls12NotOffered
            | P::Tls12NotOfferedOrEnabled
            | P::SupportedVersionsExtensionRequired
            | P::SignatureAlgorithmsExtensionRequired,
        ) => Reason::NoCommonVersion,
        Error::AlertReceived(alert) if is_about_certificate(*alert) => {
            Reason::ClientRejectedCertificate
        }
        _ => Reason::ClientTlsError,
    }
}

fn client_certificate(error: &CertificateError) -> Reason {
    use CertificateError as C;
    match error {
        C::Expired | C::ExpiredContext { .. } => Reason::ClientCertExpired,
        C::NotValidYet | C::NotValidYetContext { .. } => Reason::ClientCertNotYetValid,
        C::UnknownIssuer => Reason::ClientCertUnknownCa,
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => Reason::ClientCertWrongUsage,
        C::Revoked => Reason::ClientCertRevoked,
        C::UnknownRevocationStatus => Reason::ClientCertCrlUnknown,
        C::ExpiredRevocationList | C::ExpiredRevocationListContext { .. } => {
            Reason::ClientCertCrlExpired
        }
        C::ApplicationVerificationFailure => Reason::ClientCertNotAllowed,
        _ => Reason::ClientCertInvalid,
    }
}

/// The reason why a handshake with an origin failed.
pub fn origin(error: &Error) -> Reason {
    match error {
        Error::InvalidCertificate(error) => origin_certificate(error),
        Error::InvalidCertRevocationList(_) => Reason::CrlInvalid,
        Error::NoApplicationProtocol => Reason::OriginAlpn,
        Error::AlertReceived(Alert::NoApplicationProtocol) => Reason::OriginAlpn,
        Error::AlertReceived(alert) if is_about_certificate(*alert) => {
            Reason::OriginRejectedCertificate
        }
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => Reason::OriginNotTls,
        _ => Reason::OriginTlsError,
    }
}

fn origin_certificate(error: &CertificateError) -> Reason {
    use CertificateError as C;
    match error {
        C::Expired | C::ExpiredContext { .. } | C::NotValidYet | C::NotValidYetContext { .. } => {
            Reason::OriginTlsExpired
        }
        C::NotValidForName
        | C::NotValidForNameContext { .. }
        | C::ApplicationVerificationFailure => Reason::OriginTlsName,
        C::Revoked
        | C::UnknownRevocationStatus
        | C::ExpiredRevocationList
        | C::ExpiredRevocationListContext { .. } => Reason::OriginTlsRevoked,
        error if NotPinned::is(error) => Reason::OriginTlsPin,
        _ => Reason::OriginTlsUntrusted,
    }
}

/// Whether a peer sends this alert because it rejects our certificate, or (`certificate_required`,
/// `access_denied`) because it got none that it accepts.
const fn is_about_certificate(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired
            | Alert::NoCertificate
    )
}
