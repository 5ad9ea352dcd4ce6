//! Stamps of files: metadata that tells whether a file has changed since it was read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The stamps of files, and of directories with their entries. Equal stamps mean that no file was
/// changed in between, as far as the kernel records it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileStamps(BTreeMap<PathBuf, Option<Stamp>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
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
        self.0.insert(file.to_owned(), stamp(file));
        for entry in fs::read_dir(file).into_iter().flatten().flatten() {
            let path = entry.path();
            for inner in fs::read_dir(&path).into_iter().flatten().flatten() {
                self.0.insert(inner.path(), stamp(&inner.path()));
            }
            self.0.insert(path.clone(), stamp(&path));
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = fs::metadata(path).ok()?;
    Some(Stamp {
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
