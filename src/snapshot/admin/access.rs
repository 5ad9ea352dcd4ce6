//! Who may use the admin listener over TCP, and how the connection is protected.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

use super::token::Tokens;
use crate::tls::info::CertificateFacts;
use crate::tls::listener_config::is_for_host;
use crate::tls::pair::Pair;

/// What a client over TCP has to show: a token, a certificate, or both. At least one is demanded.
#[derive(Debug)]
pub struct Access {
    /// The tokens, one of which is needed if there are any.
    pub tokens: Option<Arc<Tokens>>,
    /// TLS, if it is spoken.
    pub tls: Option<AdminTls>,
}

/// TLS on the admin listener.
#[derive(Debug)]
pub struct AdminTls {
    /// The policy, which demands a client's certificate if there is a `client_ca`.
    pub config: Arc<ServerConfig>,
    /// The certificate presented.
    pub pair: Arc<Pair>,
}

impl AdminTls {
    /// Whether the certificate is for this host name: a browser that asks for it has verified that.
    pub fn is_for(&self, host: &str) -> bool {
        is_for_host(&self.pair, host)
    }

    /// How a client with this verified certificate is called in the log, which escapes it.
    pub fn client_name(certificate: &CertificateDer<'_>) -> String {
        let facts = CertificateFacts::of(certificate);
        match facts.sans.into_iter().next() {
            Some(name) if facts.subject.is_empty() => name,
            _ => facts.subject,
        }
    }
}
