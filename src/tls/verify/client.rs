//! Client authentication: whether a certificate is requested, and which certificates are admitted.
//!
//! One verifier serves every use: full handshakes, resumptions, the recheck of live connections after a
//! reload, and `explain`.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
use super::revoked::names;
use crate::revoked::Revoked;
use crate::tls::{SIGNATURES, digest};

/// The client-auth policy of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is requested.
    Off,
    /// A client may send none; an invalid certificate is refused as if one were required.
    Optional(ClientAuthority),
    /// Clients must send a valid certificate.
    Required(ClientAuthority),
}

/// The CAs of client certificates, and which certificates are admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAuthority {
    /// The trusted CAs; never empty.
    pub roots: Arc<Authorities>,
    /// Whether the CertificateRequest names them, so that a client can choose.
    pub send_ca_names: bool,
    /// The CRLs; without them no certificate is revoked.
    pub revocation: Option<Revocation>,
    /// The allow rules; without them every certificate of the CAs is admitted.
    pub rules: Option<Rules>,
    /// What happens to live connections that a reload no longer admits.
    pub recheck: Recheck,
    /// What happens to a live connection whose certificate expires.
    pub at_expiry: AtExpiry,
}

/// What happens to a live connection whose certificate a reload no longer admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recheck {
    /// It is closed.
    Close,
    /// It continues, and a warning is logged.
    Log,
    /// Connections are not rechecked.
    Off,
}

/// What happens to a live connection whose certificate expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtExpiry {
    /// It continues, and a warning is logged.
    Log,
    /// It is closed.
    Close,
}

impl ClientAuth {
    /// The trusted CAs.
    pub fn roots(&self) -> Option<&Arc<Authorities>> {
        match self {
            Self::Off => None,
            Self::Optional(authority) | Self::Required(authority) => Some(&authority.roots),
        }
    }

    fn fingerprint(&self) -> [u8; 32] {
        let (mode, authority) = match self {
            Self::Off => (0, None),
            Self::Optional(authority) => (1, Some(authority)),
            Self::Required(authority) => (2, Some(authority)),
        };
        let mut parts = vec![vec![mode]];
        if let Some(authority) = authority {
            // A new field has to be decided about: what a session must not outlive is part of it.
            let ClientAuthority {
                roots,
                rules,
                // What a client is asked for does not change who is admitted.
                send_ca_names: _,
                // Lists change all the time; every resumption is checked against today's.
                revocation: _,
                // These are about live connections.
                recheck: _,
                at_expiry: _,
            } = authority;
            let roots = roots.anchors().iter();
            let mut roots: Vec<_> = roots.map(|root| format!("{root:?}").into_bytes()).collect();
            roots.sort();
            parts.extend(roots);
            let rules = rules.iter().flat_map(|rules| &rules.0);
            parts.extend(rules.map(|rule| rule.to_string().into_bytes()));
        }
        digest::parts(parts.iter().map(Vec::as_slice))
    }
}

/// Why a policy admits a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// No certificate is requested.
    NoAuth,
    /// The client sent no certificate, and it is optional.
    NoCert,
    /// A trusted CA signed the certificate, and there are no rules.
    TrustedCa,
    /// This rule admits the certificate, counted from 0.
    ByRule(usize),
}

/// Verifies clients by a policy. Clones share one cache of verified chains.
#[derive(Clone, Debug)]
pub struct ClientVerifier {
    fingerprint: [u8; 32],
    verifier: Option<Arc<HandshakeVerifier>>,
}

impl ClientVerifier {
    /// A verifier with a number of its own.
    pub fn new(policy: ClientAuth) -> Self {
        Self::heeding(policy, &Arc::default())
    }

    /// The same, which admits nobody who is revoked.
    pub fn heeding(policy: ClientAuth, revoked: &Arc<Revoked>) -> Self {
        let fingerprint = policy.fingerprint();
        let (authority, is_required) = match policy {
            ClientAuth::Off => {
                return Self {
                    fingerprint,
                    verifier: None,
                };
            }
            ClientAuth::Optional(authority) => (authority, false),
            ClientAuth::Required(authority) => (authority, true),
        };
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let named = if authority.send_ca_names {
            authority.roots.store().subjects()
        } else {
            Vec::new()
        };
        let usage = KeyUsage::client_auth();
        let (roots, revocation) = (Arc::clone(&authority.roots), authority.revocation.clone());
        let until = revocation.as_ref().map(|r| r.until(UnixTime::now()));
        let verifier = HandshakeVerifier {
            id: COUNT.fetch_add(1, Ordering::Relaxed),
            chain: ChainVerifier::new(roots, revocation, usage),
            is_required,
            named,
            revoked: Arc::clone(revoked),
            until: until.unwrap_or(i64::MAX),
            authority,
        };
        Self {
            fingerprint,
            verifier: Some(Arc::new(verifier)),
        }
    }

