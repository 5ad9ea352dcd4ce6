//! Directories of certificates with their keys.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::file::{MaterialError, cannot_read};
use super::pair::PairFiles;

/// Every pair in a directory, by name: NAME.pem with NAME.key, and NAME/fullchain.pem with
/// NAME/privkey.pem.
pub fn pairs(dir: &Path) -> Result<Vec<(String, PairFiles)>, MaterialError> {
    let entries = fs::read_dir(dir).map_err(|e| cannot_read(dir, &e))?;
    let mut entries: Vec<_> = entries.filter_map(Result::ok).map(|e| e.path()).collect();
    entries.sort();
    let pair = |path: &PathBuf| {
        let (cert, key) = if path.is_dir() {
            (path.join("fullchain.pem"), path.join("privkey.pem"))
        } else if path.extension().is_some_and(|extension| extension == "pem") {
            (path.clone(), path.with_extension("key"))
        } else {
            return None;
        };
        let files = PairFiles {
            cert,
            key,
            ocsp: None,
        };
        // A directory's name is a host's, dots and all.
        let name = if path.is_dir() {
            path.file_name()
        } else {
            path.file_stem()
        };
        (files.cert.exists() && files.key.exists()).then(|| (text(name), files))
    };
    let found: Vec<_> = entries.iter().filter_map(pair).collect();
    if found.is_empty() {
        return Err(
            MaterialError::new(dir, "holds no pair of certificate and key").help(
                "a pair is NAME.pem with NAME.key, or NAME/fullchain.pem with NAME/privkey.pem",
            ),
        );
    }
    Ok(found)
}

fn text(name: Option<&OsStr>) -> String {
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
