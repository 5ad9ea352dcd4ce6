//! Errors about certificates.

use super::*;

#[allow(deprecated)]
pub(super) fn of_webpki() -> Vec<::webpki::Error> {
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

#[allow(deprecated)]
pub(super) fn of_certificates() -> Vec<Error> {
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
        all.push(crate::tls::classify::from_webpki(error));
    }
    all
}
