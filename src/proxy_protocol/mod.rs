//! The PROXY protocol, versions 1 and 2, as haproxy.org/download/3.2/doc/proxy-protocol.txt has it:
//! what a header says, and the bytes of one.
//!
//! Pure: it knows no socket and no deadline. A header is decoded from however many bytes have come,
//! and the answer never depends on how they were cut: nothing is decided before the bytes that decide
//! it are there, and what they decide no later byte changes.

mod crc32c;
mod encode;
mod policy;
mod tlv;
mod v1;
mod v2;

use std::fmt;
use std::net::SocketAddr;

pub use encode::{ClientCertificate, Facts, Parties, Ssl, encode_v2};
pub use policy::{Accept, SendHeader, TlvSet};
pub use tlv::Tlvs;
pub use v1::encode as encode_v1;

/// The most bytes behind the 16 fixed ones of a version 2 header that are read. No sender has use for
/// more, and what a peer may make us hold is bounded.
pub const V2_LENGTH_MAX: usize = 4096;

const V1_SIGNATURE: &[u8] = b"PROXY";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The version 1 header without addresses: of a connection that is nobody's but ours, such as a health
/// check, and of one between unix sockets.
pub const OWN_V1: &[u8] = b"PROXY UNKNOWN\r\n";

/// The version 2 header of one: the command LOCAL, and nothing behind it.
pub const OWN_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// What a whole header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The connection that the sender relays. `None` where it speaks for itself (`LOCAL`), or does not
    /// say for an IP address (`UNKNOWN`, UNSPEC, unix sockets): the socket's own addresses hold then.
    pub proxied: Option<Flow>,
    /// What else a version 2 header says.
    pub tlvs: Tlvs<'a>,
}

/// From where to where a connection goes. Addresses are canonical: an IPv4-mapped one is IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The client.
    pub source: SocketAddr,
    /// What it has dialled.
    pub destination: SocketAddr,
}

impl Flow {
    /// A flow between these, made canonical.
    pub fn new(source: SocketAddr, destination: SocketAddr) -> Self {
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        Self {
            source: canonical(source),
            destination: canonical(destination),
        }
    }
}

/// What the bytes that have come so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// The beginning of what may become a header.
    NeedMore,
    /// A whole header, which is so many bytes long; those behind it are not ours.
    Done {
        /// What it says.
        header: Header<'a>,
        /// Its length.
        consumed: usize,
    },
    /// No header, whatever else comes.
    Invalid(Defect),
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Defect {
    /// They do not begin like one.
    Foreign,
    /// Version 1: no CRLF within 107 bytes.
    Endless,
    /// Version 1: not the fields that there must be, one space between them.
    Fields,
    /// Version 1: an address of the wrong family, or none.
    Address,
    /// Version 1: a port that is none, or is written in another way than the protocol's.
    Port,
    /// Version 2: another version than 2.
    Version,
    /// Version 2: a command that is none.
    Command,
    /// Version 2: an address family or a transport that is none.
    Family,
    /// Version 2: longer than [`V2_LENGTH_MAX`].
    TooLong,
    /// Version 2: too short for the addresses it must hold.
    TooShort,
    /// Version 2: a TLV goes beyond the end of the header, or bytes are left that are none.
    Tlv,
    /// Version 2: a TLV has a length that its type does not allow, or the checksum is there twice.
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
            Self::Address => "an address is none of its family",
            Self::Port => "a port is no number from 0 to 65535",
            Self::Version => "its version is not 2",
            Self::Command => "its command is neither LOCAL nor PROXY",
            Self::Family => "its address family or transport is none",
            Self::TooLong => "it is longer than 4096 bytes",
            Self::TooShort => "it is too short for its addresses",
            Self::Tlv => "a TLV does not end where the header does",
            Self::TlvLength => "a TLV has a length that its type does not allow",
            Self::Checksum => "its checksum is wrong",
        })
    }
}

/// What bytes begin like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing that could be told yet.
    Undecided,
    /// A header of version 1.
    V1,
    /// A header of version 2.
    V2,
    /// Something else.
    Foreign,
}

/// What these bytes, the first of a stream, begin like.
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

/// A header and its length, once all of it has come.
type Found<'a> = Result<Option<(Header<'a>, usize)>, Defect>;

#[cfg(test)]
mod tests;
