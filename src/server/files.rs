//! Files that change under a running process.
//!
//! The kernel tells of changes in the directories of the files (and of whatever their symbolic links
//! lead through), a slow poll finds what it does not tell. Neither is believed: what counts is whether
//! the files are others than those that were read, and have been left alone for a while.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::reload::Scope;
use crate::snapshot::{WatchPolicy, Watched};
use crate::sys;

/// How often files are looked at that the kernel tells nothing about.
const POLL: Duration = Duration::from_secs(30);

/// The kernel's clock for files is this coarse: a jiffy of 250 in a second, and a bit.
const GRAIN: Duration = Duration::from_millis(5);

/// Links that lead to links are followed no further.
const LINKS_MAX: usize = 8;

/// What is to be watched.
#[derive(Clone, Debug)]
pub(super) struct Followed {
    pub(super) policy: WatchPolicy,
    /// The configuration file, if it is one.
    pub(super) file: Option<PathBuf>,
    /// What it names.
    pub(super) materials: Vec<PathBuf>,
    /// When the reading began of which the running configuration came.
    pub(super) read_at: SystemTime,
}

/// Watches until the receiver of changes is gone.
pub(super) async fn watch(mut followed: watch::Receiver<Followed>, changes: mpsc::Sender<Scope>) {
    loop {
        let now = followed.borrow_and_update().clone();
        let watching = async {
            match now.policy.what {
                Watched::Nothing => std::future::pending().await,
                Watched::Materials | Watched::All => follow(now, &changes).await,
            }
        };
        tokio::select! {
            () = watching => return,
            changed = followed.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn follow(followed: Followed, changes: &mpsc::Sender<Scope>) {
    let file = followed
        .file
        .filter(|_| followed.policy.what == Watched::All);
    let all: Vec<_> = followed.materials.iter().chain(&file).cloned().collect();
    let mut events = Events::new(&all);
    let look = || (Looks::of(&followed.materials), Looks::of(file.as_slice()));
    let mut seen = look();
    // What has changed since it was read is a change, too.
    let read_at = followed.read_at.checked_sub(GRAIN).unwrap_or(UNIX_EPOCH);
    let mut late = seen.0.are_later_than(read_at) || seen.1.are_later_than(read_at);
    loop {
        if !late {
            events.next().await;
        }
        let mut now = look();
        if now == seen && !late {
            continue;
        }
        loop {
            sleep(followed.policy.debounce).await;
            let later = look();
            if later == now {
                break;
            }
            now = later;
        }
        late = false;
        let scope = if now.1 == seen.1 {
            Scope::Materials
        } else {
            Scope::All
        };
        seen = now;
        // Writers of several files make several changes.
        events = Events::new(&all);
        if changes.send(scope).await.is_err() {
            return;
        }
    }
}

/// What the kernel tells of changes in directories.
struct Events(Option<AsyncFd<OwnedFd>>);

impl Events {
    fn new(files: &[PathBuf]) -> Self {
        let watched = Self::begin(files);
        if let Err(error) = &watched {
            warn!(%error, "changes of files are noticed late: the kernel does not tell of them");
        }
        Self(watched.ok())
    }

    fn begin(files: &[PathBuf]) -> io::Result<AsyncFd<OwnedFd>> {
        use inotify::{CreateFlags, WatchFlags};
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB;
        for directory in directories(files) {
            // A directory that is not there is found by the poll, once it is.
            let _ = inotify::add_watch(&inotify, &directory, flags);
        }
        sys::watch(inotify)
    }

    /// Waits until something may have changed.
    async fn next(&mut self) {
        let Some(inotify) = &self.0 else {
            return sleep(POLL).await;
        };
        if let Ok(Ok(mut ready)) = timeout(POLL, inotify.readable()).await {
            let mut buffer = [0; 4096];
            while matches!(rustix::io::read(inotify.as_fd(), &mut buffer), Ok(len) if len > 0) {}
            ready.clear_ready();
        }
    }
}

/// The directories in which a change may change what the files are.
fn directories(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    for file in files {
        if file.is_dir() {
            directories.insert(file.clone());
        }
        let mut path = file.clone();
        for _ in 0..LINKS_MAX {
            directories.extend(path.parent().map(directory));
            match fs::read_link(&path) {
                Ok(link) => path = path.parent().unwrap_or_else(|| Path::new("")).join(link),
                Err(_) => break,
            }
        }
    }
    directories
}

fn directory(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path.to_owned()
    }
}

/// How files look from outside; of directories, what is in them.
#[derive(Debug, PartialEq, Eq)]
struct Looks(Vec<Look>);

#[derive(Debug, PartialEq, Eq)]
struct Look {
    path: PathBuf,
    inode: (u64, u64),
    size: u64,
    /// Seconds and nanoseconds of unix time.
    changed: (i64, i64),
}

impl Looks {
    fn of(files: &[PathBuf]) -> Self {
        let mut looks = Vec::new();
        for file in files {
            look(file, &mut looks);
            for entry in fs::read_dir(file).into_iter().flatten().flatten() {
                look(&entry.path(), &mut looks);
                for inner in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
                    look(&inner.path(), &mut looks);
                }
            }
        }
        looks.sort_by(|a, b| a.path.cmp(&b.path));
        Self(looks)
    }

    fn are_later_than(&self, time: SystemTime) -> bool {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = (
            i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            i64::from(since.subsec_nanos()),
        );
        self.0.iter().any(|look| look.changed > time)
    }
}

fn look(path: &Path, looks: &mut Vec<Look>) {
    if let Ok(meta) = fs::metadata(path) {
        looks.push(Look {
            path: path.to_owned(),
            inode: (meta.dev(), meta.ino()),
            size: meta.size(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        });
    }
}
