//! Names what a client speaks that does not begin with TLS, and the way out.

mod answer;
mod openings;

pub use self::answer::describe_answer;
use self::answer::unknown;
use self::openings::{HTTP, TEXTS};

/// The request codes of PostgreSQL that stand in place of a protocol version (its documentation, 54.7).
const POSTGRES_SSL: u32 = 80_877_103;
const POSTGRES_GSS: u32 = 80_877_104;
const POSTGRES_CANCEL: u32 = 80_877_102;
const POSTGRES_3: u32 = 3 << 16;

/// What came in place of a ClientHello, from its first bytes.
pub fn describe(bytes: &[u8]) -> String {
    match protocol(bytes) {
        Some(words) => words.to_owned(),
        None => unknown(bytes),
    }
}

/// The version of a ClientHello that offers none which is spoken here, and the way out, from its first
/// bytes. A hello of TLS 1.3 has the version of TLS 1.2 there (RFC 8446 section 4.1.2).
pub fn describe_old(bytes: &[u8]) -> Option<String> {
    const CLIENT_HELLO: u8 = 1;
    let version = match bytes {
        [0x16, 3, _, _, _, CLIENT_HELLO, _, _, _, 3, minor, ..] => match minor {
            0 => "SSL 3.0",
            1 => "TLS 1.0",
            2 => "TLS 1.1",
            _ => return None,
        },
        _ => return None,
    };
    Some(format!(
        "a ClientHello that offers {version} at most: update the client to TLS 1.2 or newer, or let a server \
         that still speaks {version} answer it behind an endpoint with `protocol: tcp` and `mode: forward`"
    ))
}

/// Whether bytes begin with a text, in any case of its letters.
fn starts_in_any_case(bytes: &[u8], text: &[u8]) -> bool {
    let start = bytes.get(..text.len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(text))
}

