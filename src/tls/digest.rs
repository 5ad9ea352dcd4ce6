//! SHA-256, as fingerprints and keys of tables.

use aws_lc_rs::digest::{Context, SHA256, digest};

/// The digest of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// The digest of several parts. Each is preceded by its length, so that different parts never give the
/// same input.
pub fn parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    finish(hash)
}

fn finish(hash: Context) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(hash.finish().as_ref());
    digest
}
