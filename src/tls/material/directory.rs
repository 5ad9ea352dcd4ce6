//! Reads directories of certificates with their keys: complete pairs, incomplete pairs, and certificates
//! that are not for an endpoint.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::file::{Contents, MaterialError, cannot_read};
use super::pem;
use crate::tls::pair_files::PairFiles;

/// A pair and its name.
pub type Named = (String, PairFiles);

/// The contents of a directory.
#[derive(Default)]
pub struct Directory {
    /// The pairs.
    pub pairs: Vec<Named>,
    /// Pairs with a file that is missing or not accessible, and why.
    pub halves: Vec<(Named, MaterialError)>,
    /// Certificates that are not for an endpoint: CAs, and client certificates.
    pub others: Vec<MaterialError>,
}

/// The help for a directory without a pair.
const A_PAIR_IS: &str =
    "a pair is NAME.pem with NAME.key, or NAME/fullchain.pem with NAME/privkey.pem";

/// Reads a directory: NAME.pem with NAME.key, and NAME/fullchain.pem with NAME/privkey.pem. Names that
/// begin with a dot are ignored: Kubernetes keeps the content of a volume in `..data`, and editors keep
/// temporary files under such names. Certificates that `is_known` are taken for pairs without being read.
///
/// # Errors
///
/// If it cannot be read, or holds no part of a pair.
pub fn read(dir: &Path, is_known: impl Fn(&Path) -> bool) -> Result<Directory, MaterialError> {
    let listing = Listing::of(dir)?;
    let mut names: Vec<_> = listing.entries.keys().collect();
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    names.sort();
    let mut found = Directory::default();
    for name in names {
        found.add(&dir.join(name), &listing, &is_known);
    }
    if found.pairs.is_empty() && found.halves.is_empty() {
        return Err(match found.others.pop() {
            Some(other) => other,
            None => MaterialError::new(dir, "holds no pair of certificate and key").help(A_PAIR_IS),
        });
    }
    Ok(found)
}

/// The entries of a directory. Their types come with their names, which saves several calls of stat for each
/// file of what may be thousands.
struct Listing<'a> {
    dir: &'a Path,
    /// By name; `None` if only stat tells the type.
    entries: HashMap<OsString, Option<FileType>>,
    /// Whether files in the directory can be opened. If not, stat has the error.
    is_searchable: bool,
}

impl<'a> Listing<'a> {
    fn of(dir: &'a Path) -> Result<Self, MaterialError> {
        let mut entries = HashMap::new();
        for entry in fs::read_dir(dir).map_err(|e| cannot_read(dir, &e))? {
            let entry = entry.map_err(|e| cannot_read(dir, &e))?;
            entries.insert(entry.file_name(), entry.file_type().ok());
        }
        Ok(Self {
            dir,
            entries,
            is_searchable: fs::metadata(dir.join(".")).is_ok(),
        })
    }

    /// Whether `path` is a directory, or a link to one.
    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        if self.is_file(path) {
            return Ok(false);
        }
        fs::metadata(path).map(|meta| meta.is_dir())
    }

    /// Whether a file exists; an error if it is not accessible, or a dangling link.
    fn exists(&self, path: &Path) -> Result<bool, MaterialError> {
        let is_here = self.is_searchable && path.parent() == Some(self.dir);
        if self.is_file(path) {
            Ok(true)
        } else if is_here
            && path
                .file_name()
                .is_some_and(|name| !self.entries.contains_key(name))
        {
            Ok(false)
        } else {
            exists(path)
        }
    }

    /// Whether the listing shows a file that can be looked up, and no link.
    fn is_file(&self, path: &Path) -> bool {
        let name = path.file_name().filter(|_| path.parent() == Some(self.dir));
        let entry = name.and_then(|name| self.entries.get(name));
        self.is_searchable && matches!(entry, Some(Some(kind)) if kind.is_file())
    }
}

