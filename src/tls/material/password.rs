//! The passwords of encrypted keys and key stores, which are files of their own.

use zeroize::Zeroizing;

use super::file::{Contents, MaterialError};

/// The longest password, in bytes.
const LEN_MAX: usize = 1024;

/// A password in UTF-8; it may be empty. It has no `Debug`, and is overwritten when dropped.
pub struct Password(Zeroizing<String>);

impl Password {
    /// The only line of a file, without its end.
    ///
    /// # Errors
    ///
    /// If there are more lines or control characters, more than 1024 bytes, or no UTF-8.
    pub fn of(file: &Contents) -> Result<Self, MaterialError> {
        let bytes = file.bytes.strip_suffix(b"\n").unwrap_or(&file.bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        if bytes.len() > LEN_MAX {
            return Err(file.error(format_args!("a password has at most {LEN_MAX} bytes")));
        }
        let text = std::str::from_utf8(bytes)
            .ok()
            .filter(|text| !text.contains(char::is_control));
        match text {
            Some(text) => Ok(Self(Zeroizing::new(text.to_owned()))),
            None => Err(file
                .error("holds no password: it is more than one line of text")
                .help("it must hold the password alone: printf %s PASSWORD > FILE")),
        }
    }

    /// Its text.
    pub fn into_text(self) -> Zeroizing<String> {
        self.0
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// It in UTF-16, the high byte of each unit first, with a unit of zero behind it (RFC 7292 appendix B.1).
    pub(super) fn wide(&self) -> Zeroizing<Vec<u8>> {
        // No more units than bytes: memory that is outgrown would keep a copy.
        let mut wide = Zeroizing::new(Vec::with_capacity(2 * self.0.len() + 2));
        for unit in self.0.encode_utf16() {
            wide.extend_from_slice(&unit.to_be_bytes());
        }
        wide.extend_from_slice(&[0, 0]);
        wide
    }
}
