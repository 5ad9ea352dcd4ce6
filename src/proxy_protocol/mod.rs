//! The PROXY protocol, versions 1 and 2 (haproxy.org/download/3.2/doc/proxy-protocol.txt): decodes and
//! encodes headers.
//!
//! Pure: this module knows no socket and no deadline. It decodes a header from the bytes received so far.
//! The result does not depend on how the bytes were split: it is final only once the bytes that decide it
//! have arrived, and later bytes do not change it.

mod crc32c;
mod encode;
mod policy;
mod tlv;
mod v1;
mod v2;

use std::fmt;
use std::net::SocketAddr;

pub use encode::{Facts, Parties, Ssl, VerifiedClient, encode_v2};
pub use policy::{Accept, SendHeader, TlvSet};
pub use tlv::Tlvs;
pub use v1::encode as encode_v1;

/// The longest accepted version 2 header, in bytes after the 16 fixed ones. No sender needs more, and it
/// bounds the memory that a peer can occupy.
pub const V2_LENGTH_MAX: usize = 4096;

const V1_SIGNATURE: &[u8] = b"PROXY";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The version 1 header without addresses: for our own connections, such as health checks, and for clients
/// of unix sockets.
pub const OWN_V1: &[u8] = b"PROXY UNKNOWN\r\n";

/// The same in version 2: the command LOCAL, without addresses.
pub const OWN_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// A decoded header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The addresses of the relayed connection. `None` if the sender speaks for itself (`LOCAL`) or gives
    /// no IP addresses (`UNKNOWN`, UNSPEC, unix sockets): the socket's own addresses apply then.
    pub proxied: Option<Flow>,
    /// The TLVs of a version 2 header.
    pub tlvs: Tlvs<'a>,
}

/// Source and destination of a connection. Addresses are canonical: an IPv4-mapped one becomes IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The client.
    pub source: SocketAddr,
    /// The address that it dialled.
    pub destination: SocketAddr,
}

impl Flow {
    /// Makes the addresses canonical.
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        Self {
            source: canonical(source),
            destination: canonical(destination),
        }
    }
}

/// The result of decoding the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// They may be the beginning of a header.
    NeedMore,
    /// A complete header. The bytes behind it belong to the application.
    Done {
        /// The header.
        header: Header<'a>,
        /// Its length in bytes.
        consumed: usize,
    },
    /// Not a header, whatever bytes follow.
    Invalid(Defect),
}

/// A violation of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// The signature is wrong.
    Foreign,
    /// Version 1: no CRLF within 107 bytes.
    Endless,
    /// Version 1: missing fields, extra fields, or not exactly one space between them.
    Fields,
    /// Version 1: an invalid address, or one of the wrong family.
    Address,
    /// Version 1: an invalid port, or one with a sign or leading zeroes.
    Port,
    /// Version 2: another version than 2.
    Version,
    /// Version 2: an unknown command.
    Command,
    /// Version 2: an unknown address family or transport.
    Family,
    /// Version 2: longer than [`V2_LENGTH_MAX`].
    TooLong,
    /// Version 2: too short for its addresses.
    TooShort,
    /// Version 2: a TLV extends beyond the end of the header, or bytes remain that form no TLV.
    Tlv,
    /// Version 2: a TLV has a length that its type does not allow, or there is a second checksum.
    TlvLength,
    /// Version 2: the checksum is wrong.
    Checksum,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Foreign => "the first bytes are not those of a PROXY header",
            Self::Endless => "no end of line within 107 bytes",
            Self::Fields => "not the fields of a version 1 header",
            Self::Address => "an address is invalid for its family",
            Self::Port => "a port is not a number from 0 to 65535",
            Self::Version => "its version is not 2",
            Self::Command => "its command is neither LOCAL nor PROXY",
            Self::Family => "its address family or transport is unknown",
            Self::TooLong => "it is longer than 4096 bytes",
            Self::TooShort => "it is too short for its addresses",
            Self::Tlv => "a TLV does not end where the header ends",
            Self::TlvLength => "a TLV has a length that its type does not allow",
            Self::Checksum => "its checksum is wrong",
        })
    }
}

/// The kind of header that a stream begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Not decided yet.
    Undecided,
    /// A version 1 header.
    V1,
    /// A version 2 header.
    V2,
    /// Not a header.
    Foreign,
}

/// Classifies the first bytes of a stream.
pub fn opening(bytes: &[u8]) -> Opening {
    if bytes.starts_with(V1_SIGNATURE) {
        Opening::V1
    } else if bytes.starts_with(V2_SIGNATURE) {
        Opening::V2
    } else if V1_SIGNATURE.starts_with(bytes) || V2_SIGNATURE.starts_with(bytes) {
        Opening::Undecided
    } else {
        Opening::Foreign
    }
}

/// Decodes a header of either version from the first bytes of a stream.
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    let decoded = match opening(bytes) {
        Opening::Undecided => Ok(None),
        Opening::V1 => v1::decode(bytes),
        Opening::V2 => v2::decode(bytes),
        Opening::Foreign => Err(Defect::Foreign),
    };
    match decoded {
        Ok(None) => Decoded::NeedMore,
        Ok(Some((header, consumed))) => Decoded::Done { header, consumed },
        Err(defect) => Decoded::Invalid(defect),
    }
}

/// A header and its length; `None` while it is incomplete.
type Parsed<'a> = Result<Option<(Header<'a>, usize)>, Defect>;

#[cfg(test)]
mod tests;
