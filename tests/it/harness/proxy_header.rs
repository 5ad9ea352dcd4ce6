//! PROXY headers, encoded and decoded for tests from the text of the protocol, without any code of the
//! program.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::Stream;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// A version 2 header of these parts.
pub fn header(version_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&SIGNATURE, &[version_command, family][..], &len, block].concat()
}

/// A version 2 header for a connection over TCP, with these TLVs.
pub fn proxied(source: &str, destination: &str, tlvs: &[(u8, &[u8])]) -> Vec<u8> {
    let [from, to]: [SocketAddr; 2] = [source, destination].map(|at| at.parse().unwrap());
    let mut block = match (from.ip(), to.ip()) {
        (IpAddr::V4(a), IpAddr::V4(b)) => [a.octets(), b.octets()].concat(),
        (IpAddr::V6(a), IpAddr::V6(b)) => [a.octets(), b.octets()].concat(),
        _ => panic!("two families"),
    };
    let family = if from.is_ipv4() { 0x11 } else { 0x21 };
    block.extend(from.port().to_be_bytes());
    block.extend(to.port().to_be_bytes());
    for (kind, value) in tlvs {
        block.extend(tlv(*kind, value));
    }
    header(0x21, family, &block)
}

pub fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&[kind][..], &len, value].concat()
}

/// The contents of a version 2 header that an origin received.
#[derive(Debug)]
pub struct ReceivedHeader {
    pub version_command: u8,
    pub family: u8,
    block: Vec<u8>,
    raw: Vec<u8>,
}

/// The contents of the SSL TLV.
#[derive(Debug)]
pub struct ReceivedSsl {
    pub flags: u8,
    pub verify: u32,
    tlvs: Vec<(u8, Vec<u8>)>,
}

impl ReceivedHeader {
    /// Reads a header and no byte beyond it.
    #[track_caller]
    pub fn receive(stream: &Stream) -> Self {
        let fixed = stream.receive(16);
        assert_eq!(fixed[..12], SIGNATURE);
        let len = u16::from_be_bytes([fixed[14], fixed[15]]);
        let block = stream.receive(len.into());
        let announced = Self {
            version_command: fixed[12],
            family: fixed[13],
            raw: [fixed, block.clone()].concat(),
            block,
        };
        announced.check_sum();
        announced
    }

    fn addresses(&self) -> usize {
        match self.family {
            0x11 => 12,
            0x21 => 36,
            0x31 => 216,
            other => panic!("the family {other:#x}"),
        }
    }

    fn address(&self, index: usize) -> SocketAddr {
        let (ip, ports): (IpAddr, _) = match self.family {
            0x11 => {
                let octets: [u8; 4] = self.block[index * 4..][..4].try_into().unwrap();
                (Ipv4Addr::from(octets).into(), &self.block[8..12])
            }
            0x21 => {
                let octets: [u8; 16] = self.block[index * 16..][..16].try_into().unwrap();
                (Ipv6Addr::from(octets).into(), &self.block[32..36])
            }
            other => panic!("the family {other:#x} has no addresses"),
        };
        let port = u16::from_be_bytes([ports[index * 2], ports[index * 2 + 1]]);
        SocketAddr::new(ip, port)
    }

    pub fn source(&self) -> SocketAddr {
        self.address(0)
    }

    pub fn destination(&self) -> SocketAddr {
        self.address(1)
    }

    /// The paths of a unix connection, without padding.
    pub fn paths(&self) -> [String; 2] {
        assert_eq!(self.family, 0x31);
        [0, 108].map(|at| {
            let path = self.block[at..at + 108].split(|byte| *byte == 0);
            String::from_utf8(path.into_iter().next().unwrap().to_vec()).unwrap()
        })
    }

    pub fn tlvs(&self) -> Vec<(u8, Vec<u8>)> {
        split(&self.block[self.addresses()..])
    }

    pub fn tlv(&self, kind: u8) -> Option<Vec<u8>> {
        find(&self.tlvs(), kind)
    }

    pub fn text(&self, kind: u8) -> Option<String> {
        self.tlv(kind)
            .map(|value| String::from_utf8(value).unwrap())
    }

    /// The types of the TLVs, in their order.
    pub fn kinds(&self) -> Vec<u8> {
        self.tlvs().into_iter().map(|(kind, _)| kind).collect()
    }

    pub fn ssl(&self) -> Option<ReceivedSsl> {
        let value = self.tlv(0x20)?;
        let (fixed, tlvs) = value.split_at(5);
        Some(ReceivedSsl {
            flags: fixed[0],
            verify: u32::from_be_bytes(fixed[1..].try_into().unwrap()),
            tlvs: split(tlvs),
        })
    }

    /// Checks the checksum, if there is one.
    #[track_caller]
    fn check_sum(&self) {
        if self.family == 0x31 || self.tlv(3).is_none() {
            return;
        }
        let sum = self.tlv(3).unwrap();
        let at = self.raw.windows(3).rposition(|w| w == [3, 0, 4]).unwrap() + 3;
        let mut zeroed = self.raw.clone();
        zeroed[at..at + 4].fill(0);
        assert_eq!(crc32c(&zeroed).to_be_bytes()[..], sum);
    }
}

impl ReceivedSsl {
    pub fn tlv(&self, kind: u8) -> Option<Vec<u8>> {
        find(&self.tlvs, kind)
    }

    pub fn text(&self, kind: u8) -> Option<String> {
        self.tlv(kind)
            .map(|value| String::from_utf8(value).unwrap())
    }

    pub fn kinds(&self) -> Vec<u8> {
        let mut kinds: Vec<_> = self.tlvs.iter().map(|(kind, _)| *kind).collect();
        kinds.sort_unstable();
        kinds
    }
}

fn find(tlvs: &[(u8, Vec<u8>)], kind: u8) -> Option<Vec<u8>> {
    let mut found = tlvs.iter().filter(|(own, _)| *own == kind);
    let first = found.next().map(|(_, value)| value.clone());
    assert!(found.next().is_none(), "the TLV {kind:#x} is there twice");
    first
}

#[track_caller]
fn split(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut tlvs = Vec::new();
    while let Some((&[kind, high, low], rest)) = bytes.split_first_chunk::<3>() {
        let (value, rest) = rest.split_at(u16::from_be_bytes([high, low]).into());
        tlvs.push((kind, value.to_vec()));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "stray bytes behind the TLVs: {bytes:?}");
    tlvs
}

/// Computed bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 * (sum & 1));
        }
    }
    !sum
}
