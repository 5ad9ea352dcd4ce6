//! The bytes of a ClientHello that rustls has parsed: extensions that rustls' API does not expose.

use std::ops::Range;

use super::early_data::{HANDSHAKE, HEADER, record_len};

/// Extensions (RFC 8446 section 4.2).
pub(super) const SERVER_NAME: u16 = 0;
pub(super) const SUPPORTED_GROUPS: u16 = 10;
pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(super) const ALPN: u16 = 16;
pub(super) const SESSION_TICKET: u16 = 35;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;

/// The header of a handshake message: its type, three bytes of length.
const MESSAGE_HEADER: usize = 4;

/// The most that a record may carry.
const FRAGMENT_MAX: usize = 16 * 1024;

/// A ClientHello, and its length on the wire.
#[derive(Debug)]
pub(super) struct HelloMessage {
    /// The message with its header.
    pub(super) bytes: Vec<u8>,
    /// How many bytes its records take.
    pub(super) wire: usize,
    extensions: Vec<(u16, Range<usize>)>,
}

impl HelloMessage {
    /// Reads the message at the start of `wire`. `None` if it is no ClientHello, or incomplete.
    pub(super) fn read(wire: &[u8]) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut at = 0;
        loop {
            let rest = wire.get(at..)?;
            let len = record_len(rest).filter(|_| rest.first() == Some(&HANDSHAKE))?;
            bytes.extend_from_slice(rest.get(HEADER..len)?);
            at += len;
            if let [_, high, middle, low, ..] = *bytes {
                let len = u32::from_be_bytes([0, high, middle, low]) as usize;
                if bytes.len() >= MESSAGE_HEADER + len {
                    bytes.truncate(MESSAGE_HEADER + len);
                    break;
                }
            }
        }
        let extensions = extensions(&bytes)?;
        Some(Self {
            bytes,
            wire: at,
            extensions,
        })
    }

    /// The version in the head of the message, which TLS 1.3 does not use (RFC 8446 section 4.1.2).
    pub(super) fn legacy_version(&self) -> Option<u16> {
        number(&self.bytes, MESSAGE_HEADER)
    }

    /// The cipher suites, in the client's order.
    pub(super) fn suites(&self) -> impl Iterator<Item = u16> {
        let list = || {
            let at = after_session_id(&self.bytes)?;
            let end = at + 2 + usize::from(number(&self.bytes, at)?);
            self.bytes.get(at + 2..end)
        };
        numbers(list().unwrap_or_default())
    }

    /// The numbers of the extensions, in the client's order.
    pub(super) fn extension_numbers(&self) -> impl Iterator<Item = u16> {
        self.extensions.iter().map(|(number, _)| *number)
    }

    /// The content of an extension.
    pub(super) fn extension(&self, number: u16) -> Option<&[u8]> {
        let (_, range) = self.extensions.iter().find(|(own, _)| *own == number)?;
        self.bytes.get(range.start + 4..range.end)
    }

    /// The numbers that an extension lists behind a length of two bytes.
    pub(super) fn listed(&self, number: u16) -> impl Iterator<Item = u16> {
        let content = self.extension(number);
        numbers(
            content
                .and_then(|content| content.get(2..))
                .unwrap_or_default(),
        )
    }

    /// The TLS versions that are offered, in the client's order (RFC 8446 section 4.2.1).
    pub(super) fn versions(&self) -> impl Iterator<Item = u16> {
        let content = self.extension(SUPPORTED_VERSIONS);
        let listed = content.and_then(|content| content.get(1..));
        let old = self.legacy_version().filter(|_| listed.is_none());
        numbers(listed.unwrap_or_default()).chain(old)
    }

    /// The first application protocol that is offered.
    pub(super) fn first_protocol(&self) -> Option<&[u8]> {
        let list = self.extension(ALPN)?;
        list.get(3..3 + usize::from(*list.get(2)?))
    }

    /// Whether the client offers a pre-shared key: with TLS 1.3, a session to resume.
    pub(super) fn offers_psk(&self) -> bool {
        self.has(PRE_SHARED_KEY)
    }

    /// Whether the client announces early data.
    pub(super) fn announces_early_data(&self) -> bool {
        self.has(EARLY_DATA)
    }

    fn has(&self, number: u16) -> bool {
        self.extensions.iter().any(|(own, _)| *own == number)
    }

    /// The message as a client without a session would send it: without pre-shared keys, and without
    /// early data, which needs one.
    pub(super) fn without_session(&self) -> Option<Vec<u8>> {
        let dropped = [PRE_SHARED_KEY, EARLY_DATA];
        let kept = self.extensions.iter();
        let kept = kept.filter(|(number, _)| !dropped.contains(number));
        let mut extensions = Vec::new();
        for (_, range) in kept {
            extensions.extend_from_slice(self.bytes.get(range.clone())?);
        }
        let (_, first) = self.extensions.first()?;
        let head = self
            .bytes
            .get(MESSAGE_HEADER..first.start.checked_sub(2)?)?;
        let mut message = self.bytes.get(..1)?.to_vec();
        let len = u32::try_from(head.len() + 2 + extensions.len()).ok()?;
        message.extend_from_slice(&len.to_be_bytes()[1..]);
        message.extend_from_slice(head);
        message.extend_from_slice(&u16::try_from(extensions.len()).ok()?.to_be_bytes());
        message.extend_from_slice(&extensions);
        Some(message)
    }
}

