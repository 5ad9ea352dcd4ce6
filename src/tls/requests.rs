//! TLS of Reseal's own requests, such as those to a collector of logs.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, Error};

use super::pair::Pair;
use super::verify::authorities::Authorities;
use super::verify::origin::{Authority, OriginVerifier, Trust};
use super::{Versions, provider, suites};

/// How many sessions are kept for the next connections.
const SESSIONS: usize = 8;

/// A policy that trusts these CAs: TLS 1.2 and 1.3, and the certificate must be for the name that is sent. Whoever
/// asks for a certificate of ours gets `own`, if there is one.
pub fn client_config(
    authorities: Arc<Authorities>,
    own: Option<&Pair>,
) -> Result<Arc<ClientConfig>, Error> {
    let trust = Trust {
        authority: Authority::Roots(authorities),
        verify_name: None,
        revocation: None,
        pins: Vec::new(),
        rules: None,
    };
    let builder = ClientConfig::builder_with_provider(provider(suites::aes_first(), &[]))
        .with_protocol_versions(Versions::Both.supported())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OriginVerifier::new(trust)));
    let mut config = match own {
        Some(pair) => {
            let key = SingleCertAndKey::from(Arc::clone(&pair.key));
            builder.with_client_cert_resolver(Arc::new(key))
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
