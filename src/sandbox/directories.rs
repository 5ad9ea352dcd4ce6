//! The directories that a path depends on: where the file is, and where the symbolic links are that may be
//! replaced to lead to another one.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// Chains of symbolic links are followed no further, as in the kernel.
const LINKS_MAX: usize = 40;

/// Directories that belong to everybody. A file directly in one of them is granted alone.
const SHARED: [&str; 12] = [
    "/", "/dev", "/etc", "/home", "/mnt", "/opt", "/proc", "/run", "/srv", "/tmp", "/usr", "/var",
];

/// The places that must be readable for the file or directory at `path` to be read, and for its renewals:
/// its directory, those of the links that lead to it, and of a directory that is swapped by a link
/// (`..data` of Kubernetes, `current`), the one above. All without symbolic links.
pub(super) fn places(path: &Path) -> BTreeSet<PathBuf> {
    let (resolved, mut places) = follow(path);
    if resolved.is_dir() {
        places.extend(entries(&resolved));
        places.insert(resolved);
    } else {
        places.insert(above(&resolved));
    }
    places
}

/// The directory in which a file is made, and those that its name leads to if it is a link.
pub(super) fn of_new(path: &Path) -> BTreeSet<PathBuf> {
    let resolved = follow(path).0;
    let parents = [std::path::absolute(path).ok(), Some(resolved)].into_iter();
    let parents = parents.flatten().filter_map(|path| {
        let parent = path.parent()?;
        Some(fs::canonicalize(parent).unwrap_or_else(|_| parent.to_owned()))
    });
    parents.collect()
}

/// The path without symbolic links, or as it is if nothing is there.
pub(super) fn real(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether this is a directory of everybody.
pub(super) fn is_shared(directory: &Path) -> bool {
    SHARED.iter().any(|shared| directory == Path::new(shared))
}

/// The directory of a file, or the file if that is everybody's.
fn above(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !is_shared(parent) => parent.to_owned(),
        _ => file.to_owned(),
    }
}

/// Where the entries of a directory of certificates lead, two levels deep.
fn entries(directory: &Path) -> BTreeSet<PathBuf> {
    let list = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut places = BTreeSet::new();
    let mut add = |entry: &Path| {
        let (resolved, links) = follow(entry);
        if !resolved.starts_with(directory) {
            places.extend(links);
            places.insert(if resolved.is_dir() {
                resolved
            } else {
                above(&resolved)
            });
        }
    };
    for entry in list(directory) {
        add(&entry);
        if entry.is_dir() {
            for inner in list(&entry) {
                add(&inner);
            }
        }
    }
    places
}

/// Follows the links in `path`. Returns where it leads, and the directories of links that may be replaced.
fn follow(path: &Path) -> (PathBuf, BTreeSet<PathBuf>) {
    let names = |path: &Path| -> VecDeque<OsString> {
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        });
        names.collect()
    };
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (mut left, mut at) = (names(&absolute), PathBuf::from("/"));
    let mut places = BTreeSet::new();
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        match fs::read_link(&next) {
            Ok(target) if links < LINKS_MAX => {
                links += 1;
                let is_last = left.is_empty();
                if (is_last && !is_shared(&at)) || is_swapped(&at, &name, &target) {
                    places.insert(at.clone());
                }
                if target.is_absolute() {
                    at = PathBuf::from("/");
                }
                for name in names(&target).into_iter().rev() {
                    left.push_front(name);
                }
            }
            _ => at = next,
        }
    }
    (at, places)
}

/// Whether a link to a directory is of the kind that is replaced at a renewal: it leads to another entry of
/// its own directory.
fn is_swapped(directory: &Path, name: &OsString, target: &Path) -> bool {
    let is_beside = target
        .components()
        .all(|component| matches!(component, Component::Normal(_) | Component::CurDir));
    let is_dotted = name.to_string_lossy().starts_with("..");
    is_beside && (is_dotted || !is_shared(directory)) && directory != Path::new("/")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A directory that is removed at the end, and its path.
    struct Tree(
        #[expect(dead_code, reason = "it is removed when dropped")] tempfile::TempDir,
        PathBuf,
    );

    impl Tree {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let root = fs::canonicalize(directory.path()).unwrap();
            Self(directory, root)
        }

        fn file(&self, name: &str) {
            let path = self.1.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }

        fn link(&self, name: &str, target: &str) {
            let path = self.1.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
        }

        fn places(&self, name: &str) -> Vec<String> {
            let places = places(&self.1.join(name));
            let short = |path: &PathBuf| path.strip_prefix(&self.1).unwrap().display().to_string();
            places.iter().map(short).collect()
        }
    }

    #[test]
    fn a_renewal_beside_the_file_and_behind_its_links_can_be_read() {
        let tree = Tree::new();
        tree.file("tls/site.pem");
        assert_eq!(tree.places("tls/site.pem"), ["tls"]);
        tree.file("archive/site/cert1.pem");
        tree.link("live/site/cert.pem", "../../archive/site/cert1.pem");
        assert_eq!(
            tree.places("live/site/cert.pem"),
            ["archive/site", "live/site"]
        );
        assert_eq!(tree.places("tls/missing.pem"), ["tls"]);
    }

    #[test]
    fn the_directory_above_a_swapped_one_can_be_read() {
        let tree = Tree::new();
        tree.file("secret/..2026_01/tls.crt");
        tree.link("secret/..data", "..2026_01");
        tree.link("secret/tls.crt", "..data/tls.crt");
        assert_eq!(
            tree.places("secret/tls.crt"),
            ["secret", "secret/..2026_01"]
        );
        assert_eq!(
            tree.places("secret/..data/tls.crt"),
            ["secret", "secret/..2026_01"]
        );
        tree.file("releases/1/tls.crt");
        tree.link("current", "releases/1");
        assert_eq!(tree.places("current/tls.crt"), ["", "releases/1"]);
        // Another place than its own directory does not make that one readable.
        tree.link("elsewhere/run", "../releases");
        assert_eq!(tree.places("elsewhere/run/1/tls.crt"), ["releases/1"]);
    }

    #[test]
    fn a_directory_of_certificates_includes_what_its_links_lead_to() {
        let tree = Tree::new();
        tree.file("pairs/a/tls.crt");
        tree.file("store/b.crt");
        tree.link("pairs/b.crt", "../store/b.crt");
        assert_eq!(tree.places("pairs"), ["pairs", "store"]);
    }

    #[test]
    fn a_file_in_a_directory_of_everybody_is_granted_alone() {
        assert_eq!(
            above(Path::new("/etc/reseal.yaml")),
            Path::new("/etc/reseal.yaml")
        );
        assert_eq!(above(Path::new("/certs/tls.crt")), Path::new("/certs"));
        assert_eq!(above(Path::new("/tls.crt")), Path::new("/tls.crt"));
    }

    #[test]
    fn a_circle_of_links_ends() {
        let tree = Tree::new();
        tree.link("a", "b");
        tree.link("b", "a");
        assert!(!tree.places("a").is_empty());
    }
}
