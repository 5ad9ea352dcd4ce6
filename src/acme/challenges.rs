//! The validations by tls-alpn-01 (RFC 8737) that CAs are asked to make now: workers look them up by server
//! name, before they choose a route. Each is there for as long as its order needs it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, SanType};
use rustls::pki_types::PrivateKeyDer;

use super::definition::Identifier;
use crate::tls::Versions;
use crate::tls::acceptor::{AcceptorPolicy, TlsAcceptor};
use crate::tls::certificates::{Certificate, CertificateChoice};
use crate::tls::pair::Pair;
use crate::tls::verify::client::{ClientAuth, ClientVerifier};

/// The application protocol of a validation, which a CA offers alone.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// The pending validations, by server name. A look-up takes no lock.
#[derive(Debug, Default)]
pub struct Challenges(ArcSwap<HashMap<String, Arc<TlsAcceptor>>>);

impl Challenges {
    /// The acceptor of the validation of this name, if it is pending and these are the protocols of one.
    pub fn acceptor(&self, name: &str, offered: &[Vec<u8>]) -> Option<Arc<TlsAcceptor>> {
        match offered {
            [only] if only == PROTOCOL => self.0.load().get(name).cloned(),
            _ => None,
        }
    }

    /// Answers validations of this identifier with a certificate that holds `digest`, until the result is
    /// dropped. `None` if another order is having the same name validated.
    ///
    /// # Errors
    ///
    /// One phrase, if no certificate can be made.
    pub(super) fn answer(
        self: &Arc<Self>,
        identifier: &Identifier,
        digest: &[u8],
    ) -> Result<Option<Answering>, String> {
        let name = identifier.validation_name();
        let acceptor = acceptor(identifier, digest)?;
        let acceptor = Arc::new(acceptor);
        let mut is_taken = false;
        self.0.rcu(|pending| {
            let mut pending = HashMap::clone(pending);
            is_taken = pending.contains_key(&name);
            if !is_taken {
                pending.insert(name.clone(), Arc::clone(&acceptor));
            }
            pending
        });
        let answering = || Answering {
            challenges: Arc::clone(self),
            name: name.clone(),
        };
        Ok((!is_taken).then(answering))
    }
}

/// A pending validation. Dropping it ends the answers.
#[derive(Debug)]
pub(super) struct Answering {
    challenges: Arc<Challenges>,
    name: String,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.challenges.0.rcu(|pending| {
            let mut pending = HashMap::clone(pending);
            pending.remove(&self.name);
            pending
        });
    }
}

/// Presents the certificate of a validation, and speaks its protocol alone.
fn acceptor(identifier: &Identifier, digest: &[u8]) -> Result<TlsAcceptor, String> {
    let pair = pair(identifier, digest)?;
    let policy = AcceptorPolicy {
        versions: Versions::Both,
        cipher_suites: Vec::new(),
        groups: Vec::new(),
        alpn: vec![PROTOCOL.to_vec()],
        verifier: ClientVerifier::new(ClientAuth::Off),
        certificate: CertificateChoice::Fixed(Arc::new(Certificate {
            name: "acme-tls/1".to_owned(),
            names: Vec::new(),
            pair: Arc::new(pair),
        })),
        // A session would outlive the validation.
        resumption: None,
    };
    TlsAcceptor::new(policy, None).map_err(|error| error.to_string())
}

/// The self-signed certificate of RFC 8737 section 3, with a key of its own.
fn pair(identifier: &Identifier, digest: &[u8]) -> Result<Pair, String> {
    let failed = |error: rcgen::Error| error.to_string();
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "acme-tls/1");
    params.subject_alt_names = vec![alternative_name(identifier)?];
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key).map_err(failed)?;
    let secret = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Pair::in_memory("acme-tls/1", certificate.der().clone(), &secret)
        .ok_or_else(|| "the certificate of the challenge cannot be used".to_owned())
}

/// The name of an identifier in a certificate.
pub(super) fn alternative_name(identifier: &Identifier) -> Result<SanType, String> {
    Ok(match identifier {
        Identifier::Ip(address) => SanType::IpAddress(*address),
        Identifier::Dns(_) | Identifier::Wildcard(_) => {
            let name = identifier.to_string().try_into();
            SanType::DnsName(name.map_err(|error: rcgen::Error| error.to_string())?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostname::HostName;

    #[test]
    fn a_validation_is_answered_under_its_name_and_protocol_alone_and_while_it_is_pending() {
        let challenges = Arc::new(Challenges::default());
        let name = Identifier::Dns(HostName::from_wire("a.test").unwrap());
        let acme = [PROTOCOL.to_vec()];
        let both = [PROTOCOL.to_vec(), b"h2".to_vec()];
        assert!(challenges.acceptor("a.test", &acme).is_none());
        let answering = challenges.answer(&name, &[7; 32]).unwrap();
        assert!(answering.is_some());
        assert!(challenges.acceptor("a.test", &acme).is_some());
        assert!(challenges.acceptor("b.test", &acme).is_none());
        assert!(challenges.acceptor("a.test", &both).is_none());
        assert!(challenges.acceptor("a.test", &[b"h2".to_vec()]).is_none());
        assert!(challenges.acceptor("a.test", &[]).is_none());
        assert!(
            challenges.answer(&name, &[8; 32]).unwrap().is_none(),
            "one at a time"
        );
        drop(answering);
        assert!(challenges.acceptor("a.test", &acme).is_none());
    }
}
