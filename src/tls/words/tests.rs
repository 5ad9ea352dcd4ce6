//! Every variant of the libraries' errors has a readable message.

use std::sync::Arc;
use std::time::Duration;

use rustls::{
    AlertDescription as A, CertRevocationListError as L, CertificateError as C, ContentType, Error,
    ExtendedKeyPurpose, HandshakeType, InconsistentKeys, InvalidMessage as M, OtherError,
    PeerIncompatible as I, PeerMisbehaved as P,
};

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

#[allow(deprecated)]
fn of_webpki() -> Vec<::webpki::Error> {
    use ::webpki::{
        DerTypeId, Error as W, InvalidNameContext, RequiredEkuNotFoundContext,
        UnsupportedSignatureAlgorithmContext, UnsupportedSignatureAlgorithmForPublicKeyContext,
    };
    let algorithm = || UnsupportedSignatureAlgorithmContext {
        signature_algorithm_id: ECDSA.to_vec(),
        supported_algorithms: vec![],
    };
    let key = || UnsupportedSignatureAlgorithmForPublicKeyContext {
        signature_algorithm_id: ECDSA.to_vec(),
        public_key_algorithm_id: UNKNOWN.to_vec(),
    };
    let mut all = vec![
        W::BadDer,
        W::BadDerTime,
        W::CaUsedAsEndEntity,
        W::CertDistrusted,
        W::CertRevoked,
        W::EmptyEkuExtension,
        W::EndEntityUsedAsCa,
        W::ExtensionValueInvalid,
        W::InvalidCertValidity,
        W::InvalidCrlNumber,
        W::InvalidNetworkMaskConstraint,
        W::InvalidSerialNumber,
        W::InvalidCrlSignatureForPublicKey,
        W::InvalidSignatureForPublicKey,
        W::IssuerNotCrlSigner,
        W::MalformedDnsIdentifier,
        W::MalformedExtensions,
        W::MalformedNameConstraint,
        W::MaximumNameConstraintComparisonsExceeded,
        W::MaximumPathBuildCallsExceeded,
        W::MaximumPathDepthExceeded,
        W::MaximumSignatureChecksExceeded,
        W::NameConstraintViolation,
        W::PathLenConstraintViolated,
        W::RequiredEkuNotFound,
        W::SignatureAlgorithmMismatch,
        W::UnknownIssuer,
        W::UnknownRevocationStatus,
        W::UnsupportedCertVersion,
        W::UnsupportedCriticalExtension,
        W::UnsupportedCrlIssuingDistributionPoint,
        W::UnsupportedCrlVersion,
        W::UnsupportedDeltaCrl,
        W::UnsupportedIndirectCrl,
        W::UnsupportedNameType,
        W::UnsupportedRevocationReason,
        W::UnsupportedRevocationReasonsPartitioning,
        W::UnsupportedCrlSignatureAlgorithm,
        W::UnsupportedSignatureAlgorithm,
        W::UnsupportedCrlSignatureAlgorithmForPublicKey,
        W::UnsupportedSignatureAlgorithmForPublicKey,
        W::CertExpired {
            time: at(),
            not_after: at(),
        },
        W::CertNotValidYet {
            time: at(),
            not_before: at(),
        },
        W::CrlExpired {
            time: at(),
            next_update: at(),
        },
        W::CertNotValidForName(InvalidNameContext {
            expected: "a.test".try_into().unwrap(),
            presented: vec!["DnsName(\"b.test\")".to_owned()],
        }),
        W::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
            required: ::webpki::KeyUsage::client_auth(),
            present: vec![vec![2, 5, 29, 37, 0], vec![1, 2, 3]],
        }),
        W::UnsupportedCrlSignatureAlgorithmContext(algorithm()),
        W::UnsupportedSignatureAlgorithmContext(algorithm()),
        W::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(key()),
        W::UnsupportedSignatureAlgorithmForPublicKeyContext(key()),
    ];
    all.extend(
        [
            DerTypeId::BitString,
            DerTypeId::Bool,
            DerTypeId::Certificate,
            DerTypeId::CertificateExtensions,
            DerTypeId::CertificateTbsCertificate,
            DerTypeId::CertRevocationList,
            DerTypeId::CertRevocationListExtension,
            DerTypeId::CrlDistributionPoint,
            DerTypeId::CommonNameInner,
            DerTypeId::CommonNameOuter,
            DerTypeId::DistributionPointName,
            DerTypeId::Extension,
            DerTypeId::GeneralName,
            DerTypeId::RevocationReason,
            DerTypeId::Signature,
            DerTypeId::SignatureAlgorithm,
            DerTypeId::SignedData,
            DerTypeId::SubjectPublicKeyInfo,
            DerTypeId::Time,
            DerTypeId::TrustAnchorV1,
            DerTypeId::TrustAnchorV1TbsCertificate,
            DerTypeId::U8,
            DerTypeId::RevokedCertificate,
            DerTypeId::RevokedCertificateExtension,
            DerTypeId::RevokedCertEntry,
            DerTypeId::IssuingDistributionPoint,
        ]
        .map(W::TrailingData),
    );
    all
}

