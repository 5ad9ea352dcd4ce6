//! The queue of reloads: one in progress, at most one pending. All requests that arrive while a reload is in
//! progress share the next one.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::admin::RequestResult;
use crate::config::file_stamps::FileStamps;
use crate::control::reload::prepare::{Prepared, Refused, Scope};
use crate::control::reload::report;
use crate::fleet::Document;

/// Receives the result of a request.
pub(crate) type ReplySender = oneshot::Sender<RequestResult>;

/// A task that reads and compiles the files of a reload.
pub(crate) type Reading = JoinHandle<Result<Prepared, Refused>>;

/// The requested reloads.
#[derive(Debug, Default)]
pub(crate) struct ReloadQueue {
    in_progress: Option<InProgress>,
    pending: Pending,
}

/// A reload whose files are being read.
#[derive(Debug)]
struct InProgress {
    scope: Scope,
    materials: bool,
    reading: Reading,
    waiting: Vec<ReplySender>,
}

/// A reload that waits for the one in progress.
#[derive(Debug, Default)]
struct Pending {
    scope: Option<Scope>,
    /// Changed files are read again even if the configuration file is refused.
    materials: bool,
    /// The latest stamps that the watch has sent. They are older than the read that is to come.
    stamps: Option<Arc<FileStamps>>,
    /// The latest document of the fleet.
    document: Option<Arc<Document>>,
    waiting: Vec<ReplySender>,
}

/// What a reload reads beside its scope.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// Stamps of the materials that were taken for it.
    pub(crate) stamps: Option<Arc<FileStamps>>,
    /// A document of the fleet, in place of the one that is in force.
    pub(crate) document: Option<Arc<Document>>,
}

/// A reload whose files were read.
pub(crate) struct FilesRead {
    pub(crate) scope: Scope,
    /// Whether changed files were to be read again in any case.
    pub(crate) materials: bool,
    pub(crate) prepared: Result<Prepared, Refused>,
    pub(crate) waiting: Vec<ReplySender>,
}

impl ReloadQueue {
    /// Adds a request to the pending reload. `waiting` gets the result.
    pub(crate) fn push(&mut self, scope: Scope, waiting: Option<ReplySender>) {
        let pending = &mut self.pending;
        pending.scope = pending.scope.max(Some(scope));
        pending.materials |= scope == Scope::Materials;
        pending.waiting.extend(waiting);
    }

    /// Adds a request because files have changed; `stamps` are those of the materials.
    pub(crate) fn push_change(&mut self, scope: Scope, stamps: Arc<FileStamps>) {
        self.push(scope, None);
        self.pending.stamps = Some(stamps);
    }

    /// Adds a request to serve a document of the fleet. Of several that wait, the last one is served.
    pub(crate) fn push_document(&mut self, document: Arc<Document>, waiting: ReplySender) {
        self.push(Scope::All, Some(waiting));
        self.pending.document = Some(document);
    }

    /// Starts the pending reload, if there is one and none is in progress. `read` starts to read its files.
    pub(crate) fn start(&mut self, read: impl FnOnce(Scope, Inputs) -> Reading) {
        if self.in_progress.is_some() {
            return;
        }
        if let Some(scope) = self.pending.scope.take() {
            self.in_progress = Some(InProgress {
                scope,
                materials: std::mem::take(&mut self.pending.materials),
                reading: read(
                    scope,
                    Inputs {
                        stamps: self.pending.stamps.take(),
                        document: self.pending.document.take(),
                    },
                ),
                waiting: std::mem::take(&mut self.pending.waiting),
            });
        }
    }

    /// Whether a reload is in progress.
    pub(crate) const fn is_reading(&self) -> bool {
        self.in_progress.is_some()
    }

    /// Waits until the files of the reload in progress were read; forever, if there is none. May be dropped
    /// at any await.
    pub(crate) async fn files_read(&mut self) -> FilesRead {
        let Some(reload) = &mut self.in_progress else {
            return std::future::pending().await;
        };
        let prepared = (&mut reload.reading).await.unwrap_or_else(|_| {
            Err(Refused {
                reasons: vec!["a defect of Reseal ended the reload; please report it".to_owned()],
            })
        });
        let read = FilesRead {
            scope: reload.scope,
            materials: reload.materials,
            prepared,
            waiting: std::mem::take(&mut reload.waiting),
        };
        self.in_progress = None;
        read
    }

    /// Has changed files read again after a reload was refused: they do not depend on the refused text.
    pub(crate) fn after_refusal(&mut self, scope: Scope, materials: bool) {
        if scope == Scope::All && materials {
            self.push(Scope::Materials, None);
        }
    }

    /// Refuses all reloads: the process stops.
    pub(crate) fn refuse_all(&mut self) {
        let in_progress = self.in_progress.take();
        let waiting = in_progress
            .into_iter()
            .flat_map(|in_progress| in_progress.waiting);
        for waiting in waiting.chain(self.pending.waiting.drain(..)) {
            let _ = waiting.send(Err(report::not_while_stopping()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::sync::oneshot::Receiver;

    use super::*;

    fn refused(scope: Scope, _: Inputs) -> Reading {
        tokio::spawn(async move {
            Err(Refused {
                reasons: vec![format!("{scope:?}")],
            })
        })
    }

    fn request(queue: &mut ReloadQueue, scope: Scope) -> Receiver<RequestResult> {
        let (reply, result) = oneshot::channel();
        queue.push(scope, Some(reply));
        queue.start(refused);
        result
    }

    #[tokio::test]
    async fn requests_during_a_reload_share_the_next_one_and_all_are_answered() {
        let mut queue = ReloadQueue::default();
        let first = request(&mut queue, Scope::Materials);
        let second = request(&mut queue, Scope::All);
        let third = request(&mut queue, Scope::Materials);
        let read = queue.files_read().await;
        assert_eq!((read.scope, read.waiting.len()), (Scope::Materials, 1));
        queue.start(refused);
        let next = queue.files_read().await;
        assert_eq!((next.scope, next.waiting.len()), (Scope::All, 2));
        for waiting in read.waiting.into_iter().chain(next.waiting) {
            waiting.send(Ok(json!({}))).unwrap();
        }
        for result in [first, second, third] {
            assert!(result.await.unwrap().is_ok());
        }
        queue.start(|_, _| panic!("no further reload is pending"));
    }

    #[tokio::test]
    async fn a_wait_that_is_given_up_loses_no_reload() {
        let mut queue = ReloadQueue::default();
        let _result = request(&mut queue, Scope::All);
        drop(queue.files_read());
        assert_eq!(queue.files_read().await.waiting.len(), 1);
    }

    #[tokio::test]
    async fn changed_files_are_read_again_after_the_configuration_file_was_refused() {
        let mut queue = ReloadQueue::default();
        queue.push(Scope::Materials, None);
        let _result = request(&mut queue, Scope::All);
        let read = queue.files_read().await;
        queue.after_refusal(read.scope, read.materials);
        queue.start(refused);
        let again = queue.files_read().await;
        assert_eq!(again.scope, Scope::Materials);
        queue.after_refusal(again.scope, again.materials);
        queue.start(|_, _| panic!("a refused renewal is not repeated"));
    }

    #[tokio::test]
    async fn a_stop_answers_every_request_for_a_reload() {
        let mut queue = ReloadQueue::default();
        let in_progress = request(&mut queue, Scope::All);
        let pending = request(&mut queue, Scope::All);
        queue.refuse_all();
        for result in [in_progress, pending] {
            assert_eq!(result.await.unwrap(), Err(report::not_while_stopping()));
        }
    }
}
