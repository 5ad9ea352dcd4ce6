//! How files look from outside, to tell whether they are still those that were read.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How files look; of directories, what is in them, too. Two stamps that are equal are at files that
/// nobody has touched in between, as far as the kernel tells.
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
    /// A look at files that are there or not.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut stamps = Self::default();
        for file in files {
            stamps.at(file);
        }
        stamps
    }

    /// FileStamps at one more, again if it was looked at before. To be called before it is read: what
    /// changes afterwards is then another look.
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
        // A directory's size and times change with what is of no concern, such as log files.
        size: if meta.is_dir() { 0 } else { meta.size() },
        changed: if meta.is_dir() {
            (0, 0)
        } else {
            (meta.ctime(), meta.ctime_nsec())
        },
    })
}
