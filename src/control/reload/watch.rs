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
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::inotify;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{Level, debug, enabled, warn};

use crate::config::file_stamps::FileStamps;
use crate::config::load::Source;
use crate::control::reload::prepare::{ActiveConfig, Scope};
use crate::snapshot::{Snapshot, WatchPolicy, Watched};
use crate::sys;

/// How often files are polled that inotify does not report.
const POLL: Duration = Duration::from_secs(30);

/// The share of the debounce time that a burst of events may take before the files are compared: a comparison
/// costs a stat of each file.
const BURST_SHARE: u32 = 4;

/// Chains of symbolic links are followed no further.
const LINKS_MAX: usize = 8;

/// The files to watch, and their stamps when they were read.
#[derive(Clone, Debug)]
pub(crate) struct WatchSet {
    pub(crate) policy: WatchPolicy,
    /// The configuration file, if it is one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) file_stamp: Arc<FileStamps>,
    /// The stamps of the files that it names.
    pub(crate) material_stamps: Arc<FileStamps>,
}

/// A change of files, as the watch reports it.
#[derive(Clone, Debug)]
pub(crate) struct FileChange {
    /// What has to be read.
    pub(crate) scope: Scope,
    /// The stamps of the materials, taken when the change was seen.
    pub(crate) stamps: Arc<FileStamps>,
}

/// The stamps of the materials, and of the configuration file.
type Stamps = (Arc<FileStamps>, Arc<FileStamps>);

impl WatchSet {
    /// The files of a configuration.
    pub(crate) fn of(running: &ActiveConfig, snapshot: &Snapshot) -> Self {
        Self {
            policy: snapshot.process.watch,
            file: match &running.source {
                Source::File(path) | Source::Fleet { path, .. } => Some(path.clone()),
                Source::Text { .. } => None,
            },
            file_stamp: Arc::new(running.loaded.stamp.clone()),
            material_stamps: Arc::new(running.loaded.materials.stamps().clone()),
        }
    }

    /// The stamps of the files as they were read.
    fn read(&self) -> Stamps {
        (
            Arc::clone(&self.material_stamps),
            Arc::clone(&self.file_stamp),
        )
    }

    /// The current stamps: of the materials, and of the configuration file if that is watched.
    fn now(&self) -> Stamps {
        let file = match self.policy.what {
            Watched::All => self.file.as_deref(),
            Watched::Nothing | Watched::Materials => None,
        };
        let materials = FileStamps::of(self.material_stamps.paths());
        let file = match file {
            Some(file) => Arc::new(FileStamps::of([file])),
            None => Arc::clone(&self.file_stamp),
        };
        (Arc::new(materials), file)
    }
}

