//! Version 1: one line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::encode::{AddressPair, Parties};
use super::header::{Defect, Flow, Header, OWN_V1, Parsed, V1_SIGNATURE};
use super::tlv::Tlvs;

/// The longest line in bytes, with CRLF.
const LINE_MAX: usize = 107;

const END: &[u8] = b"\r\n";

/// Decodes a line; `bytes` begins with the signature.
pub(super) fn decode(bytes: &[u8]) -> Parsed<'_> {
    let within = bytes.get(..LINE_MAX).unwrap_or(bytes);
    let Some(len) = within.windows(END.len()).position(|at| at == END) else {
        return if bytes.len() >= LINE_MAX {
            Err(Defect::Endless)
        } else {
            Ok(None)
        };
    };
    let line = within
        .get(V1_SIGNATURE.len()..len)
        .and_then(|line| line.strip_prefix(b" "))
        .ok_or(Defect::Fields)?;
    let header = Header {
        proxied: flow(line)?,
        tlvs: Tlvs::default(),
    };
    Ok(Some((header, len + END.len())))
}

/// Parses the text behind `PROXY `.
fn flow(line: &[u8]) -> Result<Option<Flow>, Defect> {
    // The protocol says to ignore anything behind UNKNOWN, even if it is not text.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    let line = std::str::from_utf8(line).map_err(|_| Defect::Fields)?;
    let fields: Vec<&str> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = fields[..] else {
        return Err(Defect::Fields);
    };
    let address: fn(&str) -> Option<IpAddr> = match family {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err(Defect::Fields),
    };
    let source = address(source).ok_or(Defect::Address)?;
    let destination = address(destination).ok_or(Defect::Address)?;
    Ok(Some(Flow::new(
        SocketAddr::new(source, port(source_port)?),
        SocketAddr::new(destination, port(destination_port)?),
    )))
}

/// Parses a decimal number. Leading zeroes are refused, because they could mean octal.
fn port(text: &str) -> Result<u16, Defect> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return Err(Defect::Port);
    }
    text.parse().map_err(|_| Defect::Port)
}

/// Encodes a line for a connection between `parties`.
pub fn encode(parties: &Parties<'_>) -> Vec<u8> {
    let flow = match parties {
        Parties::Ip(flow) => flow,
        Parties::Unix(_) => return OWN_V1.to_vec(),
    };
    let (family, source, destination) = match AddressPair::of(flow) {
        AddressPair::V4(source, destination) => {
            ("TCP4", source.to_string(), destination.to_string())
        }
        AddressPair::V6(source, destination) => ("TCP6", text(source), text(destination)),
    };
    let (from, to) = (flow.source.port(), flow.destination.port());
    format!("PROXY {family} {source} {destination} {from} {to}\r\n").into_bytes()
}

/// An IPv6 address in groups of hexadecimal digits only; std writes mapped addresses with a dotted quad.
fn text(address: Ipv6Addr) -> String {
    match (address.to_ipv4_mapped(), address.segments()) {
        (Some(_), [.., high, low]) => format!("::ffff:{high:x}:{low:x}"),
        (None, _) => address.to_string(),
    }
}