impl Directory {
    fn add(&mut self, path: &Path, listing: &Listing<'_>, is_known: impl Fn(&Path) -> bool) {
        let extension = path.extension().and_then(OsStr::to_str);
        let exists = |path: &Path| listing.exists(path);
        let (name, cert, key) = match (listing.is_directory(path), extension) {
            (Ok(true), _) => (
                path.file_name(),
                path.join("fullchain.pem"),
                path.join("privkey.pem"),
            ),
            (_, Some("pem")) if is_mkcert_key(path) => return,
            (_, Some("pem")) => (path.file_stem(), path.into(), path.with_extension("key")),
            // A key with its certificate is handled with the certificate.
            (_, Some("key")) if exists(&path.with_extension("pem")).is_ok_and(|there| !there) => {
                (path.file_stem(), path.with_extension("pem"), path.into())
            }
            // A link to a directory that is missing or not accessible.
            (Err(error), _) if extension != Some("key") => {
                let whole = (path.join("fullchain.pem"), path.join("privkey.pem"));
                let named = named(path.file_name(), whole.0, whole.1);
                return self.halves.push((named, inaccessible(path, &error)));
            }
            _ => return,
        };
        let named = named(name, cert, key);
        let (cert, key) = (&named.1.cert, &named.1.key);
        let missing = match (exists(cert), exists(key)) {
            (Ok(true), Ok(true)) if is_known(cert) => return self.pairs.push(named),
            (Ok(true), Ok(true)) => return self.add_pair(named),
            // A directory without a pair.
            (Ok(false), Ok(false)) => return,
            (Err(error), _) | (_, Err(error)) => error,
            (Ok(true), Ok(false)) => match foreign(cert) {
                Some(why) => return self.add_other(cert, why),
                None => is_missing(key, cert),
            },
            (Ok(false), Ok(true)) => is_missing(cert, key),
        };
        self.halves.push((named, missing));
    }

    fn add_pair(&mut self, named: Named) {
        match foreign(&named.1.cert) {
            Some(why) => self.add_other(&named.1.cert, why),
            None => self.pairs.push(named),
        }
    }

    fn add_other(&mut self, cert: &Path, why: &str) {
        let help = "name it by `cert` and `key` if it is to be presented all the same";
        self.others.push(MaterialError::new(cert, why).help(help));
    }
}

fn named(name: Option<&OsStr>, cert: PathBuf, key: PathBuf) -> Named {
    let files = PairFiles {
        cert,
        key,
        ocsp: None,
        password: None,
    };
    (text(name), files)
}

/// Why a valid certificate is not for an endpoint. A malformed one is reported when its pair is read.
fn foreign(cert: &Path) -> Option<&'static str> {
    let contents = Contents::read(cert).ok()?;
    let chain = pem::chain(&contents.bytes).ok()?;
    let (_, leaf) = X509Certificate::from_der(&chain.first()?.value).ok()?;
    let is_host = |name: &GeneralName<'_>| {
        matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_))
    };
    let sans = leaf.subject_alternative_name().ok().flatten();
    let names_host = sans.is_some_and(|sans| sans.value.general_names.iter().any(is_host));
    let is_for_clients = leaf
        .extended_key_usage()
        .ok()
        .flatten()
        .is_some_and(|usage| {
            usage.value.client_auth && !usage.value.server_auth && !usage.value.any
        });
    if leaf.is_ca() && !names_host {
        Some("is a CA's certificate, and not presented to clients")
    } else if is_for_clients {
        Some("is a certificate for clients alone, and not presented to any")
    } else {
        None
    }
}

/// Whether a file exists; an error if it is not accessible, or a dangling link.
fn exists(path: &Path) -> Result<bool, MaterialError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(inaccessible(path, &error)),
        Ok(_) => match fs::metadata(path) {
            Ok(_) => Ok(true),
            Err(error) => Err(inaccessible(path, &error)),
        },
    }
}

fn inaccessible(path: &Path, error: &io::Error) -> MaterialError {
    if error.kind() == ErrorKind::NotFound {
        let found = MaterialError::new(path, "is a link to something that is not there");
        return found.help("renew the certificate, or remove the link");
    }
    cannot_read(path, error).help(
        "let the user that Reseal runs as look into every directory on the way, and read the file: \
         chmod and chgrp, or setfacl",
    )
}

fn is_missing(absent: &Path, there: &Path) -> MaterialError {
    let error = MaterialError::new(
        there,
        format_args!("there is no {} beside it", text(absent.file_name())),
    );
    let mkcert = mkcert_key(there);
    match mkcert.file_name().filter(|_| mkcert.exists()) {
        Some(key) => error.help(format!(
            "rename {} to {}",
            text(Some(key)),
            text(absent.file_name())
        )),
        None => error.help(A_PAIR_IS),
    }
}

/// The name that mkcert gives to the key of a certificate.
fn mkcert_key(cert: &Path) -> PathBuf {
    cert.with_file_name(format!("{}-key.pem", text(cert.file_stem())))
}

/// Whether mkcert created this key for a certificate in the same directory, with which it is reported.
fn is_mkcert_key(path: &Path) -> bool {
    let stem = text(path.file_stem());
    stem.strip_suffix("-key")
        .is_some_and(|cert| path.with_file_name(format!("{cert}.pem")).exists())
}

fn text(name: Option<&OsStr>) -> String {
    name.map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
