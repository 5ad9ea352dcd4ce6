//! What a ClientHello offers, in words, for those who look at one connection.

use rustls::NamedGroup;

use super::hello_message::{HelloMessage, SESSION_TICKET, SUPPORTED_GROUPS};
use super::ja4::is_grease;
use super::suites::Group;

/// How many versions or groups are named.
const NAMED_MAX: usize = 16;

/// What a ClientHello offers.
#[derive(Debug)]
pub struct HelloOffer {
    /// The TLS versions, in the client's order.
    pub versions: String,
    /// The key exchange groups, in the client's order.
    pub groups: String,
    /// How many cipher suites there are.
    pub suites: usize,
    /// Whether it offers a session to resume.
    pub offers_session: bool,
}

impl HelloOffer {
    /// Reads the ClientHello at the start of these bytes from the wire. `None` if they hold no whole one.
    pub fn of(wire: &[u8]) -> Option<Self> {
        let hello = HelloMessage::read(wire)?;
        let ticket = hello.extension(SESSION_TICKET);
        Some(Self {
            versions: listed(hello.versions(), version),
            groups: listed(hello.listed(SUPPORTED_GROUPS), group),
            suites: hello.suites().filter(|n| !is_grease(*n)).count(),
            offers_session: hello.offers_psk() || ticket.is_some_and(|ticket| !ticket.is_empty()),
        })
    }
}

fn listed(numbers: impl Iterator<Item = u16>, word: fn(u16) -> String) -> String {
    let numbers = numbers.filter(|number| !is_grease(*number));
    let words: Vec<_> = numbers.take(NAMED_MAX).map(word).collect();
    words.join(" ")
}

fn version(number: u16) -> String {
    match number {
        0x0304 => "TLSv1.3".to_owned(),
        0x0303 => "TLSv1.2".to_owned(),
        0x0302 => "TLSv1.1".to_owned(),
        0x0301 => "TLSv1.0".to_owned(),
        number => format!("{number:#06x}"),
    }
}

fn group(number: u16) -> String {
    // Those that clients offer and Reseal does not support (RFC 8446 section 4.2.7).
    match (Group::of(NamedGroup::from(number)), number) {
        (Some(group), _) => group.iana.to_owned(),
        (None, 0x0019) => "secp521r1".to_owned(),
        (None, 0x001e) => "x448".to_owned(),
        (None, 0x0100..=0x0104) => format!(
            "ffdhe{}",
            [2048, 3072, 4096, 6144, 8192][usize::from(number - 0x0100)]
        ),
        (None, number) => format!("{number:#06x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::hello_message::in_records;

    #[test]
    fn versions_groups_and_tickets_are_named() {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 4, 0x1a, 0x1a, 0x13, 1, 1, 0]);
        let extensions = [
            &[0, 43, 0, 7, 6, 0x2a, 0x2a, 3, 4, 3, 3][..],
            &[
                0, 10, 0, 12, 0, 10, 0x3a, 0x3a, 0x11, 0xec, 0, 29, 1, 0, 0, 99,
            ],
            &[0, 35, 0, 1, 9],
        ]
        .concat();
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        let mut message = vec![1, 0];
        message.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        message.extend(body);
        let offer = HelloOffer::of(&in_records(&message)).unwrap();
        assert_eq!(offer.versions, "TLSv1.3 TLSv1.2");
        assert_eq!(offer.groups, "X25519MLKEM768 x25519 ffdhe2048 0x0063");
        assert_eq!((offer.suites, offer.offers_session), (1, true));
    }
}
