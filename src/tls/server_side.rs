//! Our side of a client's handshake: what a route presents and demands, and doing it.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert, UnbufferedServerConnection};
use rustls::{Error, ServerConfig};

use super::certificates::CertificateChoice;
use super::client_auth::ClientAuth;
use super::handshake::{HandshakeError, drive};
use super::hello::Hello;
use super::{AES_FIRST, CHACHA_FIRST, Versions, blame, provider};
use crate::leg::{Conn, Leg, Seal};
use crate::outcome::{Failure, Farewell, Reason};

/// What a terminating route does with a client, as finished policy.
#[derive(Debug)]
pub struct ServerPolicy {
    /// The TLS versions spoken.
    pub versions: Versions,
    /// The application protocols, in our order; empty means that none is negotiated.
    pub alpn: Vec<Vec<u8>>,
    /// The policy on client certificates.
    pub client_auth: ClientAuth,
    /// The certificate presented.
    pub certificate: CertificateChoice,
}

/// A route's side of TLS towards its clients. Sessions are resumed within it alone.
#[derive(Debug)]
pub struct ServerSide {
    aes_first: Arc<ServerConfig>,
    chacha_first: Arc<ServerConfig>,
}

impl ServerSide {
    /// Builds the two configurations of a policy, which differ in the order of suites alone.
    ///
    /// Sessions are resumed by tickets whose key belongs to this object, so that none ever crosses
    /// from one route or endpoint to another. Where client certificates are asked for nothing is
    /// resumed at all: rustls would not check the resumed identity again.
    pub fn new(policy: ServerPolicy) -> Result<Self, Error> {
        let verifier = policy
            .client_auth
            .verifier()
            .map_err(|e| Error::General(e.to_string()))?;
        let certificate: Arc<dyn ResolvesServerCert> = Arc::new(policy.certificate);
        let ticketer = match verifier {
            None => Some(Ticketer::new()?),
            Some(_) => None,
        };
        let build = |suites| {
            let builder = ServerConfig::builder_with_provider(provider(suites))
                .with_protocol_versions(policy.versions.supported())?;
            let builder = match &verifier {
                Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
                None => builder.with_no_client_auth(),
            };
            let mut config = builder.with_cert_resolver(Arc::clone(&certificate));
            config.alpn_protocols.clone_from(&policy.alpn);
            config.ignore_client_order = true;
            config.max_early_data_size = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            if let Some(ticketer) = &ticketer {
                config.ticketer = Arc::clone(ticketer);
                config.send_tls13_tickets = 1;
            }
            Ok::<_, Error>(Arc::new(config))
        };
        Ok(Self {
            aes_first: build(&AES_FIRST)?,
            chacha_first: build(&CHACHA_FIRST)?,
        })
    }

    const fn config(&self, hello: &Hello) -> &Arc<ServerConfig> {
        if hello.prefers_chacha {
            &self.chacha_first
        } else {
            &self.aes_first
        }
    }

    /// Does the client's handshake. On success the leg is sealed; the leaf certificate that the
    /// client presented, accepted or not, is left in `presented`.
    pub async fn accept(
        &self,
        leg: &mut Leg,
        hello: &Hello,
        presented: &mut Option<CertificateDer<'static>>,
    ) -> Result<(), Failure> {
        let conn = UnbufferedServerConnection::new(Arc::clone(self.config(hello)))
            .map_err(|e| Failure::new(Reason::ClientTlsError).detail(e.to_string()))?;
        let seal = Box::new(Seal::new(Conn::Server(conn)));
        drive(leg, seal, &hello.bytes, presented)
            .await
            .map_err(refusal)
    }
}

fn refusal(error: HandshakeError) -> Failure {
    match error {
        HandshakeError::Tls { error, alert } => {
            let farewell = if alert.is_empty() {
                Farewell::Close
            } else {
                Farewell::Alert(alert)
            };
            Failure::new(blame::client(&error))
                .detail(error.to_string())
                .farewell(farewell)
        }
        HandshakeError::Ended => Reason::ClientClosed.into(),
        HandshakeError::Socket(error) => {
            Failure::new(Reason::ClientReset).detail(error.to_string())
        }
    }
}
