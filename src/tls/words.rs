//! Messages for the errors of the TLS and certificate libraries. Their own texts contain names of types,
//! identifiers as lists of bytes and Rust's debug output; none of that leaves this module.

mod spelling;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{
    AlertDescription, CertRevocationListError, CertificateError, Error, ExtendedKeyPurpose,
    InconsistentKeys, InvalidMessage, OtherError, PeerIncompatible,
};
use x509_parser::asn1_rs::{FromDer, Oid};
use x509_parser::objects::{oid_registry, oid2sn};
use x509_parser::time::ASN1Time;

use self::spelling::{plain, spaced};
use super::verify::errors::{NotPinned, TooLong};

/// An error of rustls.
pub fn tls(error: &Error) -> String {
    match error {
        Error::InappropriateMessage { got_type, .. } => format!(
            "a message came out of turn: of the kind {}",
            spaced(&format!("{got_type:?}"))
        ),
        Error::InappropriateHandshakeMessage { got_type, .. } => format!(
            "a handshake message came out of turn: {}",
            spaced(&format!("{got_type:?}"))
        ),
        Error::InvalidEncryptedClientHello(_) => {
            "the encrypted ClientHello is not usable".to_owned()
        }
        Error::InvalidMessage(error) => message(error),
        Error::NoCertificatesPresented => "the peer sent no certificate".to_owned(),
        Error::UnsupportedNameType => "a server name of this type is not supported".to_owned(),
        Error::DecryptError => "a record of the peer cannot be decrypted".to_owned(),
        Error::EncryptError => "a record cannot be encrypted".to_owned(),
        Error::PeerIncompatible(error) => incompatible(error),
        Error::PeerMisbehaved(error) => format!(
            "the peer broke the protocol: {}",
            spaced(&format!("{error:?}"))
        ),
        Error::AlertReceived(alert) => format!("received the alert {}", alert_name(*alert)),
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidCertRevocationList(error) => revocation_list(error),
        Error::General(text) => plain(text),
        Error::FailedToGetCurrentTime => "the clock cannot be read".to_owned(),
        Error::FailedToGetRandomBytes => "there are no random bytes".to_owned(),
        Error::HandshakeNotComplete => "the handshake is not complete".to_owned(),
        Error::PeerSentOversizedRecord => "a record is longer than TLS allows".to_owned(),
        Error::NoApplicationProtocol => "no ALPN protocol is common to both".to_owned(),
        Error::BadMaxFragmentSize => "the size of fragments is out of range".to_owned(),
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the key is not the certificate's".to_owned()
        }
        Error::InconsistentKeys(_) => {
            "whether the key is the certificate's cannot be told".to_owned()
        }
        Error::Other(other) => foreign(other),
        other => spaced(&format!("{other:?}")),
    }
}

fn message(error: &InvalidMessage) -> String {
    use InvalidMessage as M;
    let what = match error {
        M::MissingData(what) => format!("{} is cut short", spaced(what)),
        M::TrailingData(what) => format!("something follows {}", spaced(what)),
        M::UnexpectedMessage(what) => format!("{} was not expected", spaced(what)),
        M::IllegalEmptyList(what) => format!("an empty list: {}", spaced(what)),
        M::DuplicateExtension(kind) => format!("extension {kind} is there twice"),
        M::InvalidContentType => "the content type is none of TLS".to_owned(),
        M::UnknownProtocolVersion => "the version is none of TLS".to_owned(),
        other => spaced(&format!("{other:?}")),
    };
    format!("the peer's message is broken: {what}")
}

