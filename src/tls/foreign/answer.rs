//! Names what an origin speaks that does not answer a ClientHello with TLS, and the way out.

use std::fmt::Write;

/// The way out for a protocol that has a port of its own for TLS, and for one that has none.
macro_rules! way_out {
    ($port:literal) => {
        concat!("; use ", $port, ", or, without TLS to the origin, ", way_out!())
    };
    () => {
        "`mode: terminate` (with `protocol: tcp`: `forward`)"
    };
    (inside $protocol:literal) => {
        concat!(": write `tls: { negotiate: ", $protocol, " }` under the upstream")
    };
    (inside) => {
        "; use an endpoint with `protocol: tcp` and `mode: forward`, so that clients begin it themselves"
    };
}

/// The content types of TLS records (RFC 8446 section 5.1, RFC 6520).
const CONTENT_TYPES: std::ops::RangeInclusive<u8> = 20..=24;

/// How many of the first bytes are shown when they are those of no known protocol.
const SHOWN_MAX: usize = 8;

/// How many characters of an unknown text are shown.
const TEXT_MAX: usize = 40;

/// What came in place of a TLS record, from the first bytes; `None` if they may be the start of one.
pub fn describe_answer(bytes: &[u8]) -> Option<String> {
    match bytes {
        [] => return None,
        [kind] | [kind, 3, ..] if CONTENT_TYPES.contains(kind) => return None,
        _ => {}
    }
    let known = protocol(bytes).map(str::to_owned);
    Some(
        known
            .or_else(|| text(bytes))
            .unwrap_or_else(|| unknown(bytes)),
    )
}

/// Protocols that begin with one of these texts.
const TEXTS: [(&[&[u8]], &str); 7] = [
    (
        &[b"HTTP/"],
        concat!("HTTP without TLS", way_out!("the origin's port for https")),
    ),
    (
        &[b"SSH-"],
        "SSH, which has TLS neither before nor inside: \
         use an endpoint with `protocol: tcp` and `mode: forward`",
    ),
    (
        &[b"* OK", b"* BYE", b"* PREAUTH"],
        concat!(
            "IMAP, which begins TLS later (STARTTLS)",
            way_out!(inside "imap"),
            ", or use the port for TLS from the start (993)"
        ),
    ),
    (
        &[b"+OK"],
        concat!(
            "POP3, which begins TLS later (STLS)",
            way_out!(inside "pop3"),
            ", or use the port for TLS from the start (995)"
        ),
    ),
    (
        &[b"-ERR", b"-DENIED", b"-NOAUTH"],
        concat!(
            "Redis' protocol (or POP3's) without TLS",
            way_out!("its `tls-port`")
        ),
    ),
    (
        &[b"AMQP"],
        concat!(
            "AMQP without TLS",
            way_out!("the origin's port for amqps (5671)")
        ),
    ),
    (
        &[b"<?xml", b"<stream"],
        concat!(
            "XMPP, which begins TLS later (STARTTLS)",
            way_out!(inside "xmpp")
        ),
    ),
];

fn protocol(bytes: &[u8]) -> Option<&'static str> {
    let starts = |(texts, _): &&(&[&[u8]], &str)| texts.iter().any(|text| bytes.starts_with(text));
    if let Some((_, words)) = TEXTS.iter().find(starts) {
        return Some(words);
    }
    Some(match bytes {
        // SETTINGS of stream 0, which a server sends first (RFC 9113 sections 3.4 and 6.5).
        [0, 0, _, 4, 0, 0, 0, 0, 0, ..] => {
            concat!(
                "HTTP/2 without TLS, as gRPC speaks it",
                way_out!("the origin's port for TLS")
            )
        }
        [a, b, c, b' ' | b'-', ..] if [a, b, c].iter().all(|byte| byte.is_ascii_digit()) => {
            concat!(
                "a greeting of SMTP or FTP, which begin TLS later (STARTTLS)",
                way_out!(inside "smtp"),
                ", or use the port for TLS from the start (465, 990)"
            )
        }
        // The length of the packet, its number, and protocol version 10 or an error.
        [_, _, 0, 0, 10, ..] => {
            concat!(
                "MySQL's greeting: TLS begins inside its own protocol",
                way_out!(inside)
            )
        }
        [_, _, 0, 0, 0xff, ..] => {
            concat!(
                "an error of MySQL, whose TLS begins inside its own protocol",
                way_out!(inside)
            )
        }
        [b'E', 0, 0, _, _, ..] => {
            concat!(
                "an error of PostgreSQL, whose TLS begins inside its own protocol before version 17",
                way_out!(inside "postgres")
            )
        }
        [b'N'] => "PostgreSQL's answer that it speaks no TLS: set `ssl = on` in its configuration",
        [0x30, _, 0x02, 0x01, ..] => {
            concat!(
                "LDAP without TLS",
                way_out!(inside "ldap"),
                ", or use the origin's port for ldaps (636)"
            )
        }
        _ => return None,
    })
}

