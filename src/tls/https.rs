//! TLS of the requests that the process itself makes.

use std::sync::{Arc, LazyLock};

use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, Error};

use super::pair::Pair;
use super::suites::aes_first;
use super::verify::authorities::Authorities;
use super::verify::origin::{Authority, OriginVerifier, Trust};
use super::{Versions, provider};

/// The public CAs that are built in.
pub fn public() -> Arc<Authorities> {
    static PUBLIC: LazyLock<Arc<Authorities>> = LazyLock::new(|| {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
        Arc::new(Authorities::of_anchors(roots.collect()))
    });
    Arc::clone(&PUBLIC)
}

/// The policy of requests to servers whose certificates these CAs have signed: name, chain and dates are
/// verified as those of an origin.
///
/// # Errors
///
/// If the TLS library refuses the combination of its own defaults.
pub fn client(authorities: &Arc<Authorities>) -> Result<Arc<ClientConfig>, Error> {
    client_as(authorities, None)
}

/// The same, with a client certificate for servers that request one.
///
/// # Errors
///
/// If the TLS library refuses the combination of its own defaults.
pub fn client_as(
    authorities: &Arc<Authorities>,
    own: Option<&Arc<Pair>>,
) -> Result<Arc<ClientConfig>, Error> {
    let trust = Trust {
        authority: Authority::Roots(Arc::clone(authorities)),
        verify_name: None,
        revocation: None,
        pins: Vec::new(),
        rules: None,
    };
    let builder = ClientConfig::builder_with_provider(provider(aes_first(), &[]))
        .with_protocol_versions(Versions::Both.supported())?;
    let verifier = Arc::new(OriginVerifier::new(trust));
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(Arc::new(match own {
        Some(pair) => {
            let key = SingleCertAndKey::from(Arc::clone(&pair.key));
            builder.with_client_cert_resolver(Arc::new(key))
        }
        None => builder.with_no_client_auth(),
    }))
}
