//! Stamps of files: metadata that tells whether a file has changed since it was read.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The stamps of files, and of directories with their entries, two levels deep. Equal stamps mean that no
/// file was changed in between, as far as the kernel records it.
///
/// The keys are the bytes of the paths: hashing the components of a path takes many times as long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileStamps(HashMap<OsString, Arc<FileStamp>>);

/// The stamp of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileStamp {
    /// `None` if it is missing.
    own: Option<Stamp>,
    /// The stamps of a directory's entries.
    entries: HashMap<OsString, Option<Stamp>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    is_directory: bool,
    inode: (u64, u64),
    size: u64,
    /// Seconds and nanoseconds of unix time.
    changed: (i64, i64),
}

impl FileStamps {
    /// The current stamps of these files, which may be missing.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut stamps = Self::default();
        for file in files {
            stamps.at(file);
        }
        stamps
    }

    /// Stamps one more file, or stamps it again. Must be called before the file is read, so that a
    /// change during the read yields a different stamp later.
    pub fn at(&mut self, file: &Path) {
        let own = stamp(file);
        let mut entries = HashMap::new();
        for path in entries_of(file, own) {
            let stamp = stamp(&path);
            entries.extend(entries_of(&path, stamp).map(|inner| {
                let stamp = self::stamp(&inner);
                (inner.into(), stamp)
            }));
            entries.insert(path.into(), stamp);
        }
        let stamp = FileStamp { own, entries };
        self.0.insert(file.into(), Arc::new(stamp));
    }

    /// Stamps a file that neither has a stamp nor is covered by that of a directory. A stamp in `taken` is
    /// used in place of a new one: a change since then will show as a different stamp, as one during the
    /// read does.
    pub fn at_first(&mut self, file: &Path, taken: Option<&Self>) {
        if self.0.contains_key(file.as_os_str()) || self.is_covered(file) {
            return;
        }
        match taken.and_then(|taken| taken.0.get(file.as_os_str())) {
            Some(stamp) => drop(self.0.insert(file.into(), Arc::clone(stamp))),
            None => self.at(file),
        }
    }

    /// The stamped files and directories.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(Path::new)
    }

    /// The files and directories, entries of directories included, whose stamp `before` does not have.
    pub fn changed_since(&self, before: &Self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, stamp) in &self.0 {
            let before = before.0.get(path);
            if before == Some(stamp) {
                continue;
            }
            changed.push(path.into());
            let entries = stamp.entries.iter().filter(|(entry, stamp)| {
                before.is_none_or(|before| before.entries.get(*entry) != Some(*stamp))
            });
            changed.extend(entries.map(|(entry, _)| PathBuf::from(entry)));
        }
        changed
    }

    /// Whether this file, or entry of a directory, still has its stamp. The entries of a directory are not
    /// compared by its own path.
    pub fn is_current(&self, file: &Path) -> bool {
        let known = match self.0.get(file.as_os_str()) {
            Some(known) => Some(known.own),
            None => self.covering(file),
        };
        known == Some(stamp(file))
    }

    /// Whether the stamp of a directory covers this file.
    pub fn is_covered(&self, file: &Path) -> bool {
        self.covering(file).is_some()
    }

    /// Whether both have a stamp of this file, or of this directory with its entries, and it is equal.
    pub fn agree_on(&self, other: &Self, file: &Path) -> bool {
        match (self.0.get(file.as_os_str()), other.0.get(file.as_os_str())) {
            (Some(own), Some(others)) => own == others,
            (None, None) => {
                let own = self.covering(file);
                own.is_some() && own == other.covering(file)
            }
            _ => false,
        }
    }

    /// The stamp of an entry of a stamped directory.
    fn covering(&self, file: &Path) -> Option<Option<Stamp>> {
        let above = file.ancestors().skip(1).take(2);
        let mut directories = above.filter_map(|directory| self.0.get(directory.as_os_str()));
        directories.find_map(|directory| directory.entries.get(file.as_os_str()).copied())
    }
}

/// The entries of a path with this stamp; none if it is no directory.
fn entries_of(path: &Path, stamp: Option<Stamp>) -> impl Iterator<Item = PathBuf> {
    let directory = stamp.filter(|stamp| stamp.is_directory);
    let entries = directory.and_then(|_| fs::read_dir(path).ok());
    entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some(Stamp {
        is_directory: meta.is_dir(),
        inode: (meta.dev(), meta.ino()),
        // A directory's size and times change with irrelevant entries, such as log files.
        size: if meta.is_dir() { 0 } else { meta.size() },
        changed: if meta.is_dir() {
            (0, 0)
        } else {
            (meta.ctime(), meta.ctime_nsec())
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_covers_its_files_two_levels_deep_and_each_of_them_shows_its_own_change() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("pairs");
        let path = |name: &str| dir.join(name);
        fs::create_dir_all(path("a")).unwrap();
        fs::create_dir_all(path("b/deep")).unwrap();
        for name in ["one.crt", "a/tls.crt", "b/deep/tls.crt"] {
            fs::write(path(name), name).unwrap();
        }
        let before = FileStamps::of([dir.as_path()]);
        assert!(before.is_covered(&path("one.crt")) && before.is_covered(&path("a/tls.crt")));
        assert!(!before.is_covered(&path("b/deep/tls.crt")) && !before.is_covered(&dir));
        assert_eq!(before.paths().collect::<Vec<_>>(), [dir.as_path()]);

        fs::write(path("a/tls.crt"), "longer than it was").unwrap();
        let after = FileStamps::of([dir.as_path()]);
        assert!(after.agree_on(&before, &path("one.crt")));
        for changed in [path("a/tls.crt"), dir.clone()] {
            assert!(!after.agree_on(&before, &changed), "{}", changed.display());
        }
        let mut changes = after.changed_since(&before);
        changes.sort();
        assert_eq!(changes, [dir.clone(), path("a/tls.crt")]);
        for changed in [path("a/tls.crt"), dir.clone()] {
            assert!(after.is_current(&changed), "{}", changed.display());
        }
        assert!(before.is_current(&dir) && before.is_current(&path("one.crt")));
        assert!(!before.is_current(&path("a/tls.crt")) && !before.is_current(&path("missing")));
        assert_eq!(after.changed_since(&FileStamps::default()).len(), 6);
        // Unknown files agree on nothing.
        assert!(!after.agree_on(&before, &path("b/deep/tls.crt")));
        let missing = FileStamps::of([path("missing").as_path()]);
        assert!(missing.agree_on(&missing, &path("missing")));
        assert!(!missing.agree_on(&after, &path("missing")));
    }
}
