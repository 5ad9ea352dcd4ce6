//! Version 2: sixteen fixed bytes, addresses, and TLVs.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c;
use super::header::{Defect, Flow, Header, Parsed, V2_LENGTH_MAX, V2_SIGNATURE};
use super::tlv::{Tlvs, kind};

/// Signature, command, family, and the length of the rest.
const FIXED: usize = 16;

/// Lengths of the address blocks in bytes.
const IPV4: usize = 12;
const IPV6: usize = 36;
const UNIX: usize = 216;

/// The longest unique identifier, in bytes.
const UNIQUE_ID_MAX: usize = 128;

enum V2Command {
    Local,
    Proxy,
}

enum Family {
    /// The family of a LOCAL header, which is ignored.
    Ignored,
    Unspecified,
    Ipv4,
    Ipv6,
    Unix,
}

/// Decodes a header; `bytes` begins with the signature. Each byte is checked as soon as it arrives.
pub(super) fn decode(bytes: &[u8]) -> Parsed<'_> {
    let rest = bytes.get(V2_SIGNATURE.len()..).unwrap_or_default();
    let Some(version_command) = rest.first() else {
        return Ok(None);
    };
    let command = command(*version_command)?;
    let Some(family_transport) = rest.get(1) else {
        return Ok(None);
    };
    let family = match command {
        V2Command::Local => Family::Ignored,
        V2Command::Proxy => family(*family_transport)?,
    };
    let Some(&[high, low]) = rest.get(2..4) else {
        return Ok(None);
    };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > V2_LENGTH_MAX {
        return Err(Defect::TooLong);
    }
    let Some(whole) = bytes.get(..FIXED + len) else {
        return Ok(None);
    };
    Ok(Some((block(whole, &family)?, whole.len())))
}

const fn command(byte: u8) -> Result<V2Command, Defect> {
    match (byte >> 4, byte & 0x0f) {
        (2, 0) => Ok(V2Command::Local),
        (2, 1) => Ok(V2Command::Proxy),
        (2, _) => Err(Defect::Command),
        _ => Err(Defect::Version),
    }
}

/// The addresses of a datagram are accepted like those of a stream.
const fn family(byte: u8) -> Result<Family, Defect> {
    match (byte >> 4, byte & 0x0f) {
        (0..=3, 0) | (0, 1..=2) => Ok(Family::Unspecified),
        (1, 1..=2) => Ok(Family::Ipv4),
        (2, 1..=2) => Ok(Family::Ipv6),
        (3, 1..=2) => Ok(Family::Unix),
        _ => Err(Defect::Family),
    }
}

/// The addresses and TLVs of a complete header.
fn block<'a>(whole: &'a [u8], family: &Family) -> Result<Header<'a>, Defect> {
    let block = whole.get(FIXED..).unwrap_or_default();
    let (proxied, len) = match family {
        // The header does not define where the TLVs begin.
        Family::Ignored | Family::Unspecified => {
            return Ok(Header {
                proxied: None,
                tlvs: Tlvs::default(),
            });
        }
        Family::Ipv4 => (Some(ipv4(block).ok_or(Defect::TooShort)?), IPV4),
        Family::Ipv6 => (Some(ipv6(block).ok_or(Defect::TooShort)?), IPV6),
        Family::Unix => (None, UNIX),
    };
    let rest = block.get(len..).ok_or(Defect::TooShort)?;
    let tlvs = Tlvs::new(rest).ok_or(Defect::Tlv)?;
    check(whole, FIXED + len, tlvs)?;
    Ok(Header { proxied, tlvs })
}

fn ipv4(block: &[u8]) -> Option<Flow> {
    let (source, rest) = block.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let (from, to) = ports(rest)?;
    Some(Flow::new(
        SocketAddr::new(Ipv4Addr::from(*source).into(), from),
        SocketAddr::new(Ipv4Addr::from(*destination).into(), to),
    ))
}

fn ipv6(block: &[u8]) -> Option<Flow> {
    let (source, rest) = block.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let (from, to) = ports(rest)?;
    Some(Flow::new(
        SocketAddr::new(Ipv6Addr::from(*source).into(), from),
        SocketAddr::new(Ipv6Addr::from(*destination).into(), to),
    ))
}

fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
    let (from, rest) = bytes.split_first_chunk::<2>()?;
    let (to, _) = rest.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*from), u16::from_be_bytes(*to)))
}

/// Checks the TLVs that have rules; they begin at `start` of the whole header.
fn check(whole: &[u8], start: usize, tlvs: Tlvs<'_>) -> Result<(), Defect> {
    let mut checksum = None;
    let mut at = start;
    for tlv in tlvs {
        let value = at + 3;
        at = value + tlv.value.len();
        match tlv.kind {
            kind::CRC32C => {
                let sum = tlv.value.try_into().map_err(|_| Defect::TlvLength)?;
                if checksum.replace((value, u32::from_be_bytes(sum))).is_some() {
                    return Err(Defect::TlvLength);
                }
            }
            kind::UNIQUE_ID if tlv.value.len() > UNIQUE_ID_MAX => return Err(Defect::TlvLength),
            _ => {}
        }
    }
    match checksum {
        Some((value, sum)) if crc32c::with_zeroes_at(whole, value) != sum => Err(Defect::Checksum),
        _ => Ok(()),
    }
}
