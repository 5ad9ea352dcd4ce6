//! One task for each file that the process keeps.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// What is kept in a file.
pub trait Kept {
    /// The file, by which it is known.
    fn file(&self) -> &Path;
}

/// What is kept, each with its task.
#[derive(Debug)]
pub struct Tasks<T> {
    control: Handle,
    kept: HashMap<PathBuf, (Arc<T>, AbortHandle)>,
}

impl<T> Tasks<T> {
    /// None yet. Tasks will run on `control`.
    pub fn new(control: Handle) -> Self {
        Self {
            control,
            kept: HashMap::new(),
        }
    }

    /// Ends all tasks.
    pub fn stop(&mut self) {
        for (_, (_, task)) in self.kept.drain() {
            task.abort();
        }
    }
}

impl<T: Kept + PartialEq> Tasks<T> {
    /// Keeps all of these from now on, each by the task of `start`, and nothing else. A task of something
    /// that has not changed goes on. Returns the files that are not kept any more.
    pub fn apply<F>(&mut self, all: &[Arc<T>], start: impl Fn(&Arc<T>) -> F) -> Vec<PathBuf>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stay: HashSet<_> = all.iter().map(|item| item.file()).collect();
        let gone = self
            .kept
            .extract_if(|file, _| !stay.contains(file.as_path()));
        let gone = gone.map(|(file, (_, task))| {
            task.abort();
            file
        });
        let gone = gone.collect();
        for item in all {
            let known = self.kept.get(item.file());
            if known.is_some_and(|(known, _)| known == item) {
                continue;
            }
            let task = self.control.spawn(start(item)).abort_handle();
            let kept = (Arc::clone(item), task);
            if let Some((_, before)) = self.kept.insert(item.file().to_owned(), kept) {
                before.abort();
            }
        }
        gone
    }
}

impl<T> Drop for Tasks<T> {
    fn drop(&mut self) {
        self.stop();
    }
}
