//! Takes a text apart into its blocks, each with its label and the bytes that its base64 stands for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::boundary::{self, Line};
use super::labels;
use super::refusal::{DAMAGED, Refusal};

/// One block.
pub(super) struct Block<'a> {
    pub(super) label: &'a str,
    /// The line on which it begins.
    pub(super) line: usize,
    /// Overwritten when dropped: it may be a key.
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// More than a private key has. A text that outgrows its memory leaves a copy behind.
const BASE64_LEN: usize = 16 * 1024;

/// A block whose END line has not been read yet.
struct Open<'a> {
    label: &'a str,
    line: usize,
    base64: Zeroizing<Vec<u8>>,
}

/// All blocks of a text, in order. `accept` decides by the label whether a block is allowed, and
/// otherwise returns a reason and a remedy.
pub(super) fn blocks<'a>(
    text: &'a [u8],
    accept: impl Fn(&str) -> Result<(), (String, &'static str)>,
) -> Result<Vec<Block<'a>>, Refusal> {
    let mut found = Vec::new();
    let mut open: Option<Open<'_>> = None;
    for (line, bytes) in (1..).zip(lines(text)) {
        let read = boundary::read(bytes);
        if let Line::Damaged { reason, help } = read {
            return Err(Refusal::new(line, reason, help));
        }
        open = match (open.take(), read) {
            (None, Line::Begin(label)) => {
                accept(label).map_err(|(reason, help)| Refusal::new(line, reason, help))?;
                Some(Open {
                    label,
                    line,
                    base64: Zeroizing::new(Vec::with_capacity(BASE64_LEN.min(text.len()))),
                })
            }
            (None, Line::End(label)) => {
                let reason = format!("`END {label}` without a BEGIN line before it");
                return Err(Refusal::new(line, reason, DAMAGED));
            }
            (None, Line::Other(text)) if is_stray_base64(text) => {
                let reason = "base64 outside of a block: its BEGIN line is missing or damaged";
                return Err(Refusal::new(line, reason, DAMAGED));
            }
            (None, _) => None,
            (Some(block), Line::End(label)) if label == block.label => {
                found.push(block.close()?);
                None
            }
            (Some(block), Line::End(label)) => {
                let (begun, at) = (block.label, block.line);
                let reason =
                    format!("`END {label}` ends the block that began as `{begun}` on line {at}");
                return Err(Refusal::new(line, reason, DAMAGED));
            }
            (Some(block), Line::Begin(_)) => return Err(block.unfinished()),
            (Some(mut block), Line::Other(text)) => {
                block.add(line, text)?;
                Some(block)
            }
            (_, Line::Damaged { .. }) => None,
        };
    }
    match open {
        Some(block) => Err(block.unfinished()),
        None => Ok(found),
    }
}

impl<'a> Open<'a> {
    fn unfinished(&self) -> Refusal {
        let label = self.label;
        let reason = format!("the block `{label}` that begins here has no END line");
        Refusal::new(self.line, reason, DAMAGED)
    }

    /// Adds one line of base64, without spaces around it; it may be blank.
    fn add(&mut self, line: usize, text: &[u8]) -> Result<(), Refusal> {
        if text.contains(&b':') {
            return Err(self.header(line, text));
        }
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
        if !text.iter().all(is_base64) {
            let reason = format!("the block `{}` is damaged: this is no base64", self.label);
            return Err(Refusal::new(line, reason, DAMAGED));
        }
        self.base64.extend_from_slice(text);
        Ok(())
    }

    /// Refuses a header (RFC 1421 section 4.6). Only encrypted keys have headers in practice.
    fn header(&self, line: usize, text: &[u8]) -> Refusal {
        if text.starts_with(b"Proc-Type:") || text.starts_with(b"DEK-Info:") {
            let (reason, help) = labels::TRADITIONAL;
            return Refusal::new(self.line, reason, help);
        }
        let reason = format!(
            "the block `{}` has a header, which has no meaning here",
            self.label
        );
        Refusal::new(line, reason, "take the header's lines out of the block")
    }

    fn close(self) -> Result<Block<'a>, Refusal> {
        let Self {
            label,
            line,
            base64,
        } = self;
        if base64.is_empty() {
            let reason = format!("the block `{label}` is empty");
            return Err(Refusal::new(line, reason, DAMAGED));
        }
        let der = STANDARD.decode(&*base64).map_err(|_| {
            let reason = format!("the block `{label}` is damaged: its base64 is not whole");
            Refusal::new(line, reason, DAMAGED)
        })?;
        let der = Zeroizing::new(der);
        Ok(Block { label, line, der })
    }
}

/// Lines that end in LF, CR LF or CR alone.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.iter().position(|byte| b"\r\n".contains(byte));
        let (line, ending) = text.split_at(end.unwrap_or(text.len()));
        rest = ending
            .strip_prefix(b"\r\n")
            .or_else(|| ending.get(1..))
            .filter(|_| end.is_some());
        Some(line)
    })
}

/// Whether a line of text is most likely a part of a block whose boundary was lost: long, only base64,
/// and with all its kinds of characters. A line of `=` and a fingerprint in hexadecimal or base64 are
/// text.
fn is_stray_base64(text: &[u8]) -> bool {
    const LONG: usize = 48;
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let digits = text.get(..text.len() - padding).unwrap_or_default();
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/".contains(byte);
    text.len() >= LONG
        && padding <= 2
        && digits.iter().all(is_digit)
        && digits.iter().any(u8::is_ascii_uppercase)
        && digits.iter().any(u8::is_ascii_lowercase)
        && digits.iter().any(u8::is_ascii_digit)
}
