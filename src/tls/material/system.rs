//! Reads the CA store of the machine: a bundle, and directories of certificates.
//!
//! The locations are those of OpenSSL on the known Linux distributions, or `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`. Operators do not write these files, so a damaged one is left out and reported, and
//! the others are used. A file is left out whole: what stands behind a damaged block is not guessed.

use std::collections::HashSet;
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;

use super::file::{Contents, MaterialError, cannot_read};
use super::{pem, refused};

/// Bundles, of which the first that exists is read.
const FILES: [&str; 7] = [
    // Debian, Ubuntu, Gentoo
    "/etc/ssl/certs/ca-certificates.crt",
    // RHEL, CentOS
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    // Fedora
    "/etc/pki/tls/certs/ca-bundle.crt",
    // SUSE
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    // Alpine
    "/etc/ssl/cert.pem",
    // Entware
    "/opt/etc/ssl/certs/ca-certificates.crt",
];

/// Directories, all of which are read.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

/// Where the CA store is.
#[derive(Debug, Default)]
struct Locations {
    file: Option<PathBuf>,
    directories: Vec<PathBuf>,
}

/// The CA store of the machine. What could not be read is in the second part.
pub fn authorities() -> (RootCertStore, Vec<MaterialError>) {
    Locations::of_machine().read()
}

impl Locations {
    fn of_machine() -> Self {
        let directories = env::var_os("SSL_CERT_DIR").unwrap_or_default();
        let named = Self {
            file: env::var_os("SSL_CERT_FILE").map(PathBuf::from),
            directories: env::split_paths(&directories)
                .filter(|directory| !directory.as_os_str().is_empty())
                .collect(),
        };
        if named.file.is_some() || !named.directories.is_empty() {
            return named;
        }
        let exists = |path: &PathBuf| path.exists();
        Self {
            file: FILES.map(PathBuf::from).into_iter().find(exists),
            directories: DIRECTORIES
                .map(PathBuf::from)
                .into_iter()
                .filter(exists)
                .collect(),
        }
    }

    fn read(&self) -> (RootCertStore, Vec<MaterialError>) {
        let mut store = Store::default();
        if let Some(file) = &self.file {
            let read = Contents::read(file);
            store.add(file, read);
        }
        for directory in &self.directories {
            store.add_directory(directory);
        }
        (store.anchors, store.errors)
    }
}

/// What was read so far.
struct Store {
    anchors: RootCertStore,
    errors: Vec<MaterialError>,
    /// Device and inode: most entries of a directory are links to others.
    files: HashSet<(u64, u64)>,
    certificates: HashSet<Vec<u8>>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            anchors: RootCertStore::empty(),
            errors: Vec::new(),
            files: HashSet::new(),
            certificates: HashSet::new(),
        }
    }
}

impl Store {
    fn add(&mut self, path: &Path, read: Result<Contents, MaterialError>) {
        let found = read.and_then(|contents| {
            self.files.insert(contents.id());
            pem::authorities(&contents.bytes).map_err(|refusal| refused(path, refusal))
        });
        match found {
            Err(error) => self.errors.push(error),
            Ok(certificates) => {
                // A CA that webpki cannot use is of no use to anybody, and not the operator's to mend.
                let new = certificates
                    .into_iter()
                    .map(|item| item.value)
                    .filter(|der| self.certificates.insert(der.to_vec()));
                self.anchors.add_parsable_certificates(new);
            }
        }
    }

    fn add_directory(&mut self, directory: &Path) {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) => return self.errors.push(cannot_read(directory, &error)),
        };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match fs::metadata(&path) {
                Ok(meta) if !meta.is_file() || self.files.contains(&(meta.dev(), meta.ino())) => {}
                // A link whose package was removed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                _ => {
                    let read = Contents::read(&path);
                    if read.as_ref().map_or(true, holds_certificates) {
                        self.add(&path, read);
                    }
                }
            }
        }
    }
}

/// Whether a file of a directory is one of CAs: distributions have scripts and notes beside them, and
/// bundles with OpenSSL's trust settings that repeat the plain one.
fn holds_certificates(file: &Contents) -> bool {
    let has = |word: &[u8]| file.bytes.windows(word.len()).any(|window| window == word);
    has(b"BEGIN CERTIFICATE") || has(b"BEGIN X509 CERTIFICATE")
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn ca() -> String {
        let key = KeyPair::generate().unwrap();
        CertificateParams::default()
            .self_signed(&key)
            .unwrap()
            .pem()
    }

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        directory
    }

    fn read(file: Option<PathBuf>, directories: &[&Path]) -> (usize, Vec<String>) {
        let directories = directories.iter().map(|path| path.to_path_buf()).collect();
        let (anchors, errors) = Locations { file, directories }.read();
        let errors = errors.into_iter().map(|error| error.message).collect();
        (anchors.len(), errors)
    }

    #[test]
    fn a_certificate_that_is_there_several_times_is_one_ca() {
        let (one, two) = (ca(), ca());
        let found = directory(&[
            ("bundle.crt", &format!("{one}{two}")),
            ("one.pem", &one),
            ("README", "BEGIN and END"),
            (
                "trust.crt",
                "-----BEGIN TRUSTED CERTIFICATE-----\nMAA=\n-----END TRUSTED CERTIFICATE-----\n",
            ),
        ]);
        let path = found.path();
        std::os::unix::fs::symlink("one.pem", path.join("abcdef01.0")).unwrap();
        std::os::unix::fs::symlink("gone.pem", path.join("abcdef02.0")).unwrap();
        fs::create_dir(path.join("java")).unwrap();
        assert_eq!(read(Some(path.join("bundle.crt")), &[path]), (2, vec![]));
        assert_eq!(read(None, &[path, path]), (2, vec![]));
    }

    #[test]
    fn a_damaged_file_is_left_out_and_named() {
        let (one, two) = (ca(), ca());
        let glued = format!("{}{two}", one.trim_end());
        let found = directory(&[
            ("a.pem", &glued),
            ("b.pem", &ca()),
            ("cut.pem", &one[..one.len() / 2]),
        ]);
        let path = found.path();
        let (count, errors) = read(None, &[path]);
        assert_eq!(count, 1);
        let [glued, cut] = errors.as_slice() else {
            panic!("{errors:?}")
        };
        assert!(
            glued.contains("a.pem:") && glued.contains("glued"),
            "{glued}"
        );
        assert!(cut.contains("cut.pem:1") && cut.contains("no END"), "{cut}");
        let (count, errors) = read(Some(path.join("gone.pem")), &[&path.join("no")]);
        assert_eq!((count, errors.len()), (0, 2), "{errors:?}");
    }
}