fn of_peers() -> Vec<Error> {
    let mut all: Vec<Error> = vec![];
    all.extend(
        [
            M::CertificatePayloadTooLarge,
            M::HandshakePayloadTooLarge,
            M::InvalidCcs,
            M::InvalidContentType,
            M::InvalidCertificateStatusType,
            M::InvalidCertRequest,
            M::InvalidDhParams,
            M::InvalidEmptyPayload,
            M::InvalidKeyUpdate,
            M::InvalidServerName,
            M::MessageTooLarge,
            M::MessageTooShort,
            M::MissingKeyExchange,
            M::NoSignatureSchemes,
            M::UnknownProtocolVersion,
            M::UnsupportedCompression,
            M::UnsupportedCurveType,
            M::EmptyTicketValue,
            M::IllegalEmptyValue,
            M::PreSharedKeyIsNotFinalExtension,
            M::UnknownHelloRetryRequestExtension,
            M::UnknownCertificateExtension,
            M::MissingData("ClientHelloPayload"),
            M::TrailingData("CertificatePayloadTls13"),
            M::UnexpectedMessage("ServerHelloDone"),
            M::UnsupportedKeyExchangeAlgorithm(rustls::crypto::KeyExchangeAlgorithm::DHE),
            M::IllegalEmptyList("ProtocolNames"),
            M::DuplicateExtension(51),
        ]
        .map(Error::from),
    );
    all.extend(
        [
            P::AttemptedDowngradeToTls12WhenTls13IsSupported,
            P::BadCertChainExtensions,
            P::CipherSuiteDifferedOnRetry,
            P::DisallowedEncryptedExtension,
            P::DuplicateClientHelloExtensions,
            P::DuplicateEncryptedExtensions,
            P::DuplicateHelloRetryRequestExtensions,
            P::DuplicateNewSessionTicketExtensions,
            P::DuplicateServerHelloExtensions,
            P::DuplicateServerNameTypes,
            P::EarlyDataAttemptedInSecondClientHello,
            P::EarlyDataExtensionWithoutResumption,
            P::EarlyDataOfferedWithVariedCipherSuite,
            P::EchAcceptanceVariedAfterRetry,
            P::HandshakeHashVariedAfterRetry,
            P::IllegalHelloRetryRequestWithEmptyCookie,
            P::IllegalHelloRetryRequestWithNoChanges,
            P::IllegalHelloRetryRequestWithOfferedGroup,
            P::IllegalHelloRetryRequestWithUnofferedCipherSuite,
            P::IllegalHelloRetryRequestWithUnofferedNamedGroup,
            P::IllegalHelloRetryRequestWithUnsupportedVersion,
            P::IllegalHelloRetryRequestWithWrongSessionId,
            P::IllegalHelloRetryRequestWithInvalidEch,
            P::IllegalMiddleboxChangeCipherSpec,
            P::IllegalTlsInnerPlaintext,
            P::IncorrectBinder,
            P::InvalidCertCompression,
            P::InvalidMaxEarlyDataSize,
            P::InvalidKeyShare,
            P::KeyEpochWithPendingFragment,
            P::KeyUpdateReceivedInQuicConnection,
            P::MessageInterleavedWithHandshakeMessage,
            P::MissingBinderInPskExtension,
            P::MissingKeyShare,
            P::MissingPskExtensionInSecondClientHello,
            P::MissingPskModesExtension,
            P::MissingQuicTransportParameters,
            P::OfferedDuplicateCertificateCompressions,
            P::OfferedDuplicateKeyShares,
            P::OfferedEarlyDataWithOldProtocolVersion,
            P::OfferedEmptyApplicationProtocol,
            P::OfferedIncorrectCompressions,
            P::PskExtensionMustBeLast,
            P::PskExtensionWithMismatchedIdsAndBinders,
            P::RefusedToFollowHelloRetryRequest,
            P::RejectedEarlyDataInterleavedWithHandshakeMessage,
            P::ResumptionAttemptedWithVariedEms,
            P::ResumptionOfferedWithVariedCipherSuite,
            P::ResumptionOfferedWithVariedEms,
            P::ResumptionOfferedWithIncompatibleCipherSuite,
            P::SelectedDifferentCipherSuiteAfterRetry,
            P::SelectedInvalidPsk,
            P::SelectedTls12UsingTls13VersionExtension,
            P::SelectedUnofferedApplicationProtocol,
            P::SelectedUnofferedCertCompression,
            P::SelectedUnofferedCipherSuite,
            P::SelectedUnofferedCompression,
            P::SelectedUnofferedKxGroup,
            P::SelectedUnofferedPsk,
            P::SelectedUnusableCipherSuiteForVersion,
            P::ServerEchoedCompatibilitySessionId,
            P::ServerHelloMustOfferUncompressedEcPoints,
            P::ServerNameDifferedOnRetry,
            P::ServerNameMustContainOneHostName,
            P::SignedKxWithWrongAlgorithm,
            P::SignedHandshakeWithUnadvertisedSigScheme,
            P::TooManyEmptyFragments,
            P::TooManyKeyUpdateRequests,
            P::TooManyRenegotiationRequests,
            P::TooManyWarningAlertsReceived,
            P::TooMuchEarlyDataReceived,
            P::UnexpectedCleartextExtension,
            P::UnsolicitedCertExtension,
            P::UnsolicitedEncryptedExtension,
            P::UnsolicitedSctList,
            P::UnsolicitedServerHelloExtension,
            P::WrongGroupForKeyShare,
            P::UnsolicitedEchExtension,
        ]
        .map(Error::from),
    );
    all.extend(
        [
            I::EcPointsExtensionRequired,
            I::ExtendedMasterSecretExtensionRequired,
            I::IncorrectCertificateTypeExtension,
            I::KeyShareExtensionRequired,
            I::NamedGroupsExtensionRequired,
            I::NoCertificateRequestSignatureSchemesInCommon,
            I::NoCipherSuitesInCommon,
            I::NoEcPointFormatsInCommon,
            I::NoKxGroupsInCommon,
            I::NoSignatureSchemesInCommon,
            I::NullCompressionRequired,
            I::ServerDoesNotSupportTls12Or13,
            I::ServerSentHelloRetryRequestWithUnknownExtension,
            I::ServerTlsVersionIsDisabledByOurConfig,
            I::SignatureAlgorithmsExtensionRequired,
            I::SupportedVersionsExtensionRequired,
            I::Tls12NotOffered,
            I::Tls12NotOfferedOrEnabled,
            I::Tls13RequiredForQuic,
            I::UncompressedEcPointsRequired,
            I::UnsolicitedCertificateTypeExtension,
            I::ServerRejectedEncryptedClientHello(None),
        ]
        .map(Error::from),
    );
    all.extend(
        [
            A::CloseNotify,
            A::UnexpectedMessage,
            A::BadRecordMac,
            A::DecryptionFailed,
            A::RecordOverflow,
            A::DecompressionFailure,
            A::HandshakeFailure,
            A::NoCertificate,
            A::BadCertificate,
            A::UnsupportedCertificate,
            A::CertificateRevoked,
            A::CertificateExpired,
            A::CertificateUnknown,
            A::IllegalParameter,
            A::UnknownCA,
            A::AccessDenied,
            A::DecodeError,
            A::DecryptError,
            A::ExportRestriction,
            A::ProtocolVersion,
            A::InsufficientSecurity,
            A::InternalError,
            A::InappropriateFallback,
            A::UserCanceled,
            A::NoRenegotiation,
            A::MissingExtension,
            A::UnsupportedExtension,
            A::CertificateUnobtainable,
            A::UnrecognisedName,
            A::BadCertificateStatusResponse,
            A::BadCertificateHashValue,
            A::UnknownPSKIdentity,
            A::CertificateRequired,
            A::NoApplicationProtocol,
            A::EncryptedClientHelloRequired,
            A::Unknown(200),
        ]
        .map(Error::AlertReceived),
    );
    all
}

