//! LDAP: the extended operation StartTLS (RFC 4511 section 4.14), in BER.

use super::dialogue::Step;

/// The object identifier of StartTLS.
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const BIND_REQUEST: u8 = 0x60;
const UNBIND_REQUEST: u8 = 0x42;
const SEARCH_REQUEST: u8 = 0x63;
const EXTENDED_REQUEST: u8 = 0x77;
const EXTENDED_RESPONSE: u8 = 0x78;
const REQUEST_NAME: u8 = 0x80;

/// Result codes (RFC 4511 appendix A.2).
const SUCCESS: u8 = 0;
const CONFIDENTIALITY_REQUIRED: u8 = 13;

/// The longest message before TLS, in bytes.
const MESSAGE_MAX: usize = 4096;

/// The server's answer to the next message.
pub(super) fn serve(bytes: &mut Vec<u8>) -> Step {
    let message = match Message::take(bytes) {
        Ok(Some(message)) => message,
        Ok(None) => return Step::Read,
        Err(Malformed) => return Step::Unknown,
    };
    match message.operation {
        EXTENDED_REQUEST if message.requests_start_tls() => {
            Step::Tls(message.response(EXTENDED_RESPONSE, SUCCESS))
        }
        UNBIND_REQUEST => Step::Quit(Vec::new()),
        other => Step::Refuse {
            answer: match response_to(other) {
                Some(response) => message.response(response, CONFIDENTIALITY_REQUIRED),
                None => Vec::new(),
            },
            why: "an operation of LDAP before StartTLS".to_owned(),
        },
    }
}

/// The operation that answers another, if one does.
const fn response_to(operation: u8) -> Option<u8> {
    match operation {
        SEARCH_REQUEST => Some(SEARCH_REQUEST + 2),
        // Modify, add, delete, modify DN, compare.
        BIND_REQUEST | 0x66 | 0x68 | 0x6c | 0x6e => Some(operation + 1),
        0x4a => Some(0x6b),
        EXTENDED_REQUEST => Some(EXTENDED_RESPONSE),
        _ => None,
    }
}

/// What the client's side sends first.
pub(super) fn request() -> Vec<u8> {
    let name = element(REQUEST_NAME, START_TLS);
    let operation = element(EXTENDED_REQUEST, &name);
    element(SEQUENCE, &[element(INTEGER, &[1]), operation].concat())
}

/// The client's side: the origin's answer to StartTLS.
pub(super) fn answer(bytes: &mut Vec<u8>) -> Step {
    let refused = |why: String| Step::Refuse {
        answer: Vec::new(),
        why,
    };
    let message = match Message::take(bytes) {
        Ok(Some(message)) => message,
        Ok(None) => return Step::Read,
        Err(Malformed) => return refused("no message of LDAP".to_owned()),
    };
    let result = split(&message.content).ok().flatten();
    let result = result.map(|(tag, code, _)| (tag, code.to_vec()));
    match (message.operation, result) {
        (EXTENDED_RESPONSE, Some((ENUMERATED, code))) if code == [SUCCESS] && message.id == [1] => {
            Step::Tls(Vec::new())
        }
        (EXTENDED_RESPONSE, Some((ENUMERATED, code))) => {
            let code = code.last().copied().unwrap_or_default();
            refused(format!(
                "the origin answered StartTLS with the result code {code}"
            ))
        }
        _ => refused("the origin's answer is not one to StartTLS".to_owned()),
    }
}

/// A message: an identifier and one operation.
struct Message {
    id: Vec<u8>,
    operation: u8,
    content: Vec<u8>,
}

/// The bytes are no message.
struct Malformed;

impl Message {
    /// Takes a whole message off `bytes`.
    fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, Malformed> {
        if bytes.first().is_some_and(|tag| *tag != SEQUENCE) {
            return Err(Malformed);
        }
        let Some((_, content, rest)) = split(bytes)? else {
            return Ok(None);
        };
        let taken = bytes.len() - rest.len();
        let (INTEGER, id, rest) = split(content)?.ok_or(Malformed)? else {
            return Err(Malformed);
        };
        let (operation, content, _controls) = split(rest)?.ok_or(Malformed)?;
        if !(1..=4).contains(&id.len()) {
            return Err(Malformed);
        }
        let message = Self {
            id: id.to_vec(),
            operation,
            content: content.to_vec(),
        };
        bytes.drain(..taken);
        Ok(Some(message))
    }

    fn requests_start_tls(&self) -> bool {
        let name = split(&self.content).ok().flatten();
        matches!(name, Some((REQUEST_NAME, START_TLS, [])))
    }

    /// The response with this result code, and empty names and message.
    fn response(&self, operation: u8, code: u8) -> Vec<u8> {
        let result = [&element(ENUMERATED, &[code])[..], &[0x04, 0, 0x04, 0]].concat();
        let operation = element(operation, &result);
        element(SEQUENCE, &[element(INTEGER, &self.id), operation].concat())
    }
}

/// A short element: at most 127 bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, content.len() as u8], content].concat()
}

/// An element's tag and content, and the bytes behind it.
type Element<'a> = (u8, &'a [u8], &'a [u8]);

/// Splits the first element off. `None` means that it is incomplete.
fn split(bytes: &[u8]) -> Result<Option<Element<'_>>, Malformed> {
    let [tag, first, rest @ ..] = bytes else {
        return match bytes {
            [tag] if *tag & 0x1f == 0x1f => Err(Malformed),
            _ => Ok(None),
        };
    };
    let (len, rest) = match first {
        0x80 => return Err(Malformed),
        short @ ..=0x7f => (usize::from(*short), rest),
        long => {
            let count = usize::from(*long & 0x7f);
            if count > 4 {
                return Err(Malformed);
            }
            let Some((len, rest)) = rest.split_at_checked(count) else {
                return Ok(None);
            };
            let len = len
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (len, rest)
        }
    };
    if len > MESSAGE_MAX || *tag & 0x1f == 0x1f {
        return Err(Malformed);
    }
    Ok(rest
        .split_at_checked(len)
        .map(|(content, rest)| (*tag, content, rest)))
}
