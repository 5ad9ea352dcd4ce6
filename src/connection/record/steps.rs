//! Steps of a connection as the process log and traces show them. None of them holds a byte of the
//! application, a key or a secret.

use std::fmt;

use tracing::debug;

use crate::tls::handshake_notes::HandshakeNotes;
use crate::tls::hello::Hello;
use crate::tls::hello_offer::HelloOffer;
use crate::tls::info::TlsFacts;
use crate::tls::ja4::Ja4;

/// An identifier as the access log has it.
pub(super) struct Id(pub(super) u64);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a client offers. The log escapes what comes from the wire.
pub(super) fn hello(id: u64, hello: &Hello, ja4: Option<Ja4>) {
    let offer = HelloOffer::of(&hello.bytes);
    let offer = offer.as_ref();
    let protocols: Vec<_> = hello
        .alpn
        .iter()
        .map(|name| String::from_utf8_lossy(name))
        .collect();
    debug!(
        id = %Id(id),
        sni = hello.server_name.as_deref(),
        versions = offer.map(|offer| offer.versions.as_str()),
        groups = offer.map(|offer| offer.groups.as_str()),
        alpn = (!protocols.is_empty()).then(|| protocols.join(" ")),
        suites = offer.map(|offer| offer.suites),
        offers_session = offer.map(|offer| offer.offers_session),
        ja4 = ja4.map(tracing::field::display),
        bytes = hello.bytes.len(),
        "ClientHello read"
    );
}

/// The handshake with one side is done.
pub(super) fn handshake_done(id: u64, facts: &TlsFacts, message: &'static str) {
    debug!(
        id = %Id(id),
        version = facts.version,
        cipher = facts.cipher,
        group = facts.group,
        alpn = facts.alpn.as_deref().map(String::from_utf8_lossy).as_deref(),
        resumed = facts.resumed,
        "{message}"
    );
}

/// The certificate that the client was shown.
pub(super) fn presented(id: u64, notes: &HandshakeNotes) {
    if let Some(own) = &notes.own {
        debug!(
            id = %Id(id),
            key = own.key.as_deref(),
            signed_with = own.signature,
            signature = notes.scheme.map(tracing::field::debug),
            "certificate chosen for the client"
        );
    }
}
