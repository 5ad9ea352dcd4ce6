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
    pub ocsp: Option<StapleFile>,
    /// The password of the key, if it is encrypted.
    pub password: Option<PathBuf>,
}

/// The file of an OCSP response.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StapleFile {
    /// One that an operator keeps. Clients verify it.
    Named(PathBuf),
    /// One that the process fetches. It may be missing, and is verified.
    Fetched {
        /// The response.
        response: PathBuf,
        /// The certificate of the issuer, if it is not in the chain.
        issuer: Option<PathBuf>,
    },
}

impl StapleFile {
    /// The paths of its files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let (response, issuer) = match self {
            Self::Named(response) => (response, None),
            Self::Fetched { response, issuer } => (response, issuer.as_deref()),
        };
        std::iter::once(response.as_path()).chain(issuer)
    }
}

impl PairFiles {
    /// The paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [self.cert.as_path(), self.key.as_path()]
            .into_iter()
            .chain(self.ocsp.iter().flat_map(StapleFile::paths))
            .chain(self.password.as_deref())
    }
}

/// The contents of a certificate's files; chain and key may share one file.
pub struct PairContents {
    pub(super) cert: Option<Contents>,
    pub(super) key: Contents,
    pub(super) ocsp: Option<StapleContents>,
    pub(super) password: Option<Contents>,
}

pub(super) enum StapleContents {
    Named(Contents),
    Fetched {
        response: Option<Contents>,
        issuer: Option<Contents>,
    },
}

fn staple(reader: &mut FileReader, files: &StapleFile) -> Result<StapleContents, MaterialError> {
    Ok(match files {
        StapleFile::Named(response) => StapleContents::Named(reader.read(response)?),
        StapleFile::Fetched { response, issuer } => StapleContents::Fetched {
            // What cannot be read is fetched again.
            response: reader.read(response).ok(),
            issuer: issuer
                .as_ref()
                .map(|issuer| reader.read(issuer))
                .transpose()?,
        },
    })
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
        let ocsp = files.ocsp.as_ref().map(|ocsp| staple(reader, ocsp));
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