fn incompatible(error: &PeerIncompatible) -> String {
    use PeerIncompatible as P;
    let what = match error {
        P::NoCipherSuitesInCommon => "no cipher suite is common to both",
        P::NoKxGroupsInCommon => "no key exchange group is common to both",
        P::NoSignatureSchemesInCommon => {
            "it accepts no signature scheme that the certificate's key can make"
        }
        P::NoCertificateRequestSignatureSchemesInCommon => {
            "it accepts no signature scheme that our certificate's key can make"
        }
        P::Tls12NotOffered | P::Tls12NotOfferedOrEnabled | P::ServerDoesNotSupportTls12Or13 => {
            "no version of TLS is common to both"
        }
        P::SignatureAlgorithmsExtensionRequired | P::SupportedVersionsExtensionRequired => {
            "it speaks TLS 1.1 or older"
        }
        P::ServerTlsVersionIsDisabledByOurConfig => {
            "it chose a version of TLS that is not allowed here"
        }
        P::ExtendedMasterSecretExtensionRequired => "it lacks the extended master secret",
        P::ServerRejectedEncryptedClientHello(_) => "it refused the encrypted ClientHello",
        other => {
            return format!(
                "the peer is incompatible: {}",
                spaced(&format!("{other:?}"))
            );
        }
    };
    format!("the peer is incompatible: {what}")
}

/// The name of an alert as in the RFCs.
pub fn alert_name(alert: AlertDescription) -> String {
    match alert {
        // The spelling of RFC 6066.
        AlertDescription::UnrecognisedName => "unrecognized_name".to_owned(),
        AlertDescription::Unknown(number) => format!("number {number}"),
        other => spaced(&format!("{other:?}"))
            .to_lowercase()
            .replace(' ', "_"),
    }
}

fn certificate(error: &CertificateError) -> String {
    use CertificateError as C;
    match error {
        C::BadEncoding => "the certificate is broken: it is no X.509 in DER".to_owned(),
        C::Expired => "the certificate, or one in its chain, has expired".to_owned(),
        C::ExpiredContext { not_after, .. } => format!(
            "the certificate, or one in its chain, expired on {}",
            date(*not_after)
        ),
        C::NotValidYet => "the certificate, or one in its chain, is not valid yet".to_owned(),
        C::NotValidYetContext { not_before, .. } => format!(
            "the certificate, or one in its chain, is not valid before {}",
            date(*not_before)
        ),
        C::Revoked => "the certificate, or one in its chain, is revoked".to_owned(),
        C::UnhandledCriticalExtension => webpki(&webpki::Error::UnsupportedCriticalExtension),
        C::UnknownIssuer => {
            "no chain leads to a trusted CA: it is of another issuer, or an intermediate is missing"
                .to_owned()
        }
        C::UnknownRevocationStatus => {
            "no revocation list in force is of its issuer, or of one in its chain".to_owned()
        }
        C::ExpiredRevocationList => "its issuer's revocation list is out of date".to_owned(),
        C::ExpiredRevocationListContext { next_update, .. } => format!(
            "its issuer's revocation list was to be replaced on {}",
            date(*next_update)
        ),
        C::BadSignature => {
            "a signature does not fit: the certificate is not of the issuer that it names (two CAs of one \
             name?), or a key has a size that is not accepted (RSA: 2048 to 8192 bits)"
                .to_owned()
        }
        C::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id,
            ..
        } => format!(
            "the certificate, or one in its chain, is signed in a way that is not accepted: {}",
            algorithm(signature_algorithm_id)
        ),
        C::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id,
            public_key_algorithm_id,
        } => format!(
            "a key of the kind {} is not accepted for signatures of the kind {}",
            algorithm(public_key_algorithm_id),
            algorithm(signature_algorithm_id)
        ),
        C::NotValidForName => "the certificate is for another name".to_owned(),
        C::NotValidForNameContext {
            expected,
            presented,
        } => for_another_name(expected, presented),
        C::InvalidPurpose => "the certificate is not meant for this use".to_owned(),
        C::InvalidPurposeContext {
            required,
            presented,
        } => for_another_use(required, presented),
        C::InvalidOcspResponse => "the OCSP response is not usable".to_owned(),
        // Only the allow rules return this error.
        C::ApplicationVerificationFailure => {
            "no rule of `allow` admits the certificate".to_owned()
        }
        C::Other(other) => foreign(other),
        other => spaced(&format!("{other:?}")),
    }
}

