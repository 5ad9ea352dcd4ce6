//! The TLS policy of the admin listener, which is served by rustls' buffered connections: its clients are
//! few.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, ServerConfig};

use super::pair::Pair;
use super::verify::client::ClientVerifier;
use super::{Versions, provider, suites};
use crate::hostname::HostName;

/// A policy with this certificate and verifier. No session is resumed, so that every connection of a client
/// is verified by the certificates of today.
///
/// # Errors
///
/// If rustls refuses it.
pub fn listener_config(pair: &Pair, verifier: &ClientVerifier) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(provider(suites::aes_first(), &[]))
        .with_protocol_versions(Versions::Both.supported())?;
    let builder = match verifier.rustls() {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let key = CertifiedKey::clone(&pair.key);
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// Whether a certificate is for this host name or IP address.
pub fn is_for_host(pair: &Pair, host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return pair.addresses.contains(&address);
    }
    let name = HostName::from_wire(host);
    name.is_ok_and(|name| pair.names.iter().any(|pattern| pattern.matches(&name)))
}
