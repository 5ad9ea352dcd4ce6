//! JA4: a fingerprint of the software that sent a ClientHello, by the algorithm that FoxIO has published
//! (JA4, TLS client fingerprinting) for TLS over TCP.
//!
//! It does not depend on the order of suites and extensions, nor on the server's name. Values of GREASE (RFC
//! 8701) do not count.

use std::fmt;

use super::digest::sha256;
use super::hello_message::{ALPN, HelloMessage, SERVER_NAME, SIGNATURE_ALGORITHMS};

/// How many bytes of a digest are kept.
const DIGEST: usize = 6;

/// The fingerprint of a ClientHello, such as `t13d1516h2_8daaf6152771_e5627efa2ab1`. Every live connection
/// has one, so it is small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ja4 {
    /// Version, server name, counts and ALPN, in ASCII.
    head: [u8; 10],
    /// The beginning of the digest of the suites; zeros for none.
    suites: [u8; DIGEST],
    /// The same of the extensions and signature algorithms.
    extensions: [u8; DIGEST],
}

impl Ja4 {
    /// The fingerprint of the ClientHello at the start of these bytes from the wire, record headers included.
    /// `None` if they hold no whole one.
    pub fn of(wire: &[u8]) -> Option<Self> {
        let hello = HelloMessage::read(wire)?;
        let mut suites: Vec<u16> = hello.suites().filter(|n| !is_grease(*n)).collect();
        let mut extensions: Vec<u16> = hello
            .extension_numbers()
            .filter(|n| !is_grease(*n))
            .collect();
        let head = head(&hello, suites.len(), extensions.len());
        suites.sort_unstable();
        extensions.retain(|number| ![SERVER_NAME, ALPN].contains(number));
        extensions.sort_unstable();
        let algorithms = hello.listed(SIGNATURE_ALGORITHMS);
        let algorithms: Vec<u16> = algorithms.filter(|n| !is_grease(*n)).collect();
        let mut listed = Vec::new();
        list(&suites, &mut listed);
        let suites = beginning(&listed);
        listed.clear();
        list(&extensions, &mut listed);
        if !listed.is_empty() && !algorithms.is_empty() {
            listed.push(b'_');
            list(&algorithms, &mut listed);
        }
        Some(Self {
            head,
            suites,
            extensions: beginning(&listed),
        })
    }

    /// Appends its text.
    pub fn push(&self, out: &mut String) {
        out.push_str(str::from_utf8(&self.head).unwrap_or_default());
        for digest in [self.suites, self.extensions] {
            out.push('_');
            for byte in digest {
                out.extend([byte >> 4, byte].map(|digit| char::from(hex_digit(digit))));
            }
        }
    }
}

impl fmt::Display for Ja4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(36);
        self.push(&mut text);
        f.write_str(&text)
    }
}

/// The digit of the lower half of a byte.
fn hex_digit(byte: u8) -> u8 {
    b"0123456789abcdef"[usize::from(byte & 0xf)]
}

fn head(hello: &HelloMessage, suites: usize, extensions: usize) -> [u8; 10] {
    let newest = hello.versions().filter(|n| !is_grease(*n)).max();
    let [major, minor] = match newest.unwrap_or_default() {
        0x0304 => *b"13",
        0x0303 => *b"12",
        0x0302 => *b"11",
        0x0301 => *b"10",
        0x0300 => *b"s3",
        0x0002 => *b"s2",
        _ => *b"00",
    };
    let is_named = hello.extension(SERVER_NAME).is_some();
    let name = if is_named { b'd' } else { b'i' };
    let [suites_high, suites_low] = two_digits(suites);
    let [extensions_high, extensions_low] = two_digits(extensions);
    let [first, last] = protocol(hello.first_protocol().unwrap_or_default());
    [
        b't',
        major,
        minor,
        name,
        suites_high,
        suites_low,
        extensions_high,
        extensions_low,
        first,
        last,
    ]
}

/// The first and the last character of a protocol, or of its hexadecimal form if one of them is neither a
/// letter nor a digit.
fn protocol(name: &[u8]) -> [u8; 2] {
    match (name.first(), name.last()) {
        (Some(first), Some(last)) => {
            if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
                [*first, *last]
            } else {
                [hex_digit(first >> 4), hex_digit(*last)]
            }
        }
        _ => *b"00",
    }
}

/// A count; 99 stands for more.
fn two_digits(count: usize) -> [u8; 2] {
    // At most 9 and 9.
    let count = count.min(99) as u8;
    [b'0' + count / 10, b'0' + count % 10]
}

/// Appends the numbers in hexadecimal, separated by commas.
fn list(numbers: &[u16], out: &mut Vec<u8>) {
    out.reserve(numbers.len() * 5);
    for (n, number) in numbers.iter().enumerate() {
        let [high, low] = number.to_be_bytes();
        let digits = [high >> 4, high, low >> 4, low].map(hex_digit);
        if n > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&digits);
    }
}

/// The beginning of the digest of a list; zeros if that is empty.
fn beginning(list: &[u8]) -> [u8; DIGEST] {
    if list.is_empty() {
        return [0; DIGEST];
    }
    let [a, b, c, d, e, f, ..] = sha256(list);
    [a, b, c, d, e, f]
}

/// Whether a client sends this number to see that servers ignore what they do not know (RFC 8701).
pub(super) const fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0xf == 0xa
}

#[cfg(test)]
mod tests;
