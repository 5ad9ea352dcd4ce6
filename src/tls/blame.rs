//! From rustls' errors to reasons: who broke what, in the words of the log.

use rustls::{
    AlertDescription as Alert, CertificateError, Error, InvalidMessage, PeerIncompatible,
};

use super::trust::NotPinned;
use crate::outcome::Reason;

/// A fatal alert as a plain record (RFC 8446 sections 5.1 and 6). Before the ServerHello nothing is
/// encrypted yet, and rustls offers no way to send an alert of our choice.
pub fn alert_record(alert: Alert) -> Vec<u8> {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    vec![ALERT, 3, 3, 0, 2, FATAL, alert.into()]
}

/// An error of rustls for people.
pub fn words(error: &Error) -> String {
    match error {
        // Only our own rules end in this one.
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            "no rule of `allow` admits the certificate".to_owned()
        }
        error => error.to_string(),
    }
}

/// Why a handshake with a client failed.
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

/// Why a handshake with an origin failed.
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

/// The alerts by which a peer says that it does not like the certificate that it was shown, or
/// (`certificate_required`, `access_denied`) that it was shown none it could accept.
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
