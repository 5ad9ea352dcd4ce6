//! The files of a certificate and its key, and their contents.

use std::path::{Path, PathBuf};

use super::material::file::{Contents, Exposed, FileReader, MaterialError};
use super::material::{certificates_in, pkcs12};

/// The end of a private key's first line in PEM.
const KEY_LABEL: &[u8] = b"PRIVATE KEY-----";

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PairFiles {
    /// The chain.
    pub cert: PathBuf,
    /// Its private key, which may be in the same file.
    pub key: PathBuf,
    /// An OCSP response to staple.
    pub ocsp: Option<PathBuf>,
    /// The password of the key, if it is encrypted.
    pub password: Option<PathBuf>,
}

impl PairFiles {
    /// The paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [self.cert.as_path(), self.key.as_path()]
            .into_iter()
            .chain(self.ocsp.as_deref())
            .chain(self.password.as_deref())
    }
}

/// The contents of a certificate's files; chain and key may share one file.
pub struct PairContents {
    pub(super) cert: Option<Contents>,
    pub(super) key: Contents,
    pub(super) ocsp: Option<Contents>,
    pub(super) password: Option<Contents>,
}

impl PairContents {
    /// Reads each file once.
    ///
    /// # Errors
    ///
    /// If a file cannot be read.
    pub fn read(reader: &mut FileReader, files: &PairFiles) -> Result<Self, MaterialError> {
        let cert = (files.cert != files.key).then(|| reader.read(&files.cert));
        let cert = cert.transpose()?;
        let key = reader.read(&files.key)?;
        let ocsp = files.ocsp.as_ref().map(|ocsp| reader.read(ocsp));
        let ocsp = ocsp.transpose()?;
        let password = files.password.as_ref().map(|file| reader.read(file));
        let password = password.transpose()?;
        Ok(Self {
            cert,
            key,
            ocsp,
            password,
        })
    }

    /// The file of the chain.
    pub(super) fn chain(&self) -> &Contents {
        self.cert.as_ref().unwrap_or(&self.key)
    }

    /// The file with a private key, encrypted or not, or with its password, that every user of the machine
    /// may read, if there is one. A missing key is reported later, when it is parsed.
    pub fn exposed(&self) -> Option<Exposed> {
        let holds_key = |file: &&Contents| {
            let mut windows = file.bytes.windows(KEY_LABEL.len());
            windows.any(|part| part == KEY_LABEL) || pkcs12::is_store(&file.bytes)
        };
        let files = std::iter::once(&self.key).chain(&self.cert);
        files
            .filter(holds_key)
            .find_map(|file| file.exposed("private key"))
            .or_else(|| self.password.as_ref()?.exposed("password"))
    }

    /// Whether the file of the chain holds one, so that an error is about the key.
    pub fn has_chain(&self) -> bool {
        certificates_in(self.chain()).is_ok()
    }
}
