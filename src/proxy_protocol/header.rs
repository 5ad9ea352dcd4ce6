//! A decoded header, the reasons to refuse one, and the bytes that both versions begin with.

use std::fmt;
use std::net::SocketAddr;

use super::tlv::Tlvs;

/// The longest accepted version 2 header, in bytes after the 16 fixed ones. No sender needs more, and it
/// bounds the memory that a peer can occupy.
pub const V2_LENGTH_MAX: usize = 4096;

pub(super) const V1_SIGNATURE: &[u8] = b"PROXY";
pub(super) const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

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

/// A header and its length; `None` while it is incomplete.
pub(super) type Parsed<'a> = Result<Option<(Header<'a>, usize)>, Defect>;

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
