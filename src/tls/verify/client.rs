//! Client certificates: whether one is asked for, and who may come in.
//!
//! One object judges, wherever the question comes up: in a full handshake, before a session is
//! resumed, when a reload changes the policy under a live connection, and in `explain`.

use std::cell::Cell;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::KeyUsage;

use super::allow::Rules;
use super::authorities::Authorities;
use super::chain::ChainVerifier;
use super::crl::Revocation;
use crate::tls::{SIGNATURES, digest};

/// The policy of a route on its clients' certificates.
#[derive(Debug)]
pub enum ClientAuth {
    /// None is asked for.
    Off,
    /// One may be shown; a bad one is refused like a missing required one.
    Optional(ClientAuthority),
    /// One must be shown.
    Required(ClientAuthority),
}

/// Who signs client certificates, and which of their holders may come in.
#[derive(Debug)]
pub struct ClientAuthority {
    /// The trusted CAs; never empty.
    pub roots: Arc<Authorities>,
    /// Whether the request for a certificate names them, so that a client can choose.
    pub send_ca_names: bool,
    /// What is revoked; without lists nothing is.
    pub revocation: Option<Revocation>,
    /// Who may come in; without rules, whoever the CAs signed.
    pub rules: Option<Rules>,
    /// What becomes of live connections that a reload no longer admits.
    pub recheck: Recheck,
    /// What becomes of a live connection whose certificate expires.
    pub at_expiry: AtExpiry,
}

/// What becomes of a live connection whose certificate a reload no longer admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// It is closed.
    Close,
    /// It goes on, and the log says so.
    Log,
    /// Nobody looks.
    Off,
}

/// What becomes of a live connection whose certificate expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtExpiry {
    /// It goes on, and the log says so.
    Log,
    /// It is closed.
    Close,
}

impl ClientAuth {
    /// What of the policy decides who comes in, as bytes: mode, authorities and rules. Revocation lists
    /// come and go, and are no part of it.
    pub fn fingerprint(&self) -> [u8; 32] {
        let (mode, authority) = match self {
            Self::Off => (0, None),
            Self::Optional(authority) => (1, Some(authority)),
            Self::Required(authority) => (2, Some(authority)),
        };
        let mut parts = vec![vec![mode]];
        if let Some(authority) = authority {
            let roots = authority.roots.anchors().iter();
            let mut roots: Vec<_> = roots.map(|root| format!("{root:?}").into_bytes()).collect();
            roots.sort();
            parts.extend(roots);
            let rules = authority.rules.iter().flat_map(|rules| &rules.0);
            parts.extend(rules.map(|rule| rule.to_string().into_bytes()));
        }
        digest::parts(parts.iter().map(Vec::as_slice))
    }
}

/// Whom a policy admits, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Anybody: no certificate is asked for.
    NoAuth,
    /// A client without a certificate, which is optional.
    NoCert,
    /// The holder of any certificate that the CAs signed.
    TrustedCa,
    /// The holder of a certificate that this rule admits, counted from 0.
    ByRule(usize),
}

/// A policy that judges.
#[derive(Debug)]
pub struct ClientVerifier(Option<Arc<HandshakeVerifier>>);

impl ClientVerifier {
    pub(in crate::tls) fn new(policy: ClientAuth) -> Self {
        let (authority, is_required) = match policy {
            ClientAuth::Off => return Self(None),
            ClientAuth::Optional(authority) => (authority, false),
            ClientAuth::Required(authority) => (authority, true),
        };
        let named = if authority.send_ca_names {
            authority.roots.store().subjects()
        } else {
            Vec::new()
        };
        let usage = KeyUsage::client_auth();
        Self(Some(Arc::new(HandshakeVerifier {
            chain: ChainVerifier::new(authority.roots, authority.revocation, usage),
            is_required,
            named,
            rules: authority.rules,
            recheck: authority.recheck,
            at_expiry: authority.at_expiry,
        })))
    }

    /// What rustls asks, if it is to ask for a certificate.
    pub(in crate::tls) fn rustls(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        let gate = self.0.as_ref()?;
        Some(Arc::clone(gate) as Arc<dyn ClientCertVerifier>)
    }

    /// Whether certificates are asked for.
    pub const fn asks(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a client that has shown `chain`, and proven to hold its key, may be here.
    pub fn admit(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        now: UnixTime,
    ) -> Result<Admitted, Error> {
        let Some(gate) = &self.0 else {
            return Ok(Admitted::NoAuth);
        };
        match chain.and_then(<[_]>::split_first) {
            Some((leaf, intermediates)) => gate.judge(leaf, intermediates, now),
            None if gate.is_required => Err(Error::NoCertificatesPresented),
            None => Ok(Admitted::NoCert),
        }
    }

    /// Of a chain that is admitted, what matters: the certificate, and the way from it to an authority.
    pub fn path<'a>(
        &self,
        chain: &'a [CertificateDer<'static>],
        now: UnixTime,
    ) -> Vec<&'a CertificateDer<'static>> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Vec::new();
        };
        let way = match &self.0 {
            Some(gate) => gate.chain.verify(leaf, intermediates, now),
            None => Ok(Vec::new()),
        };
        let on_it = way.unwrap_or_default();
        let on_it = on_it.into_iter().filter_map(|n| intermediates.get(n));
        std::iter::once(leaf).chain(on_it).collect()
    }

    /// The rules of the policy, if it has any.
    pub fn rules(&self) -> Option<&Rules> {
        self.0.as_ref()?.rules.as_ref()
    }

    /// What becomes of a live connection that [`ClientVerifier::admit`] no longer admits.
    pub fn recheck(&self) -> Recheck {
        self.0.as_ref().map_or(Recheck::Off, |gate| gate.recheck)
    }

    /// What becomes of a live connection whose certificate expires.
    pub fn at_expiry(&self) -> AtExpiry {
        self.0.as_ref().map_or(AtExpiry::Log, |gate| gate.at_expiry)
    }
}

thread_local! {
    static PRESENTED: Cell<Option<CertificateDer<'static>>> = const { Cell::new(None) };
}

/// The leaf that a verifier on this thread saw since the last call. rustls forgets a certificate
/// that is refused, and its errors cannot carry one, but the log must say whose it was. To be called
/// right after the synchronous call that may have verified.
pub(in crate::tls) fn take_presented() -> Option<CertificateDer<'static>> {
    PRESENTED.take()
}

/// Chain, revocation and rules. Each leaf is remembered for [`take_presented`].
#[derive(Debug)]
struct HandshakeVerifier {
    chain: ChainVerifier,
    is_required: bool,
    /// The subjects that the request for a certificate names.
    named: Vec<DistinguishedName>,
    rules: Option<Rules>,
    recheck: Recheck,
    at_expiry: AtExpiry,
}

impl HandshakeVerifier {
    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Admitted, Error> {
        self.chain.verify(leaf, intermediates, now)?;
        match &self.rules {
            None => Ok(Admitted::TrustedCa),
            // Ours alone: webpki never says it.
            Some(rules) => rules
                .admitting(leaf)
                .map(Admitted::ByRule)
                .ok_or_else(|| CertificateError::ApplicationVerificationFailure.into()),
        }
    }
}

impl ClientCertVerifier for HandshakeVerifier {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        PRESENTED.set(Some(end_entity.clone().into_owned()));
        self.judge(end_entity, intermediates, now)
            .map(|_| ClientCertVerified::assertion())
    }

    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.named
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