fn for_another_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    const NAMED: usize = 8;
    // Each text is a type with the name in quotes.
    let name = |text: &String| match text.split('"').nth(1) {
        Some(name) => name.to_owned(),
        None => text
            .trim_end_matches(')')
            .rsplit('(')
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    let mut names: Vec<_> = presented.iter().take(NAMED).map(name).collect();
    if presented.len() > NAMED {
        names.push(format!("{} more", presented.len() - NAMED));
    }
    let wanted = expected.to_str();
    if names.is_empty() {
        return format!(
            "the certificate is not for {wanted}: it names no host in its alternative names"
        );
    }
    format!(
        "the certificate is not for {wanted}, but for {}",
        names.join(", ")
    )
}

fn for_another_use(required: &ExtendedKeyPurpose, presented: &[ExtendedKeyPurpose]) -> String {
    let own: Vec<_> = presented.iter().map(purpose).collect();
    format!(
        "the certificate is not meant for {}: its extended key usage allows {}",
        purpose(required),
        if own.is_empty() {
            "nothing".to_owned()
        } else {
            own.join(", ")
        }
    )
}

fn purpose(purpose: &ExtendedKeyPurpose) -> String {
    match purpose {
        ExtendedKeyPurpose::ClientAuth => "client authentication".to_owned(),
        ExtendedKeyPurpose::ServerAuth => "server authentication".to_owned(),
        ExtendedKeyPurpose::Other(numbers) => {
            let numbers: Vec<_> = numbers.iter().map(usize::to_string).collect();
            match numbers.join(".").as_str() {
                "2.5.29.37.0" => "any use (which does not count)".to_owned(),
                "1.3.6.1.5.5.7.3.3" => "code signing".to_owned(),
                "1.3.6.1.5.5.7.3.4" => "mail protection".to_owned(),
                "1.3.6.1.5.5.7.3.8" => "time stamping".to_owned(),
                "1.3.6.1.5.5.7.3.9" => "OCSP signing".to_owned(),
                other => other.to_owned(),
            }
        }
    }
}

fn revocation_list(error: &CertRevocationListError) -> String {
    use CertRevocationListError as L;
    let what = match error {
        L::BadSignature => "it is not signed by the issuer that it names",
        L::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id,
            ..
        } => {
            return format!(
                "a revocation list is signed in a way that is not accepted: {}",
                algorithm(signature_algorithm_id)
            );
        }
        L::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its issuer's key is of a kind that is not accepted"
        }
        L::InvalidCrlNumber => "its number is broken",
        L::InvalidRevokedCertSerialNumber => "a serial number in it is broken",
        L::IssuerInvalidForCrl => {
            "its issuer's key is not meant for lists (key usage without CRL signing)"
        }
        L::ParseError => "it is broken",
        L::UnsupportedCrlVersion => "it is not of version 2",
        L::UnsupportedCriticalExtension => "it has a critical extension that is not understood",
        L::UnsupportedDeltaCrl => "it is a delta list",
        L::UnsupportedIndirectCrl => "it is an indirect list",
        L::UnsupportedRevocationReason => "a reason in it is not understood",
        L::Other(other) => return foreign(other),
        other => {
            return format!(
                "a revocation list cannot be used: {}",
                spaced(&format!("{other:?}"))
            );
        }
    };
    format!("a revocation list cannot be used: {what}")
}

/// An error of another library, wrapped by rustls.
fn foreign(error: &OtherError) -> String {
    if let Some(error) = error.0.downcast_ref::<webpki::Error>() {
        return webpki(error);
    }
    if error.0.is::<TooLong>() || error.0.is::<NotPinned>() {
        return error.0.to_string();
    }
    plain(&error.0.to_string())
}

