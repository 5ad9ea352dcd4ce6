//! PostgreSQL: SSLRequest, and TLS at once (`sslnegotiation=direct`).

use super::dialogue::Step;

/// The codes in place of a protocol version.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// The longest startup message, in bytes: `MAX_STARTUP_PACKET_LENGTH` of PostgreSQL.
const STARTUP_MAX: u32 = 10_000;

/// The first byte of a TLS handshake record.
const HANDSHAKE: u8 = 0x16;

/// SSLRequest: its length and its code.
const SSL_REQUEST_MESSAGE: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What clients without TLS are told.
const TLS_REQUIRED: &str = "TLS is required here: connect with sslmode=require or stricter";

/// The server's side.
#[derive(Debug, Default)]
pub(super) struct Server {
    gss_refused: bool,
}

impl Server {
    pub(super) fn next(&mut self, bytes: &mut Vec<u8>) -> Step {
        if bytes.first() == Some(&HANDSHAKE) && !self.gss_refused {
            return Step::Direct;
        }
        let Some((head, _)) = bytes.split_first_chunk::<8>() else {
            return match bytes.first_chunk::<4>() {
                Some(len) if !is_startup(*len) => Step::Unknown,
                _ => Step::Read,
            };
        };
        let [a, b, c, d, e, f, g, h] = *head;
        if !is_startup([a, b, c, d]) {
            return Step::Unknown;
        }
        match (
            u32::from_be_bytes([a, b, c, d]),
            u32::from_be_bytes([e, f, g, h]),
        ) {
            (8, SSL_REQUEST) => {
                bytes.drain(..8);
                Step::Tls(b"S".to_vec())
            }
            (8, GSS_REQUEST) if !self.gss_refused && bytes.len() == 8 => {
                bytes.clear();
                self.gss_refused = true;
                Step::Send(b"N".to_vec())
            }
            (8, GSS_REQUEST) if !self.gss_refused => {
                refuse("bytes came before the answer to GSSENCRequest")
            }
            (_, CANCEL_REQUEST) => refuse("a CancelRequest without TLS"),
            _ => refuse("a startup message without TLS"),
        }
    }
}

/// Whether a message may have this length.
fn is_startup(len: [u8; 4]) -> bool {
    (8..=STARTUP_MAX).contains(&u32::from_be_bytes(len))
}

fn refuse(why: &str) -> Step {
    Step::Refuse {
        answer: error_response(TLS_REQUIRED),
        why: why.to_owned(),
    }
}

/// An ErrorResponse: FATAL, with the code of a rule in `pg_hba.conf` that demands TLS
/// (`invalid_authorization_specification`).
pub(super) fn error_response(message: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (field, text) in [
        (b'S', "FATAL"),
        (b'V', "FATAL"),
        (b'C', "28000"),
        (b'M', message),
    ] {
        fields.push(field);
        fields.extend_from_slice(text.as_bytes());
        fields.push(0);
    }
    fields.push(0);
    let mut response = vec![b'E'];
    response.extend_from_slice(&(4 + fields.len() as u32).to_be_bytes());
    response.extend_from_slice(&fields);
    response
}

/// What the client's side sends first.
pub(super) fn request() -> Vec<u8> {
    SSL_REQUEST_MESSAGE.to_vec()
}

/// The client's side: the origin's answer is one byte.
pub(super) fn answer(bytes: &mut Vec<u8>) -> Step {
    let Some(first) = bytes.first().copied() else {
        return Step::Read;
    };
    let refused = |why: &str| Step::Refuse {
        answer: Vec::new(),
        why: why.to_owned(),
    };
    match first {
        b'S' => {
            bytes.remove(0);
            Step::Tls(Vec::new())
        }
        b'N' => refused("the origin answered SSLRequest by N: `ssl` is off there"),
        b'E' => refused("the origin answered SSLRequest by an error"),
        _ => refused("the answer to SSLRequest is neither S nor N: this is no PostgreSQL server"),
    }
}
