//! Files that came with the document of a fleet, in memory. They have places of their own, which are no paths
//! of the machine: neither can stand for the other.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Before the paths that are relative to the document.
const ROOT: &str = "fleet:";

/// Before absolute ones.
const ABSOLUTE: &str = "fleet:root";

/// The files that a document names, by place.
#[derive(Default)]
pub struct CarriedFiles(BTreeMap<PathBuf, Zeroizing<Vec<u8>>>);

impl fmt::Debug for CarriedFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// Whether a path is the place of a carried file.
pub fn is_carried(path: &Path) -> bool {
    path.starts_with(ROOT) || path.starts_with(ABSOLUTE)
}

impl CarriedFiles {
    /// The place of a file that the document names by this path.
    pub fn place(named: &Path) -> PathBuf {
        match named.strip_prefix("/") {
            Ok(below) => Path::new(ABSOLUTE).join(below),
            Err(_) => Path::new(ROOT).join(named),
        }
    }

    /// Adds the file of a place.
    pub fn add(&mut self, place: PathBuf, bytes: Zeroizing<Vec<u8>>) {
        self.0.insert(place, bytes);
    }

    /// The files with their places.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Zeroizing<Vec<u8>>)> {
        self.0.iter().map(|(place, bytes)| (place.as_path(), bytes))
    }

    pub(super) fn get(&self, place: &Path) -> Option<&Zeroizing<Vec<u8>>> {
        self.0.get(place)
    }

    /// The pairs in a directory: name, certificate and key of NAME.pem with NAME.key, and of NAME/fullchain.pem
    /// with NAME/privkey.pem. What is no whole pair was left out when the files were collected.
    pub fn pairs_in(&self, directory: &Path) -> Vec<(String, PathBuf, PathBuf)> {
        let below = self.0.keys().filter(|place| place.starts_with(directory));
        let pairs = below.filter_map(|cert| {
            let is_whole = cert.file_name() == Some(OsStr::new("fullchain.pem"));
            let (name, key, depth) = match is_whole {
                true => {
                    let name = cert.parent()?.file_name()?;
                    (name, cert.with_file_name("privkey.pem"), 2)
                }
                false => (cert.file_stem()?, cert.with_extension("key"), 1),
            };
            let within = cert.strip_prefix(directory).ok()?;
            let is_pair = cert.extension() == Some(OsStr::new("pem"))
                && within.components().count() == depth
                && self.0.contains_key(&key);
            is_pair.then(|| (name.to_string_lossy().into_owned(), cert.clone(), key))
        });
        pairs.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> CarriedFiles {
        let mut files = CarriedFiles::default();
        for name in names {
            let bytes = Zeroizing::new(name.as_bytes().to_vec());
            files.add(CarriedFiles::place(Path::new(name)), bytes);
        }
        files
    }

    #[test]
    fn a_place_is_no_path_of_the_machine_and_no_two_paths_share_one() {
        let names = [
            "a.pem",
            "/a.pem",
            "certs/a.pem",
            "../a.pem",
            "/root/a.pem",
            "root/a.pem",
        ];
        let files = of(&names);
        assert_eq!(files.iter().count(), names.len());
        for name in names {
            let place = CarriedFiles::place(Path::new(name));
            assert!(is_carried(&place) && !place.is_absolute(), "{name}");
            let found = files.get(&place).map(|bytes| bytes.as_slice());
            assert_eq!(found, Some(name.as_bytes()));
        }
        assert!(!is_carried(Path::new("/etc/a.pem")) && !is_carried(Path::new("certs/a.pem")));
    }

    #[test]
    fn a_directory_has_its_whole_pairs() {
        let files = of(&[
            "live/a.pem",
            "live/a.key",
            "live/b/fullchain.pem",
            "live/b/privkey.pem",
            "live/alone.pem",
            "other/c.pem",
            "other/c.key",
        ]);
        let pairs = files.pairs_in(&CarriedFiles::place(Path::new("live")));
        let names: Vec<_> = pairs.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