/// An error of webpki.
pub fn webpki(error: &webpki::Error) -> String {
    use webpki::Error as W;
    let text = match error {
        W::CaUsedAsEndEntity => {
            "the certificate is a CA's (CA:TRUE), and no CA may stand for itself: \
             issue another with basicConstraints=CA:FALSE, or name exactly this one in `ca`"
        }
        W::CertDistrusted => "a certificate in the chain is no longer trusted by anybody",
        W::EmptyEkuExtension => "the extended key usage of a certificate is empty",
        W::EndEntityUsedAsCa => {
            "a certificate in the chain signed another, but is no CA (basicConstraints without CA:TRUE)"
        }
        W::ExtensionValueInvalid => "an extension of a certificate is broken",
        W::InvalidCertValidity => "a certificate ends before it begins",
        W::InvalidNetworkMaskConstraint => {
            "a name constraint of a CA in the chain has a broken network mask"
        }
        W::InvalidSerialNumber => "a serial number is broken",
        W::MalformedDnsIdentifier => "a DNS name in a certificate is broken",
        W::MalformedExtensions => "the extensions of a certificate are broken",
        W::MalformedNameConstraint => "a name constraint of a CA in the chain is broken",
        W::MaximumNameConstraintComparisonsExceeded => {
            "the chain asks for too many comparisons of names"
        }
        W::MaximumPathBuildCallsExceeded | W::MaximumSignatureChecksExceeded => {
            "the chain asks for too many checks"
        }
        W::MaximumPathDepthExceeded => "the chain is too long",
        W::NameConstraintViolation => {
            "a CA in the chain has name constraints that do not permit the certificate's names, \
             or constraints on URIs, mail addresses or directory names, \
             which are not understood and refuse every name of that kind"
        }
        W::PathLenConstraintViolated => "a CA in the chain allows fewer intermediates below it",
        W::SignatureAlgorithmMismatch => "a certificate names two different signature algorithms",
        W::TrailingData(_) | W::BadDer | W::BadDerTime => {
            "the certificate is broken: it is no X.509 in DER"
        }
        W::UnsupportedCertVersion => {
            "the certificate, or one in its chain, is of X.509 version 1: \
             version 3 is needed (openssl x509 -req -extfile FILE, with basicConstraints=CA:FALSE in FILE)"
        }
        W::UnsupportedCriticalExtension => {
            "the certificate, or one in its chain, has a critical extension that is not understood \
             (such as policy constraints)"
        }
        W::UnsupportedNameType => "a name of this type is not supported",
        W::UnsupportedCrlIssuingDistributionPoint => {
            "a revocation list has a distribution point without a full name"
        }
        W::UnsupportedRevocationReasonsPartitioning => "a revocation list is on some reasons alone",
        W::UnsupportedCrlVersion => "a revocation list is not of version 2",
        W::UnsupportedDeltaCrl => "a revocation list is a delta list",
        W::UnsupportedIndirectCrl => "a revocation list is an indirect list",
        W::UnsupportedRevocationReason => "a reason in a revocation list is not understood",
        W::InvalidCrlNumber => "the number of a revocation list is broken",
        #[allow(deprecated)]
        W::RequiredEkuNotFound => "the certificate is not meant for this use",
        other => return spaced(&format!("{other:?}")),
    };
    text.to_owned()
}

/// The name of an algorithm, or its dotted OID, from the content of an AlgorithmIdentifier.
pub(super) fn algorithm(id: &[u8]) -> String {
    let Ok((rest, oid)) = Oid::from_der(id) else {
        return "an unknown one".to_owned();
    };
    let name = |oid: &Oid<'_>| match oid2sn(oid, oid_registry()) {
        Ok(name) => spaced(name).replace("With", " with "),
        Err(_) => oid.to_id_string(),
    };
    // For a key on a curve, the curve matters.
    match Oid::from_der(rest) {
        Ok((_, curve)) => format!("{} on {}", name(&oid), name(&curve)),
        Err(_) => name(&oid),
    }
}

fn date(at: UnixTime) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    ASN1Time::from_timestamp(seconds).map_or_else(
        |_| format!("second {seconds} of unix time"),
        |time| time.to_string(),
    )
}

#[cfg(test)]
mod tests;
