//! PROXY headers of a connection: reads a required one, detects an unexpected one, and composes ours for the
//! origin.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;

use rustls::pki_types::CertificateDer;

use crate::hostname::HostName;
use crate::outcome::{Failure, Reason};
use crate::proxy_protocol::{
    self, Decoded, Defect, Facts, Flow, Opening, Parties, SendHeader, Ssl, TlvSet, VerifiedClient,
};
use crate::tls::foreign;
use crate::tls::handshake_notes::HandshakeNotes;
use crate::tls::info::{self, TlsFacts};
use crate::tls::openssl_names;
use crate::transport::{Socket, Transport};

/// How many bytes one read asks for. A header is shorter; bytes behind it are the client's.
const READ: usize = 4 * 1024;

/// Reads the header that a peer has to send; bytes read behind it remain in `bytes`. Returns the connection
/// that the header describes; `None` for a LOCAL or UNKNOWN one.
pub(super) async fn read(
    socket: &mut Socket,
    bytes: &mut Vec<u8>,
) -> Result<Option<Flow>, Failure> {
    loop {
        match proxy_protocol::decode(bytes) {
            Decoded::Done { header, consumed } => {
                let flow = header.proxied;
                bytes.drain(..consumed);
                return Ok(flow);
            }
            Decoded::Invalid(defect) => {
                return Err(match defect {
                    Defect::Foreign => missing(bytes),
                    _ => Failure::new(Reason::ProxyHeaderInvalid).detail(defect.to_string()),
                });
            }
            Decoded::NeedMore => {}
        }
        match socket.read_onto(bytes, READ).await {
            Ok(0) if bytes.is_empty() => return Err(Reason::ProbeEof.into()),
            Ok(0) => return Err(Reason::ClientClosed.into()),
            Ok(_) => {}
            Err(error) => {
                return Err(Failure::new(Reason::ClientReset).detail(error.to_string()));
            }
        }
    }
}

/// What came in place of a header.
fn missing(bytes: &[u8]) -> Failure {
    /// The type of a handshake record and the major version of all TLS (RFC 8446, section 5.1).
    const TLS: &[u8] = &[22, 3];
    let came = if bytes.starts_with(TLS) {
        "TLS: the peer sends no PROXY header; take it out of `accept_proxy_protocol.from`, \
         or have it send one"
            .to_owned()
    } else {
        foreign::describe(bytes)
    };
    Failure::new(Reason::ProxyHeaderMissing).detail(format!("in its place came {came}"))
}

/// The detail of [`Reason::ProxyHeaderUnexpected`]; `is_second` if one was read before.
pub(super) fn unexpected(peer: Option<SocketAddr>, is_second: bool) -> String {
    if is_second {
        return "a second PROXY header: the peer passes on the one that it received, \
            beside its own"
            .to_owned();
    }
    let from = peer.map(|peer| peer.ip().to_canonical().to_string());
    format!(
        "a PROXY header from a peer that `accept_proxy_protocol.from` of the endpoint does not list: \
         add {} if it is a load balancer of yours, or have it send none",
        from.as_deref().unwrap_or("its address")
    )
}

/// Whether a client that does not speak TLS has begun with a PROXY header. Reads more while `bytes` are too
/// few to decide.
pub(super) async fn is_header(socket: &mut Socket, bytes: &mut Vec<u8>) -> bool {
    loop {
        match proxy_protocol::opening(bytes) {
            Opening::V1 | Opening::V2 => return true,
            Opening::Foreign => return false,
            Opening::Undecided => {}
        }
        if !matches!(socket.read_onto(bytes, READ).await, Ok(1..)) {
            return false;
        }
    }
}