/// Splits a handshake message into records.
pub(super) fn in_records(message: &[u8]) -> Vec<u8> {
    let mut records = Vec::with_capacity(message.len() + HEADER);
    for fragment in message.chunks(FRAGMENT_MAX) {
        let [high, low] = u16::try_from(fragment.len()).unwrap_or(0).to_be_bytes();
        records.extend_from_slice(&[HANDSHAKE, 3, 1, high, low]);
        records.extend_from_slice(fragment);
    }
    records
}

/// The extensions of a ClientHello, each with its range in the message, header included.
fn extensions(message: &[u8]) -> Option<Vec<(u16, Range<usize>)>> {
    // Suites; compression methods; length of the extensions.
    let mut at = after_session_id(message)?;
    at += 2 + usize::from(number(message, at)?);
    at += 1 + usize::from(*message.get(at)?);
    at += 2;
    let mut extensions = Vec::new();
    while at < message.len() {
        let kind = number(message, at)?;
        let end = at + 4 + usize::from(number(message, at + 2)?);
        message.get(at..end)?;
        extensions.push((kind, at..end));
        at = end;
    }
    Some(extensions)
}

/// Where the suites begin: after version, random and session id.
fn after_session_id(message: &[u8]) -> Option<usize> {
    let at = MESSAGE_HEADER + 2 + 32;
    Some(at + 1 + usize::from(*message.get(at)?))
}

/// Numbers of two bytes each.
fn numbers(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).filter_map(|pair| number(pair, 0))
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with these extensions.
    fn hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([1, 9, 0, 2, 0x13, 1, 1, 0]);
        let mut all = Vec::new();
        for (number, content) in extensions {
            all.extend(number.to_be_bytes());
            all.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
            all.extend(*content);
        }
        body.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
        body.extend(all);
        let mut message = vec![1];
        message.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
        message.extend(body);
        message
    }

    #[test]
    fn a_hello_is_read_from_any_records_and_without_what_follows_it() {
        let message = hello(&[(EARLY_DATA, b""), (10, &[0; 300]), (PRE_SHARED_KEY, b"x")]);
        for len in [1, 2, 3, 5, 100, 400] {
            let mut wire = Vec::new();
            for fragment in message.chunks(len) {
                wire.extend([HANDSHAKE, 3, 1, 0, 0]);
                let at = wire.len() - 2;
                wire[at..].copy_from_slice(&u16::try_from(fragment.len()).unwrap().to_be_bytes());
                wire.extend(fragment);
            }
            let end = wire.len();
            assert!(HelloMessage::read(&wire[..end - 1]).is_none());
            wire.extend(b"and more");
            let found = HelloMessage::read(&wire).unwrap();
            assert_eq!((found.wire, &found.bytes), (end, &message));
            assert!(found.offers_psk() && found.announces_early_data());
        }
    }

    #[test]
    fn removing_the_session_leaves_the_other_extensions() {
        let with = hello(&[
            (10, b"abc"),
            (EARLY_DATA, b""),
            (16, b"d"),
            (PRE_SHARED_KEY, b"e"),
        ]);
        let without = hello(&[(10, b"abc"), (16, b"d")]);
        let found = HelloMessage::read(&in_records(&with)).unwrap();
        assert_eq!(found.without_session().unwrap(), without);
        let found = HelloMessage::read(&in_records(&without)).unwrap();
        assert!(!found.offers_psk() && !found.announces_early_data());
    }

    #[test]
    fn other_input_is_no_hello() {
        assert!(HelloMessage::read(b"").is_none());
        assert!(HelloMessage::read(b"GET / HTTP/1.1").is_none());
        assert!(HelloMessage::read(&in_records(&[1, 0, 0, 2, 3, 3])).is_none());
        let cut = hello(&[(10, b"abc")]);
        let mut cut = cut[..cut.len() - 1].to_vec();
        cut[3] -= 1;
        assert!(HelloMessage::read(&in_records(&cut)).is_none());
    }
}