fn protocol(bytes: &[u8]) -> Option<&'static str> {
    let starts = |text: &[u8]| bytes.starts_with(text);
    let is_text =
        |(texts, _): &&(&[&[u8]], &str)| texts.iter().any(|text| starts_in_any_case(bytes, text));
    if let Some((_, words)) = TEXTS.iter().find(is_text) {
        return Some(words);
    }
    Some(match bytes {
        _ if imap(bytes) => {
            "IMAP, which begins TLS later (STARTTLS): write `negotiate: imap` under the endpoint, or let the \
             client use the port for TLS from the start (993)"
        }
        _ if HTTP.iter().any(|method| starts(method)) => {
            "HTTP without TLS: the client has to use https://, or an endpoint with `protocol: tcp` and \
             `mode: forward`"
        }
        _ if starts(b"SSH-") => {
            "SSH: it has TLS neither before nor inside; use an endpoint with \
             `protocol: tcp` and `mode: forward`"
        }
        _ if starts(b"PROXY ") || starts(b"\r\n\r\n\0\r\nQUIT\n") => {
            "a PROXY header: name its sender in `accept_proxy_protocol: { from: … }` of the endpoint, or \
             have it send none"
        }
        [0x10, ..] if mqtt(bytes) => "MQTT without TLS: the client has to use mqtts:// or --cafile",
        [0x30, _, 0x02, 0x01, ..] => {
            "LDAP without TLS: the client has to use ldaps://, or StartTLS with `negotiate: ldap` under the \
             endpoint"
        }
        [0x03, 0x00, 0x00, ..] => {
            "RDP, which begins TLS later: use an endpoint with `protocol: tcp` and `mode: forward`"
        }
        [0x80..=0xff, _, 0x01, 0x00 | 0x02 | 0x03, ..] => {
            "a ClientHello in the form of SSL 2: the client is too old for TLS 1.2"
        }
        [0x15, 3, ..] => "a TLS alert before any handshake: the client has given up at once",
        [0x17, 3, ..] => "TLS records from the middle of a connection",
        [0x16, 3, ..] => "a handshake message that is no ClientHello",
        [0x16, 0xfe, ..] => "DTLS, which is TLS over datagrams: the client has to use TLS over TCP",
        [0x16, ..] => "a handshake record of a version that TLS does not have",
        [5, methods @ 1..=8, ..] if bytes.len() >= 2 + usize::from(*methods) => {
            "SOCKS 5: the client takes this for a proxy of that kind; take its proxy setting out"
        }
        [4, 1, _, _, _, _, _, _, ..] => {
            "SOCKS 4: the client takes this for a proxy of that kind; take its proxy setting out"
        }
        [0xff, 0xfb..=0xfe, ..] => "Telnet without TLS: the client has to use TLS from the start",
        [0, _, _, _, 0xfe | 0xff, b'S', b'M', b'B', ..] => {
            "SMB, which has no TLS: use an endpoint with `protocol: tcp` and `mode: forward`"
        }
        [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            0xd4 | 0xdd,
            0x07,
            0,
            0,
            ..,
        ] => "MongoDB without TLS: the client has to use tls=true",
        [_, _, _, _, a, b, c, d, ..] => match u32::from_be_bytes([*a, *b, *c, *d]) {
            POSTGRES_SSL => {
                "PostgreSQL's SSLRequest: TLS begins inside its own protocol; write `negotiate: postgres` under \
                 the endpoint, or use sslnegotiation=direct in clients of PostgreSQL 17"
            }
            POSTGRES_GSS => {
                "PostgreSQL's GSSENCRequest: write `negotiate: postgres` under the endpoint, or use \
                 gssencmode=disable and sslnegotiation=direct in clients of PostgreSQL 17"
            }
            POSTGRES_CANCEL => {
                "PostgreSQL's CancelRequest without TLS: write `negotiate: postgres` under the endpoint; clients \
                 of PostgreSQL 17 cancel over TLS"
            }
            POSTGRES_3 if bytes.starts_with(&[0, 0]) => {
                "PostgreSQL without TLS: write `negotiate: postgres` under the endpoint, and sslmode=require in \
                 the client"
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether it is MQTT's CONNECT: the protocol name follows the length, which takes up to four bytes.
fn mqtt(bytes: &[u8]) -> bool {
    (2..=5).any(|at| {
        let name = bytes.get(at..).unwrap_or_default();
        name.starts_with(b"\0\x04MQTT") || name.starts_with(b"\0\x06MQIsdp")
    })
}

/// Whether it is a command of IMAP: a tag, then one of those that a client begins with.
fn imap(bytes: &[u8]) -> bool {
    let Some(tag) = bytes.iter().take(16).position(|byte| *byte == b' ') else {
        return false;
    };
    let (tag, rest) = bytes.split_at(tag);
    let commands: [&[u8]; 6] = [
        b" CAPABILITY",
        b" STARTTLS",
        b" LOGIN ",
        b" AUTHENTICATE ",
        b" ID ",
        b" NOOP",
    ];
    !tag.is_empty()
        && tag.iter().all(u8::is_ascii_alphanumeric)
        && commands
            .iter()
            .any(|command| starts_in_any_case(rest, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_protocols_are_named_with_the_way_out() {
        for (bytes, words) in [
            (&b"GET / HTTP/1.1\r\n"[..], "https://"),
            (b"PRI * HTTP/2.0\r\n", "HTTP without TLS"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "SSH"),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", "sslnegotiation=direct"),
            (b"\0\0\0\x08\x04\xd2\x16\x30", "gssencmode=disable"),
            (b"\0\0\0\x20\0\x03\0\0user\0", "PostgreSQL without TLS"),
            (
                b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
                "accept_proxy_protocol",
            ),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11", "accept_proxy_protocol"),
            (b"EHLO mail.test\r\n", "negotiate: smtp"),
            (b"a001 CAPABILITY\r\n", "negotiate: imap"),
            (b". login user secret\r\n", "first bytes are 2e 20"),
            (b"CAPA\r\n", "negotiate: pop3"),
            (b"USER ftp\r\n", "POP3 or FTP"),
            (b"AUTH TLS\r\n", "990"),
            (b"OPTIONS sip:a@b SIP/2.0\r\n", "SIP"),
            (b"CONNECT {\"verbose\":false}\r\n", "NATS"),
            (b"CONNECT a.test:443 HTTP/1.1\r\n", "HTTP"),
            (b"\x05\x01\0", "SOCKS 5"),
            (b"\x04\x01\x01\xbb\x7f\0\0\x01\0", "SOCKS 4"),
            (b"\x16\xfe\xfd\0\0", "DTLS"),
            (b"\0\0\0\x85\xffSMB\x72", "SMB"),
            (b"RFB 003.008\n", "VNC"),
            (b"\xff\xfd\x03\xff\xfb\x18", "Telnet"),
            (b"\x3a\0\0\0\x01\0\0\0\0\0\0\0\xd4\x07\0\0", "MongoDB"),
            (b"*1\r\n$4\r\nPING\r\n", "Redis"),
            (b"\x10\x10\0\x04MQTT\x04\x02", "mqtts://"),
            (b"\x30\x0c\x02\x01\x01\x60", "ldaps://"),
            (b"\x03\0\0\x13\x0e\xe0", "RDP"),
            (b"\x80\x2e\x01\0\x02\0\x15", "SSL 2"),
            (b"\x16\x09\x01\0\x10", "version"),
            (b"hello\n", "68 65 6c 6c 6f 0a"),
            (b"\xff", "first bytes are ff"),
            (b"\0", "first bytes are 00"),
        ] {
            let said = describe(bytes);
            assert!(said.contains(words), "{said}");
            // The log cuts details at 256 bytes.
            assert!(said.len() <= 256, "{}: {said}", said.len());
        }
    }
    #[test]
    fn the_version_of_a_hello_that_is_too_old_is_named() {
        let hello = |minor: u8| [0x16, 3, 1, 0, 50, 1, 0, 0, 46, 3, minor, 7];
        for (minor, version) in [(0, "SSL 3.0"), (1, "TLS 1.0"), (2, "TLS 1.1")] {
            let said = describe_old(&hello(minor)).unwrap();
            assert!(
                said.contains(version) && said.contains("update the client"),
                "{said}"
            );
            assert!(said.len() <= 256, "{}: {said}", said.len());
        }
        for other in [&hello(3)[..], &hello(1)[..10], b"GET / HTTP/1.1\r\n"] {
            assert_eq!(describe_old(other), None);
        }
    }
}