/// Watches until the receiver of changes is dropped. inotify is opened at once.
pub(crate) fn watch(
    mut watch_set: watch::Receiver<WatchSet>,
    changes: mpsc::Sender<FileChange>,
) -> impl Future<Output = ()> {
    let mut watcher = Watcher::default();
    if watch_set.borrow().policy.what != Watched::Nothing {
        watcher.events();
    }
    async move {
        loop {
            let now = Arc::new(watch_set.borrow_and_update().clone());
            let watching = async {
                match now.policy.what {
                    Watched::Nothing => std::future::pending().await,
                    Watched::Materials | Watched::All => watcher.follow(&now, &changes).await,
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
}

/// The state of the watch, which outlives a set of files.
#[derive(Default)]
struct Watcher {
    events: Option<Events>,
    /// The stamps of the files whose directories the events are of.
    known: Arc<FileStamps>,
    /// Whether something may have changed since the files were last compared.
    is_pending: bool,
}

impl Watcher {
    /// Reports changes of these files. May be dropped at any await.
    async fn follow(&mut self, set: &Arc<WatchSet>, changes: &mpsc::Sender<FileChange>) {
        self.watch_directories(set).await;
        let mut seen = set.read();
        loop {
            if !self.is_pending
                && let Some(events) = &mut self.events
            {
                events.next().await;
                self.is_pending = true;
                // The events of a file that is written under another name and renamed are one change.
                sleep(set.policy.debounce / BURST_SHARE).await;
                events.take();
            }
            let mut now = blocking(set, WatchSet::now).await;
            if now == seen {
                self.is_pending = false;
                continue;
            }
            loop {
                sleep(set.policy.debounce).await;
                if !self.events.as_mut().is_none_or(Events::take) {
                    // No other file has changed, and there may be thousands.
                    let (before, latest) = (seen.clone(), now.clone());
                    if blocking(set, move |_| is_current(&before, &latest)).await {
                        break;
                    }
                }
                let later = blocking(set, WatchSet::now).await;
                if later == now {
                    break;
                }
                now = later;
            }
            let changed = [
                (now.0 != seen.0, Scope::Materials),
                (now.1 != seen.1, Scope::All),
            ];
            log(&seen, &now);
            seen = now;
            for (has_changed, scope) in changed {
                let stamps = Arc::clone(&seen.0);
                if has_changed && changes.send(FileChange { scope, stamps }).await.is_err() {
                    return;
                }
            }
            self.is_pending = false;
        }
    }

    /// The events, which begin with the first call.
    fn events(&mut self) -> &Events {
        self.events.get_or_insert_with(|| {
            // What has changed before there were events is found by a comparison.
            self.is_pending = true;
            Events::new()
        })
    }

    /// Has inotify report on the directories of files that have changed since it was last told: links may
    /// lead elsewhere now.
    async fn watch_directories(&mut self, set: &Arc<WatchSet>) {
        let known = std::mem::take(&mut self.known);
        let directories = blocking(set, move |set| {
            let mut files = set.material_stamps.changed_since(&known);
            files.extend(set.file.clone());
            directories(&files)
        });
        let directories = directories.await;
        self.events().add(&directories);
        self.known = Arc::clone(&set.material_stamps);
    }
}

/// The files that have changed, for `log.level: debug`.
fn log(before: &Stamps, now: &Stamps) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    let files = [(&before.0, &now.0), (&before.1, &now.1)];
    for file in files
        .iter()
        .flat_map(|(before, now)| now.changed_since(before))
    {
        debug!(file = %file.display(), "a file has changed and is read again");
    }
}

/// Whether the files that have changed from `before` to `now` have changed no further.
fn is_current(before: &Stamps, now: &Stamps) -> bool {
    let is_current = |before: &FileStamps, now: &FileStamps| {
        let changed = now.changed_since(before);
        changed.iter().all(|file| now.is_current(file))
    };
    is_current(&before.0, &now.0) && is_current(&before.1, &now.1)
}

/// What `find` finds of the files, on a thread that may block.
async fn blocking<T: Send + 'static>(
    set: &Arc<WatchSet>,
    find: impl FnOnce(&WatchSet) -> T + Send + 'static,
) -> T {
    let set = Arc::clone(set);
    match tokio::task::spawn_blocking(move || find(&set)).await {
        Ok(found) => found,
        // The process ends.
        Err(_) => std::future::pending().await,
    }
}

/// The inotify events of some directories.
struct Events(Option<AsyncFd<OwnedFd>>);

impl Events {
    fn new() -> Self {
        use inotify::CreateFlags;
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK);
        let watched = inotify.map_err(io::Error::from).and_then(sys::watch);
        if let Err(error) = &watched {
            warn!(%error, "changes of files are noticed late: the kernel does not tell of them");
        }
        Self(watched.ok())
    }

    fn add(&self, directories: &BTreeSet<PathBuf>) {
        use inotify::WatchFlags;
        let flags = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB;
        for directory in directories {
            // The poll finds a directory that is created later.
            let _ = self
                .0
                .as_ref()
                .map(|inotify| inotify::add_watch(inotify.as_fd(), directory, flags));
        }
    }

    /// Waits until something may have changed.
    async fn next(&mut self) {
        let Some(inotify) = &self.0 else {
            return sleep(POLL).await;
        };
        let event = async {
            while let Ok(mut ready) = inotify.readable().await {
                if drain(inotify) {
                    return;
                }
                ready.clear_ready();
            }
            std::future::pending().await
        };
        let _ = timeout(POLL, event).await;
    }

    /// Takes the events that have come. Returns whether something may have changed, which is always so
    /// without inotify.
    fn take(&mut self) -> bool {
        self.0.as_ref().is_none_or(drain)
    }
}

/// Reads all events, and returns whether there were any.
fn drain(inotify: &AsyncFd<OwnedFd>) -> bool {
    let mut buffer = [0; 4096];
    let mut has_events = false;
    while matches!(rustix::io::read(inotify.as_fd(), &mut buffer), Ok(len) if len > 0) {
        has_events = true;
    }
    has_events
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
