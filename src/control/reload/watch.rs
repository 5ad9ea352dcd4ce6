//! Watches the configuration file and the files that it names.
//!
//! inotify reports changes in their directories (and in those of their symbolic links); a slow poll
//! finds what inotify misses. Both are only hints: a reload starts when the stamps of the files differ
//! from those that were read and have been stable for a while.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::config::file_stamps::FileStamps;
use crate::control::reload::prepare::Scope;
use crate::snapshot::{WatchPolicy, Watched};
use crate::sys;

/// How often files are polled that inotify does not report.
const POLL: Duration = Duration::from_secs(30);

/// Chains of symbolic links are followed no further.
const LINKS_MAX: usize = 8;

/// The files to watch, and their stamps when they were read.
#[derive(Clone, Debug)]
pub(crate) struct WatchSet {
    pub(crate) policy: WatchPolicy,
    /// The configuration file, if it is one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) file_stamp: FileStamps,
    /// The files that it names.
    pub(crate) materials: Vec<PathBuf>,
    pub(crate) material_stamps: FileStamps,
}

impl WatchSet {
    /// The current stamps: of the materials, and of the configuration file if that is watched.
    fn stamps(&self) -> (FileStamps, FileStamps) {
        let file = match self.policy.what {
            Watched::All => self.file.as_deref(),
            Watched::Nothing | Watched::Materials => None,
        };
        let materials = self.materials.iter().map(PathBuf::as_path);
        let file = file.map_or_else(|| self.file_stamp.clone(), |file| FileStamps::of([file]));
        (FileStamps::of(materials), file)
    }
}

/// Watches until the receiver of changes is dropped.
pub(crate) async fn watch(mut watch_set: watch::Receiver<WatchSet>, changes: mpsc::Sender<Scope>) {
    loop {
        let now = watch_set.borrow_and_update().clone();
        let watching = async {
            match now.policy.what {
                Watched::Nothing => std::future::pending().await,
                Watched::Materials | Watched::All => follow(now, &changes).await,
            }
        };
        tokio::select! {
            () = watching => return,
            changed = watch_set.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn follow(watch_set: WatchSet, changes: &mpsc::Sender<Scope>) {
    let all: Vec<_> = watch_set
        .materials
        .iter()
        .chain(&watch_set.file)
        .cloned()
        .collect();
    let mut seen = (
        watch_set.material_stamps.clone(),
        watch_set.file_stamp.clone(),
    );
    loop {
        let mut events = Events::new(&all);
        let mut now = watch_set.stamps();
        while now == seen {
            events.next().await;
            now = watch_set.stamps();
        }
        loop {
            sleep(watch_set.policy.debounce).await;
            let later = watch_set.stamps();
            if later == now {
                break;
            }
            now = later;
        }
        let changed = [
            (now.0 != seen.0, Scope::Materials),
            (now.1 != seen.1, Scope::All),
        ];
        seen = now;
        for (has_changed, scope) in changed {
            if has_changed && changes.send(scope).await.is_err() {
                return;
            }
        }
    }
}

/// The inotify events of some directories.
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
            // The poll finds a directory that is created later.
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

/// The directories whose entries determine what the files are.
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
