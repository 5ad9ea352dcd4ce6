//! The files of an issuer: its account, and the certificates with their keys. What is read is judged like
//! the file of an operator.

use std::fs;
use std::io;
use std::path::Path;

use rustls::pki_types::CertificateDer;

use super::definition::{Identifier, Managed};
use crate::tls::material::file::FileReader;
use crate::tls::pair::{self, Pair};
use crate::tls::pair_files::{PairContents, PairFiles};

/// Rights to the file of a certificate that nobody else may have. A group may read it, as the key of an
/// operator.
const OTHERS: u32 = 0o027;

/// Removes the files of a certificate that is kept no longer.
pub(super) fn forget(file: &Path) {
    for path in [file.to_owned(), file.with_extension("lock")] {
        let _ = fs::remove_file(path);
    }
}

/// The certificate in the file of an order, if it can be served for all of the order's names.
///
/// # Errors
///
/// One sentence, if there is a file that cannot be used.
pub fn read(managed: &Managed) -> Result<Option<Pair>, String> {
    let path = &managed.file;
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let files = PairFiles {
        cert: path.clone(),
        key: path.clone(),
        ocsp: None,
        password: None,
    };
    let mut reader = FileReader::default();
    let contents = PairContents::read(&mut reader, &files).map_err(|error| error.message)?;
    if reader.modes().any(|(_, mode)| mode & OTHERS != 0) {
        let path = path.display();
        return Err(format!(
            "{path}: other users may write it, or read its key: chmod 0600 {path}"
        ));
    }
    let (pair, _) = pair::pair(&files, &contents).map_err(|error| error.message)?;
    match missing(&pair, &managed.names) {
        None => Ok(Some(pair)),
        Some(name) => Err(format!(
            "{}: the certificate is not for {name}",
            path.display()
        )),
    }
}

/// The first of these names that a certificate is not for.
pub(super) fn missing<'n>(pair: &Pair, names: &'n [Identifier]) -> Option<&'n Identifier> {
    names.iter().find(|name| match (name, name.host()) {
        (_, Some(pattern)) => !pair.covers(&pattern),
        (Identifier::Ip(address), None) => !pair.addresses.contains(address),
        (_, None) => true,
    })
}

/// The leaf of a certificate.
pub(super) fn leaf(pair: &Pair) -> Option<&CertificateDer<'static>> {
    pair.key.cert.first()
}