    /// Fingerprint of what authorises clients: mode, CAs and rules. CRLs are excluded, as they change
    /// all the time.
    pub const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The trusted CAs, if certificates are requested.
    pub fn roots(&self) -> Option<&Arc<Authorities>> {
        Some(&self.verifier.as_ref()?.authority.roots)
    }

    /// Whether it verifies by this policy.
    pub fn is_by(&self, policy: &ClientAuth) -> bool {
        match (&self.verifier, policy) {
            (None, ClientAuth::Off) => true,
            (Some(verifier), ClientAuth::Optional(authority)) => {
                !verifier.is_required && verifier.authority == *authority
            }
            (Some(verifier), ClientAuth::Required(authority)) => {
                verifier.is_required && verifier.authority == *authority
            }
            (None, _) | (Some(_), ClientAuth::Off) => false,
        }
    }

    /// A number that no other policy of the process has; 0 if no certificate is requested. A reload that
    /// changes neither the policy nor its CAs and CRLs keeps the verifier and its number.
    pub fn id(&self) -> u64 {
        self.verifier.as_ref().map_or(0, |verifier| verifier.id)
    }

    /// Whether it decides on an unexpired chain at `now` as the verifier with this number did before: it
    /// is the same, and no CRL has expired or come into force.
    pub fn decides_as(&self, id: u64, now: UnixTime) -> bool {
        let until = self.verifier.as_ref().map_or(i64::MAX, |v| v.until);
        self.id() == id && i64::try_from(now.as_secs()).is_ok_and(|now| now < until)
    }

    /// The verifier for rustls, if certificates are requested.
    pub(in crate::tls) fn rustls(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        let verifier = self.verifier.as_ref()?;
        Some(Arc::clone(verifier) as Arc<dyn ClientCertVerifier>)
    }

    /// Whether certificates are requested.
    pub const fn requests_certificate(&self) -> bool {
        self.verifier.is_some()
    }

    /// Decides on a client that sent `chain` and has proven that it holds the key.
    pub fn admit(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
        now: UnixTime,
    ) -> Result<Admitted, Error> {
        let Some(verifier) = &self.verifier else {
            return Ok(Admitted::NoAuth);
        };
        match chain.and_then(<[_]>::split_first) {
            Some((leaf, intermediates)) => verifier.verify(leaf, intermediates, now),
            None if verifier.is_required => Err(Error::NoCertificatesPresented),
            None => Ok(Admitted::NoCert),
        }
    }

    /// The certificates of an admitted chain that lead from the leaf to a CA, the leaf first.
    pub fn path<'a>(
        &self,
        chain: &'a [CertificateDer<'static>],
        now: UnixTime,
    ) -> Vec<&'a CertificateDer<'static>> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Vec::new();
        };
        let path = match &self.verifier {
            Some(verifier) => verifier.chain.verify(leaf, intermediates, now),
            None => Ok(Vec::new()),
        };
        let path = path.unwrap_or_default().into_iter();
        let issuers = path.filter_map(|n| intermediates.get(n));
        std::iter::once(leaf).chain(issuers).collect()
    }

    /// The rules of the policy, if it has any.
    pub fn rules(&self) -> Option<&Rules> {
        self.verifier.as_ref()?.authority.rules.as_ref()
    }

    /// What happens to a live connection that [`ClientVerifier::admit`] no longer admits.
    pub fn recheck(&self) -> Recheck {
        let verifier = self.verifier.as_ref();
        verifier.map_or(Recheck::Off, |verifier| verifier.authority.recheck)
    }

    /// What happens to a live connection whose certificate expires.
    pub fn at_expiry(&self) -> AtExpiry {
        let verifier = self.verifier.as_ref();
        verifier.map_or(AtExpiry::Log, |verifier| verifier.authority.at_expiry)
    }
}

thread_local! {
    static PRESENTED: Cell<Option<CertificateDer<'static>>> = const { Cell::new(None) };
}

/// The leaf that a verifier on this thread has seen since the last call. rustls drops a refused
/// certificate and its errors cannot carry one, but the log must name it. Must follow the call into
/// rustls directly.
pub(in crate::tls) fn take_presented() -> Option<CertificateDer<'static>> {
    PRESENTED.take()
}

/// Verifies chain, revocation and rules, and records each leaf for [`take_presented`].
#[derive(Debug)]
struct HandshakeVerifier {
    id: u64,
    chain: ChainVerifier,
    is_required: bool,
    /// The subjects that the CertificateRequest names.
    named: Vec<DistinguishedName>,
    /// When a CRL first expires or comes into force, in seconds of unix time.
    until: i64,
    /// Who is revoked by an operator.
    revoked: Arc<Revoked>,
    authority: ClientAuthority,
}

impl HandshakeVerifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Admitted, Error> {
        self.chain.verify(leaf, intermediates, now)?;
        if self.revoked.has_certificate(|| names(leaf)) {
            return Err(CertificateError::Revoked.into());
        }
        match &self.authority.rules {
            None => Ok(Admitted::TrustedCa),
            // webpki never returns this error, so it identifies the rules.
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
        self.verify(end_entity, intermediates, now)
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