/// The facts that a PROXY header for an origin may contain. Of a header that we received, only the addresses
/// are among them.
pub(super) struct HeaderFacts<'a> {
    pub(super) client: &'a Transport,
    /// The client's address; a unix client has none.
    pub(super) source: Option<SocketAddr>,
    /// The address that the client dialled, if it differs from the local address of our socket.
    pub(super) dialled: Option<SocketAddr>,
    pub(super) name: Option<&'a HostName>,
    /// The ALPN protocols that the client offers.
    pub(super) offered: &'a [Vec<u8>],
    pub(super) notes: &'a HandshakeNotes,
    /// The connection's identifier in the access log.
    pub(super) id: &'a str,
}

impl HeaderFacts<'_> {
    /// The header for the origin.
    pub(super) fn header(&self, send: SendHeader) -> Result<Vec<u8>, Failure> {
        let path = self.client.socket.local_path().unwrap_or_default();
        let parties = match self.source {
            None => Parties::Unix(path.as_os_str().as_bytes()),
            Some(source) => {
                let local = || self.client.socket.local();
                let destination = self.dialled.or_else(local).ok_or_else(|| {
                    Failure::new(Reason::ProxyHeaderOut).detail("the local address is not known")
                })?;
                Parties::Ip(Flow::new(source, destination))
            }
        };
        match send {
            SendHeader::V1 => Ok(proxy_protocol::encode_v1(&parties)),
            SendHeader::V2(tlvs) => self.version_2(&parties, tlvs),
        }
    }

    fn version_2(&self, parties: &Parties<'_>, tlvs: TlvSet) -> Result<Vec<u8>, Failure> {
        let alpn = self.alpn();
        let certificate = self.certificate().filter(|_| tlvs.client_cert);
        let common_name = certificate.and_then(info::common_name);
        let ssl = self.ssl().filter(|_| tlvs.ssl).map(|(ssl, resumed)| Ssl {
            client: certificate.map(|der| VerifiedClient {
                common_name: common_name.as_deref(),
                der,
                resumed,
            }),
            ..ssl
        });
        let facts = Facts {
            alpn: alpn.as_deref().filter(|_| tlvs.alpn),
            authority: self.name.map(HostName::as_str).filter(|_| tlvs.authority),
            unique_id: tlvs.unique_id.then_some(self.id.as_bytes()),
            ssl,
            checksum: tlvs.crc32c,
        };
        proxy_protocol::encode_v2(parties, &facts)
            .map_err(|error| Failure::new(Reason::ProxyHeaderOut).detail(error.to_string()))
    }

    /// The negotiated ALPN protocol. In passthrough, where the client negotiates with the origin, the
    /// client's offer as in its ALPN extension: a list with lengths, which cannot be mistaken for a
    /// protocol name.
    fn alpn(&self) -> Option<Vec<u8>> {
        if let Some(tls) = &self.client.tls {
            return tls.facts().alpn_protocol().map(<[u8]>::to_vec);
        }
        let mut list = Vec::new();
        for protocol in self.offered {
            list.push(u8::try_from(protocol.len()).ok()?);
            list.extend_from_slice(protocol);
        }
        let len = u16::try_from(list.len()).ok().filter(|len| *len > 0)?;
        Some([&len.to_be_bytes()[..], &list].concat())
    }

    /// The client's verified certificate.
    fn certificate(&self) -> Option<&CertificateDer<'static>> {
        self.client.tls.as_ref()?;
        self.notes.peer.as_ref()
    }

    /// The facts of the client's TLS, if it ends here, and whether its session was resumed.
    fn ssl(&self) -> Option<(Ssl<'_>, bool)> {
        let conn = self.client.tls.as_ref()?.facts();
        let TlsFacts {
            version,
            group,
            resumed,
            ..
        } = TlsFacts::of(conn);
        let suite = conn.negotiated_cipher_suite();
        let own = self.notes.own.as_deref();
        let ssl = Ssl {
            version,
            cipher: suite.and_then(|suite| openssl_names::cipher(suite.suite())),
            group,
            signature_algorithm: own.and_then(|own| own.signature),
            key_algorithm: own.and_then(|own| own.key.as_deref()),
            signature_scheme: self.notes.scheme.and_then(openssl_names::signature_scheme),
            client: None,
        };
        Some((ssl, resumed))
    }
}
