//! Names what a client speaks that does not begin with TLS, and the way out.

mod answer;

pub use self::answer::describe_answer;
use self::answer::unknown;

/// Method names of HTTP/1.x with the space behind them, and the preface of HTTP/2.
const HTTP: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI * HTTP/2",
];

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

fn protocol(bytes: &[u8]) -> Option<&'static str> {
    let starts = |text: &[u8]| bytes.len() >= text.len() && bytes.starts_with(text);
    let starts_in_any_case = |text: &[u8]| {
        let start = bytes.get(..text.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(text))
    };
    let mail = [b"EHLO " as &[u8], b"HELO ", b"LHLO "];
    Some(match bytes {
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
        _ if mail.iter().any(|verb| starts_in_any_case(verb)) => {
            "SMTP, which begins TLS later (STARTTLS): write `negotiate: smtp` under the endpoint, or let the \
             client use the port for TLS from the start (465)"
        }
        _ if starts(b"*1\r\n") || starts(b"*2\r\n") || starts(b"*3\r\n") || starts(b"PING\r\n") => {
            "Redis' protocol without TLS: the client has to use rediss:// or --tls"
        }
        _ if starts(b"AMQP") => "AMQP without TLS: the client has to use amqps://",
        _ if starts(b"<?xml") || starts(b"<stream") => {
            "XMPP, which begins TLS later (STARTTLS): write `negotiate: xmpp` under the endpoint"
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
        [0x16, ..] => "a handshake record of a version that TLS does not have",
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
            (b"EHLO mail.test\r\n", "STARTTLS"),
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
}
