//! The document of a fleet: a text in YAML, and the files that it names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::tls::material::carried::{CarriedFiles, is_carried};

/// The first bytes of an encoded document.
const MAGIC: &[u8; 8] = b"RESEAL01";

/// The largest document, with its files: a generation of 10 000 routes with certificates has a fifth of it.
pub const DOCUMENT_MAX: usize = 64 * 1024 * 1024;

/// A document, and which generation of the fleet it is.
#[derive(Debug)]
pub struct Document {
    /// The generation.
    pub id: String,
    /// The name of the file that was pushed, for messages.
    pub name: String,
    /// The text.
    pub text: String,
    /// The files that it names.
    pub files: Arc<CarriedFiles>,
}

impl Document {
    /// Its name in messages: the generation and the file.
    pub fn title(&self) -> PathBuf {
        PathBuf::from(format!("fleet:{}:{}", self.id, self.name))
    }

    /// The bytes that are sealed and stored.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut parts = vec![self.name.as_bytes(), self.text.as_bytes()];
        for (place, bytes) in self.files.iter() {
            parts.extend([place.as_os_str().as_bytes(), bytes.as_slice()]);
        }
        let len = parts.iter().map(|part| 8 + part.len()).sum::<usize>() + MAGIC.len();
        // Memory that is outgrown would keep a copy.
        let mut out = Zeroizing::new(Vec::with_capacity(len));
        out.extend_from_slice(MAGIC);
        for part in parts {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part);
        }
        out
    }

    /// Reads what [`Document::encode`] has written. `None` if it is something else.
    pub fn decode(id: &str, bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let mut next = || {
            let (len, after) = rest.split_first_chunk::<8>()?;
            let len = usize::try_from(u64::from_be_bytes(*len)).ok()?;
            let (part, after) = after.split_at_checked(len)?;
            rest = after;
            Some(part)
        };
        let text = |part: &[u8]| String::from_utf8(part.to_vec()).ok();
        let (name, document) = (text(next()?)?, text(next()?)?);
        let mut files = CarriedFiles::default();
        while let Some(place) = next() {
            let place = Path::new(OsStr::from_bytes(place));
            if !is_carried(place) {
                return None;
            }
            files.add(place.to_owned(), Zeroizing::new(next()?.to_vec()));
        }
        rest.is_empty().then(|| Self {
            id: id.to_owned(),
            name,
            text: document,
            files: Arc::new(files),
        })
    }
}

/// The SHA-256 of some bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_read_back_whole_or_not_at_all() {
        let mut files = CarriedFiles::default();
        for name in ["certs/a.pem", "/etc/b.key"] {
            let bytes = Zeroizing::new(name.as_bytes().to_vec());
            files.add(CarriedFiles::place(Path::new(name)), bytes);
        }
        let document = Document {
            id: "1".to_owned(),
            name: "config.yaml".to_owned(),
            text: "endpoints: []".to_owned(),
            files: Arc::new(files),
        };
        let bytes = document.encode();
        let read = Document::decode("1", &bytes).unwrap();
        assert_eq!((&read.name, &read.text), (&document.name, &document.text));
        assert!(read.files.iter().eq(document.files.iter()));
        for len in 0..bytes.len() {
            let part = Document::decode("1", &bytes[..len]);
            // A text without its files is shorter by whole entries.
            assert!(
                part.is_none_or(|part| part.files.iter().count() < 2),
                "{len}"
            );
        }
    }
}
