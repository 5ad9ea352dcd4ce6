//! `acme-tls/1` leads to nothing but a pending validation: to no route, no origin and no other certificate.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use super::authority::{Ca, Wishes};
use crate::harness::{Client, End, Origin, Proxy, eventually, pki};

const PROTOCOL: &str = "acme-tls/1";

/// The alerts `no_application_protocol` and `internal_error`.
const NO_PROTOCOL: u8 = 120;
const INTERNAL_ERROR: u8 = 80;

#[test]
fn without_a_pending_validation_the_owner_of_the_name_decides_as_for_any_client() {
    // The CA does not run, so nothing is pending.
    let ca = Ca::prepare(Wishes::default());
    let origin = Origin::echo();
    let sealed = Origin::tls(&pki().origin(&["sealed.test"]))
        .alpn(&[PROTOCOL])
        .echo();
    let proxy = ca
        .proxy("")
        .on_tls("alpn: [h2]")
        .terminate("open.test", &origin)
        .route("terminate", "strict.test", &origin)
        .certificate_for(&["strict.test"])
        .on_route("client_auth: { mode: required, ca: client-ca.pem }")
        .on_route("alpn: []")
        .route("terminate", "pending.test", &origin)
        .with_certificate("{ acme: pebble, names: [pending.test] }")
        .passthrough("sealed.test", &sealed)
        .start();
    let with = |sni: &str| proxy.client(sni).alpn(&[PROTOCOL]);
    // A terminating route that speaks other protocols refuses it.
    assert_eq!(with("open.test").refusal(), End::Alert(NO_PROTOCOL));
    proxy.outcome().must_be("no_common_alpn");
    // Client auth is asked for as ever.
    assert!(matches!(with("strict.test").refusal(), End::Alert(116)));
    proxy.outcome().must_be("client_cert_missing");
    assert_eq!(with("pending.test").refusal(), End::Alert(INTERNAL_ERROR));
    proxy.outcome().must_be("certificate_pending");
    assert!(with("unknown.test").try_connect().is_err());
    proxy.outcome().must_be("unknown_sni");
    assert_eq!(origin.accepts(), 0);
    // A name that is passed through is its owner's: it answers the validations of its own CA.
    let stream = with("sealed.test").connect();
    assert_eq!(stream.alpn().as_deref(), Some(PROTOCOL));
    stream.must_echo(b"to the owner");
}

#[test]
fn a_pending_validation_shows_its_certificate_to_its_own_name_and_protocol_alone() {
    let mut ca = Ca::prepare(Wishes::default());
    // The CA asks elsewhere and waits for an answer: the validation stays pending until it gives up.
    let silent = Origin::plain().silent();
    let origin = Origin::echo();
    ca.answers_elsewhere(silent.listen_addr().port());
    ca.names_lead_here(&["app.test"]);
    ca.run();
    let proxy = ca
        .proxy("")
        .listen("127.0.0.1:0")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .terminate("other.test", &origin)
        .start();
    let place = proxy.listen_addr("edge").clone();
    let answered = |sni: &str, alpn: &[&str]| -> Option<String> {
        // Its certificate signs itself, so that this client refuses it; the ALPN protocol comes before.
        let trusting = trusting(alpn);
        let stream = Client::new(&place, sni).connect_with(&trusting, sni).ok()?;
        let (data, end) = stream.receive_to_end();
        assert!(data.is_empty());
        assert_eq!(end, End::Clean);
        stream.alpn()
    };
    let mut protocol = None;
    eventually("the validation is pending", || {
        protocol = answered("app.test", &[PROTOCOL]);
        protocol.is_some()
    });
    assert_eq!(protocol.as_deref(), Some(PROTOCOL));
    // Beside another protocol, or none, it is a client like any other.
    for alpn in [&[PROTOCOL, "h2"][..], &["h2", PROTOCOL], &["h2"], &[]] {
        assert_eq!(answered("app.test", alpn), None, "{alpn:?}");
    }
    let other = Client::new(&place, "other.test")
        .alpn(&[PROTOCOL])
        .connect();
    assert_eq!(
        other.alpn(),
        None,
        "the certificate of a route, without the protocol"
    );
    other.must_echo(b"as any client");
    assert_eq!(origin.accepts(), 1);
}

#[test]
fn sources_and_limits_hold_for_validations_too() {
    let ca = Ca::start(&["app.test"]);
    let origin = Origin::echo();
    let proxy: Proxy = ca
        .proxy("")
        .on_endpoint("sources: { deny: [127.0.0.1] }")
        .route("terminate", "app.test", &origin)
        .with_certificate("{ acme: pebble, names: [app.test] }")
        .start();
    proxy.log_line(|line| {
        line.contains("a certificate could not be had") && line.contains("app.test")
    });
    let records = super::authority::records(&proxy);
    assert!(
        records
            .iter()
            .all(|record| record.reason() == "denied_source"),
        "{records:?}"
    );
}

/// A client that accepts any certificate, to see what is behind.
fn trusting(alpn: &[&str]) -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous();
    let builder = builder.with_custom_certificate_verifier(Arc::new(Anything(provider)));
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Accepts any certificate.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
