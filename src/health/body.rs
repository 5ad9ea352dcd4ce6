//! The body of a response, as far as it is read: looks for a text in it. No I/O.

#[cfg(test)]
mod tests;

use super::request::{FIELDS_MAX, last};
use crate::upstream::Verdict;

/// How much of a body is looked at, in bytes.
const BODY_MAX: usize = 64 * 1024;

/// The longest head of a response, in bytes, interim responses included.
const HEAD_MAX: usize = 16 * 1024;

/// The longest line with the size of a chunk, in bytes, its extensions included.
const SIZE_MAX: usize = 256;

/// Looks for a text in the body of a response whose status has passed.
pub(super) struct BodySearch<'a> {
    wanted: &'a [u8],
    state: State,
    /// The content so far.
    body: Vec<u8>,
}

enum State {
    /// The head is not complete.
    Head(Vec<u8>),
    /// So many bytes are to come; absent, all until the end of the connection.
    Plain(Option<u64>),
    Chunked(Chunk),
}

/// What comes next in a chunked body (RFC 9112 section 7.1).
enum Chunk {
    /// The rest of a line with a size.
    Size(Vec<u8>),
    /// So many bytes of content.
    Content(u64),
    /// So many bytes of the line break behind it.
    Break(u8),
}

impl<'a> BodySearch<'a> {
    pub(super) const fn new(wanted: &'a str) -> Self {
        Self {
            wanted: wanted.as_bytes(),
            state: State::Head(Vec::new()),
            body: Vec::new(),
        }
    }

    /// Takes bytes of the response, from its first one on. Returns the verdict once there is one.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Option<Verdict> {
        while !bytes.is_empty() {
            let before = self.body.len();
            let is_over = match self.step(&mut bytes) {
                Ok(is_over) => is_over,
                Err(why) => return Some(Verdict::Fail(why.into())),
            };
            if self.body.len() > before && self.is_found(before) {
                return Some(Verdict::Pass);
            }
            if is_over {
                return Some(self.absent());
            }
        }
        None
    }

    /// Whether the text is in the content that begins here; it may have begun in an earlier part.
    fn is_found(&self, new: usize) -> bool {
        let from = new.saturating_sub(self.wanted.len());
        let new = self.body.get(from..).unwrap_or_default();
        new.windows(self.wanted.len())
            .any(|part| part == self.wanted)
    }

    /// The verdict at the end of the connection.
    pub(super) fn end(&self) -> Verdict {
        match self.state {
            State::Plain(None) => self.absent(),
            _ => Verdict::Fail("the answer ended before its whole body".into()),
        }
    }

    fn absent(&self) -> Verdict {
        let looked = match self.body.len() {
            BODY_MAX.. => " in its first 64 KiB",
            _ => "",
        };
        Verdict::Fail(format!("the body does not hold the text of `expect_body`{looked}").into())
    }

    /// Consumes some bytes. Returns whether no content follows.
    fn step(&mut self, bytes: &mut &[u8]) -> Result<bool, &'static str> {
        match &mut self.state {
            State::Head(head) => {
                head.extend_from_slice(bytes);
                // Only the end of a line can end the head.
                let framing = match std::mem::take(bytes).contains(&b'\n') {
                    true => framing(head)?,
                    false => None,
                };
                let Some((state, len)) = framing else {
                    return match head.len() {
                        HEAD_MAX.. => Err("the head of the answer has more than 16 KiB"),
                        _ => Ok(false),
                    };
                };
                let rest = head.split_off(len);
                let is_empty = matches!(state, State::Plain(Some(0)));
                self.state = state;
                if is_empty {
                    return Ok(true);
                }
                self.content(&rest)
            }
            State::Plain(left) => {
                let most = left.map_or(usize::MAX, |left| {
                    usize::try_from(left).unwrap_or(usize::MAX)
                });
                let len = bytes.len().min(most);
                if let Some(left) = left {
                    *left -= len as u64;
                }
                let is_whole = *left == Some(0);
                let is_full = self.push(bytes, len);
                Ok(is_whole || is_full)
            }
            State::Chunked(_) => self.chunk(bytes),
        }
    }

    /// Takes all of these bytes, which follow the head.
    fn content(&mut self, mut bytes: &[u8]) -> Result<bool, &'static str> {
        while !bytes.is_empty() {
            if self.step(&mut bytes)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn chunk(&mut self, bytes: &mut &[u8]) -> Result<bool, &'static str> {
        const MALFORMED: &str = "the body of the answer is malformed: a chunk has no size";
        let State::Chunked(chunk) = &mut self.state else {
            return Ok(false);
        };
        match chunk {
            Chunk::Size(line) => {
                let Some((first, rest)) = bytes.split_first() else {
                    return Ok(false);
                };
                *bytes = rest;
                if *first != b'\n' {
                    line.push(*first);
                    return match line.len() {
                        SIZE_MAX.. => Err(MALFORMED),
                        _ => Ok(false),
                    };
                }
                let size = size(line).ok_or(MALFORMED)?;
                *chunk = Chunk::Content(size);
                Ok(size == 0)
            }
            Chunk::Content(left) => {
                let len = bytes
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= len as u64;
                if *left == 0 {
                    *chunk = Chunk::Break(2);
                }
                Ok(self.push(bytes, len))
            }
            Chunk::Break(left) => {
                let Some((_, rest)) = bytes.split_first() else {
                    return Ok(false);
                };
                *bytes = rest;
                *left -= 1;
                if *left == 0 {
                    *chunk = Chunk::Size(Vec::new());
                }
                Ok(false)
            }
        }
    }

    /// Moves `len` bytes to the content, as far as there is room. Returns whether it is full.
    fn push(&mut self, bytes: &mut &[u8], len: usize) -> bool {
        let (content, rest) = bytes.split_at_checked(len).unwrap_or((*bytes, &[]));
        *bytes = rest;
        let room = BODY_MAX - self.body.len();
        self.body
            .extend_from_slice(content.get(..room.min(len)).unwrap_or_default());
        self.body.len() == BODY_MAX
    }
}

/// How the body is framed, and the length of everything before it; `None` while the head is not complete.
fn framing(response: &[u8]) -> Result<Option<(State, usize)>, &'static str> {
    const MALFORMED: &str = "the head of the answer is malformed";
    let Some((status, whole)) = last(response).map_err(|_| MALFORMED)? else {
        return Ok(None);
    };
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Response::new(&mut fields);
    let len = match head.parse(whole) {
        Ok(httparse::Status::Complete(len)) => response.len() - whole.len() + len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(MALFORMED),
    };
    let value = |name: &str| {
        let mut fields = head.headers.iter();
        let field = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        Some(std::str::from_utf8(field.value).unwrap_or_default().trim())
    };
    let coding = value("transfer-encoding");
    let state = match (coding, value("content-length")) {
        // These have no body, whatever their fields say (RFC 9112 section 6.3).
        _ if matches!(status, 204 | 304) => State::Plain(Some(0)),
        (Some(coding), _) if coding.eq_ignore_ascii_case("chunked") => {
            State::Chunked(Chunk::Size(Vec::new()))
        }
        (Some(_), _) => return Err("the body of the answer has a coding that is not known"),
        (None, Some(length)) => State::Plain(Some(length.parse().map_err(|_| MALFORMED)?)),
        (None, None) => State::Plain(None),
    };
    Ok(Some((state, len)))
}

/// The size on the first line of a chunk.
fn size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    let digits = text.split(';').next()?.trim();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}
