//! Encodes a version 2 header.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::crc32c;
use super::header::{Flow, V2_SIGNATURE};
use super::tlv::kind;

const VERSION_2_PROXY: u8 = 0x21;
const STREAM_IPV4: u8 = 0x11;
const STREAM_IPV6: u8 = 0x21;
const STREAM_UNIX: u8 = 0x31;

/// The length of a unix socket's path field, as in `sockaddr_un`.
const PATH: usize = 108;

const CLIENT_SSL: u8 = 0x01;
const CLIENT_CERT_CONN: u8 = 0x02;
const CLIENT_CERT_SESS: u8 = 0x04;

/// The two ends of the connection that the header describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parties<'a> {
    /// An IP connection.
    Ip(Flow),
    /// A client of a unix socket, which has no name, and the path of that socket; empty if it has none.
    Unix(&'a [u8]),
}

/// The facts for the TLVs; an absent fact is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The application protocol.
    pub alpn: Option<&'a [u8]>,
    /// The host name that the client requested.
    pub authority: Option<&'a str>,
    /// An identifier that no other connection has, at most 128 bytes.
    pub unique_id: Option<&'a [u8]>,
    /// The client's TLS.
    pub ssl: Option<Ssl<'a>>,
    /// Whether to add a checksum.
    pub checksum: bool,
}

/// The TLS parameters of the client's connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ssl<'a> {
    /// Its version.
    pub version: Option<&'a str>,
    /// Its cipher suite.
    pub cipher: Option<&'a str>,
    /// Its key exchange group.
    pub group: Option<&'a str>,
    /// The signature algorithm of the certificate that we presented.
    pub signature_algorithm: Option<&'a str>,
    /// The key algorithm of the certificate that we presented.
    pub key_algorithm: Option<&'a str>,
    /// The signature scheme of our handshake signature.
    pub signature_scheme: Option<&'a str>,
    /// The client's verified certificate.
    pub client: Option<VerifiedClient<'a>>,
}

/// A client's verified certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedClient<'a> {
    /// The first common name of its subject.
    pub common_name: Option<&'a str>,
    /// The whole certificate in DER.
    pub der: &'a [u8],
    /// Whether the client presented it in an earlier connection of this session, not in this one.
    pub resumed: bool,
}

/// The part of a header that is too long for its length field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong(&'static str);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is too long for a PROXY header", self.0)
    }
}

/// Two addresses of one family.
pub(super) enum AddressPair {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, Ipv6Addr),
}

impl AddressPair {
    /// The addresses of a flow. If only one of them is IPv4, it becomes an IPv4-mapped IPv6 address.
    pub(super) const fn of(flow: &Flow) -> Self {
        match (flow.source.ip(), flow.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Self::V4(source, destination),
            (source, destination) => Self::V6(mapped(source), mapped(destination)),
        }
    }
}

const fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Encodes a header for a connection between `parties`, with these facts.
pub fn encode_v2(parties: &Parties<'_>, facts: &Facts<'_>) -> Result<Vec<u8>, TooLong> {
    let (family, mut block) = addresses(parties)?;
    if let Some(alpn) = facts.alpn {
        put(&mut block, kind::ALPN, alpn, "the ALPN protocol")?;
    }
    if let Some(authority) = facts.authority {
        put(
            &mut block,
            kind::AUTHORITY,
            authority.as_bytes(),
            "the server name",
        )?;
    }
    if let Some(id) = facts.unique_id {
        put(&mut block, kind::UNIQUE_ID, id, "the identifier")?;
    }
    if let Some(facts) = &facts.ssl {
        put(
            &mut block,
            kind::SSL,
            &ssl(facts)?,
            "the description of the client's TLS",
        )?;
    }
    if facts.checksum {
        put(&mut block, kind::CRC32C, &[0; 4], "the checksum")?;
    }
    let len = u16::try_from(block.len()).map_err(|_| TooLong("the header"))?;
    let mut header = V2_SIGNATURE.to_vec();
    header.extend([VERSION_2_PROXY, family]);
    header.extend(len.to_be_bytes());
    header.extend(block);
    if facts.checksum {
        let hole = header.len() - 4;
        let sum = crc32c::with_zeroes_at(&header, hole);
        header.truncate(hole);
        header.extend(sum.to_be_bytes());
    }
    Ok(header)
}

/// The family and transport byte, and the encoded addresses.
fn addresses(parties: &Parties<'_>) -> Result<(u8, Vec<u8>), TooLong> {
    let flow = match parties {
        Parties::Ip(flow) => flow,
        Parties::Unix(path) => {
            let padding = PATH
                .checked_sub(path.len())
                .ok_or(TooLong("the path of the socket"))?;
            let mut block = vec![0; PATH];
            block.extend_from_slice(path);
            block.resize(block.len() + padding, 0);
            return Ok((STREAM_UNIX, block));
        }
    };
    let (family, mut block) = match AddressPair::of(flow) {
        AddressPair::V4(source, destination) => (
            STREAM_IPV4,
            [source.octets(), destination.octets()].concat(),
        ),
        AddressPair::V6(source, destination) => (
            STREAM_IPV6,
            [source.octets(), destination.octets()].concat(),
        ),
    };
    block.extend(flow.source.port().to_be_bytes());
    block.extend(flow.destination.port().to_be_bytes());
    Ok((family, block))
}

fn ssl(facts: &Ssl<'_>) -> Result<Vec<u8>, TooLong> {
    let certificate = match &facts.client {
        None => 0,
        Some(certificate) if certificate.resumed => CLIENT_CERT_SESS,
        Some(_) => CLIENT_CERT_CONN | CLIENT_CERT_SESS,
    };
    // Zero means that the client presented a certificate and it is valid.
    let verify = u32::from(facts.client.is_none());
    let mut value = vec![CLIENT_SSL | certificate];
    value.extend(verify.to_be_bytes());
    let common_name = facts.client.and_then(|certificate| certificate.common_name);
    let texts = [
        (kind::SSL_VERSION, facts.version),
        (kind::SSL_CIPHER, facts.cipher),
        (kind::SSL_GROUP, facts.group),
        (kind::SSL_SIG_ALG, facts.signature_algorithm),
        (kind::SSL_KEY_ALG, facts.key_algorithm),
        (kind::SSL_SIG_SCHEME, facts.signature_scheme),
        (kind::SSL_CN, common_name),
    ];
    for (kind, text) in texts {
        if let Some(text) = text {
            put(
                &mut value,
                kind,
                text.as_bytes(),
                "the description of the client's TLS",
            )?;
        }
    }
    if let Some(certificate) = &facts.client {
        put(
            &mut value,
            kind::SSL_CLIENT_CERT,
            certificate.der,
            "the client's certificate",
        )?;
    }
    Ok(value)
}

fn put(out: &mut Vec<u8>, kind: u8, value: &[u8], what: &'static str) -> Result<(), TooLong> {
    let len = u16::try_from(value.len()).map_err(|_| TooLong(what))?;
    out.push(kind);
    out.extend(len.to_be_bytes());
    out.extend_from_slice(value);
    Ok(())
}