/// The start of a text without TLS.
fn text(bytes: &[u8]) -> Option<String> {
    let shown = bytes.get(..TEXT_MAX).unwrap_or(bytes);
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    shown.iter().all(is_text).then(|| {
        let line = shown.split(|byte| matches!(byte, b'\r' | b'\n')).next();
        let line = String::from_utf8_lossy(line.unwrap_or_default());
        format!(
            "text without TLS ({line:?}){}",
            way_out!("a port of the origin that speaks TLS")
        )
    })
}

/// The words on a protocol that is not known here.
pub(super) fn unknown(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in bytes.iter().take(SHOWN_MAX) {
        let _ = write!(hex, " {byte:02x}");
    }
    format!("no protocol that is known here: the first bytes are{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_origin_speaks_instead_of_tls_is_named_with_the_way_out() {
        for (bytes, words, way_out) in [
            (
                &b"HTTP/1.1 400 Bad Request\r\n"[..],
                "HTTP without TLS",
                "https",
            ),
            (b"\0\0\x12\x04\0\0\0\0\0\0\x03", "gRPC", "`mode: terminate`"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH", "`mode: forward`"),
            (b"220 mail.test ESMTP\r\n", "SMTP or FTP", "465"),
            (b"220-ftp.test\r\n", "SMTP or FTP", "990"),
            (b"421 4.7.0 too many\r\n", "SMTP or FTP", "465"),
            (b"* OK [CAPABILITY IMAP4rev1]\r\n", "IMAP", "993"),
            (b"+OK ready\r\n", "POP3", "995"),
            (b"-DENIED Redis is running", "Redis", "`tls-port`"),
            (
                b"\x4a\0\0\0\x0a8.0.36\0",
                "MySQL's greeting",
                "`mode: forward`",
            ),
            (
                b"\x17\0\0\0\xff\x10\x04Too many",
                "an error of MySQL",
                "`mode: forward`",
            ),
            (b"N", "PostgreSQL", "`ssl = on`"),
            (b"E\0\0\0\x44SFATAL\0", "PostgreSQL", "17"),
            (b"AMQP\0\0\x09\x01", "AMQP", "5671"),
            (b"\x30\x24\x02\x01\0\x78", "LDAP", "636"),
            (b"<?xml version='1.0'?>", "XMPP", "negotiate: xmpp"),
            (
                b"hello\n",
                "text without TLS (\"hello\")",
                "`mode: terminate`",
            ),
            (b"\xff\x01", "first bytes are ff 01", ""),
            (b"\x16\x09\x01", "first bytes are 16 09 01", ""),
        ] {
            let said = describe_answer(bytes).unwrap();
            assert!(said.contains(words) && said.contains(way_out), "{said}");
            // The log cuts details at 256 bytes.
            assert!(said.len() <= 256, "{}: {said}", said.len());
        }
    }

    #[test]
    fn the_start_of_a_record_is_tls() {
        let records: [&[u8]; 5] = [
            b"",
            b"\x16",
            b"\x16\x03",
            b"\x15\x03\x01\0\x02",
            b"\x16\x03\x03\0\x7a",
        ];
        for record in records {
            assert_eq!(describe_answer(record), None);
        }
    }
}
