//! Verification of origin certificates.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use webpki::{EndEntityCert, KeyUsage};

use super::allow::{Rules, spki_sha256};
use super::authorities::Authorities;
use super::chain::ChainVerifier;
use super::crl::Revocation;
use super::errors::NotPinned;
use crate::tls::{SIGNATURES, classify};

/// Which origin certificates an upstream accepts. What is absent is not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// Which CAs must have signed them.
    pub authority: Authority,
    /// The name to verify, if it is not the server name that is sent.
    pub verify_name: Option<ServerName<'static>>,
    /// The CRLs.
    pub revocation: Option<Revocation>,
    /// SHA-256 of the accepted SubjectPublicKeyInfos; empty means any.
    pub pins: Vec<[u8; 32]>,
    /// The allow rules, in addition to the name.
    pub rules: Option<Rules>,
}

/// Which CAs must have signed an origin's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The chain must end at one of these, and the name must be the expected one.
    Roots(Arc<Authorities>),
    /// No CA: the only check is that the origin holds the key of the certificate that it sends.
    DangerNone,
}

/// Verifies origin certificates by a [`Trust`].
#[derive(Debug)]
pub(in crate::tls) struct OriginVerifier {
    /// Absent for `danger-none`.
    chain: Option<ChainVerifier>,
    verify_name: Option<ServerName<'static>>,
    pins: Vec<[u8; 32]>,
    rules: Option<Rules>,
}

impl OriginVerifier {
    pub(in crate::tls) fn new(trust: Trust) -> Self {
        let chain = match trust.authority {
            Authority::DangerNone => None,
            Authority::Roots(roots) => Some(ChainVerifier::new(
                roots,
                trust.revocation,
                KeyUsage::server_auth(),
            )),
        };
        Self {
            chain,
            verify_name: trust.verify_name,
            pins: trust.pins,
            rules: trust.rules,
        }
    }
}

impl ServerCertVerifier for OriginVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        sent: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Some(chain) = &self.chain {
            let name = self.verify_name.as_ref().unwrap_or(sent);
            chain.verify(end_entity, intermediates, now)?;
            EndEntityCert::try_from(end_entity)
                .and_then(|parsed| parsed.verify_is_valid_for_subject_name(name))
                .map_err(classify::from_webpki)?;
        }
        let pinned = || spki_sha256(end_entity).is_some_and(|key| self.pins.contains(&key));
        if !self.pins.is_empty() && !pinned() {
            return Err(CertificateError::Other(OtherError(Arc::new(NotPinned))).into());
        }
        if let Some(rules) = &self.rules
            && rules.admitting(end_entity).is_none()
        {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &SIGNATURES)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &SIGNATURES)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SIGNATURES.supported_schemes()
    }
}
