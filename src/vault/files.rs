//! The files of certificates: what is read is judged like the file of an operator.

use std::fs;
use std::io;
use std::path::Path;

use super::definition::Identity;
use crate::state;
use crate::tls::material::file::FileReader;
use crate::tls::pair::{self, Pair};
use crate::tls::pair_files::{PairContents, PairFiles};
use crate::tls::unix_now;

/// Rights to a file that nobody but its owner may have.
const OTHERS: u32 = 0o077;

/// The certificate in a file, if it can be presented.
///
/// # Errors
///
/// One sentence, if there is a file that cannot be used.
pub fn read(identity: &Identity) -> Result<Option<Pair>, String> {
    let path = &identity.file;
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let pair = read_at(path)?;
    // One that has ended is of no use to anybody.
    Ok(Some(pair).filter(|pair| pair.not_after > unix_now()))
}

fn read_at(path: &Path) -> Result<Pair, String> {
    let files = PairFiles {
        cert: path.to_owned(),
        key: path.to_owned(),
        ocsp: None,
        password: None,
    };
    let mut reader = FileReader::default();
    let contents = PairContents::read(&mut reader, &files).map_err(|error| error.message)?;
    if reader.modes().any(|(_, mode)| mode & OTHERS != 0) {
        let path = path.display();
        return Err(format!(
            "{path}: other users may read or write it: chmod 0600 {path}"
        ));
    }
    let (pair, _) = pair::pair(&files, &contents).map_err(|error| error.message)?;
    Ok(pair)
}

/// Writes a chain with its key, if it can be presented. What is there already stays if it cannot.
pub(super) fn install(identity: &Identity, pem: &[u8]) -> Result<(), String> {
    let cannot = |error: io::Error| format!("{}: {error}", identity.file.display());
    state::prepare(identity.state()).map_err(cannot)?;
    let Some(_lock) = state::lock(&identity.file).map_err(cannot)? else {
        return Err(format!(
            "{}: another process writes it",
            identity.file.display()
        ));
    };
    // It is read as it will be presented, under another name.
    let tried = identity.file.with_extension("new");
    state::write(&tried, pem).map_err(cannot)?;
    let pair = read_at(&tried);
    let _ = fs::remove_file(&tried);
    let pair = pair.map_err(|why| format!("what was issued cannot be used: {why}"))?;
    if pair.not_after <= unix_now() {
        return Err("what was issued has ended already".to_owned());
    }
    state::write(&identity.file, pem).map_err(cannot)
}

/// Removes the file of a certificate that was revoked.
pub(super) fn forget(identity: &Identity) {
    for path in [identity.file.clone(), identity.file.with_extension("lock")] {
        let _ = fs::remove_file(path);
    }
}