#[allow(deprecated)]
fn of_certificates() -> Vec<Error> {
    let purposes = vec![
        ExtendedKeyPurpose::ServerAuth,
        ExtendedKeyPurpose::Other(vec![2, 5, 29, 37, 0]),
        ExtendedKeyPurpose::Other(vec![1, 2, 3]),
    ];
    let mut all: Vec<Error> = [
        C::BadEncoding,
        C::Expired,
        C::NotValidYet,
        C::Revoked,
        C::UnhandledCriticalExtension,
        C::UnknownIssuer,
        C::UnknownRevocationStatus,
        C::ExpiredRevocationList,
        C::BadSignature,
        C::UnsupportedSignatureAlgorithm,
        C::NotValidForName,
        C::InvalidPurpose,
        C::InvalidOcspResponse,
        C::ApplicationVerificationFailure,
        C::ExpiredContext {
            time: at(),
            not_after: at(),
        },
        C::NotValidYetContext {
            time: at(),
            not_before: at(),
        },
        C::ExpiredRevocationListContext {
            time: at(),
            next_update: at(),
        },
        C::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: ECDSA.to_vec(),
            supported_algorithms: vec![],
        },
        C::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: UNKNOWN.to_vec(),
            public_key_algorithm_id: b"junk".to_vec(),
        },
        C::NotValidForNameContext {
            expected: "a.test".try_into().unwrap(),
            presented: vec![
                "DnsName(\"b.test\")".to_owned(),
                "IpAddress(10.0.0.1)".to_owned(),
            ],
        },
        C::InvalidPurposeContext {
            required: ExtendedKeyPurpose::ClientAuth,
            presented: purposes,
        },
        C::Other(other(TooLong)),
        C::Other(other(NotPinned)),
        C::Other(other(std::fmt::Error)),
    ]
    .map(Error::from)
    .into();
    all.extend(
        [
            L::BadSignature,
            L::UnsupportedSignatureAlgorithm,
            L::InvalidCrlNumber,
            L::InvalidRevokedCertSerialNumber,
            L::IssuerInvalidForCrl,
            L::ParseError,
            L::UnsupportedCrlVersion,
            L::UnsupportedCriticalExtension,
            L::UnsupportedDeltaCrl,
            L::UnsupportedIndirectCrl,
            L::UnsupportedRevocationReason,
            L::Other(other(std::fmt::Error)),
            L::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: ECDSA.to_vec(),
                supported_algorithms: vec![],
            },
            L::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: ECDSA.to_vec(),
                public_key_algorithm_id: ECDSA.to_vec(),
            },
        ]
        .map(Error::from),
    );
    for error in of_webpki() {
        all.push(C::Other(other(error.clone())).into());
        all.push(super::super::classify::from_webpki(error));
    }
    all
}

fn of_ourselves() -> Vec<Error> {
    vec![
        Error::NoCertificatesPresented,
        Error::UnsupportedNameType,
        Error::DecryptError,
        Error::EncryptError,
        Error::FailedToGetCurrentTime,
        Error::FailedToGetRandomBytes,
        Error::HandshakeNotComplete,
        Error::PeerSentOversizedRecord,
        Error::NoApplicationProtocol,
        Error::BadMaxFragmentSize,
        Error::InappropriateMessage {
            expect_types: vec![ContentType::Handshake],
            got_type: ContentType::ApplicationData,
        },
        Error::InappropriateHandshakeMessage {
            expect_types: vec![HandshakeType::ServerHello],
            got_type: HandshakeType::Unknown(99),
        },
        Error::InvalidEncryptedClientHello(rustls::EncryptedClientHelloError::SniRequired),
        Error::General("a NoRootAnchors { of: [1, 2] }".to_owned()),
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch),
        Error::InconsistentKeys(InconsistentKeys::Unknown),
        Error::Other(other(std::fmt::Error)),
    ]
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
