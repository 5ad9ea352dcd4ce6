//! The threads of the workers.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime::Builder;

use crate::admission::{Admission, PendingConnections};
use crate::connection::WorkerContext;
use crate::observe::failures::Failures;
use crate::observe::metrics::Metrics;
use crate::worker::active::ActiveCount;
use crate::worker::{Worker, Workers};

/// A worker polls its sockets after this many task polls at the latest. Busy relays do not count on it: they
/// let the worker look for events before each of their turns. With tokio's default of 61 the longest waits
/// beside four busy relays are 30 ms, with 16 they are 18; with 2, each handshake costs four calls of
/// epoll_wait more.
const EVENT_INTERVAL: u32 = 16;

/// What the workers share, beside their context.
pub(super) struct Shared {
    pub(super) admission: Admission,
    pub(super) pending: PendingConnections,
    pub(super) failures: Failures,
    pub(super) metrics: Arc<Metrics>,
    pub(super) active: Arc<ActiveCount>,
}

/// Starts `count` workers. Everything that can fail is done before the first thread starts.
pub(super) fn spawn(
    count: usize,
    context: &Arc<WorkerContext>,
    shared: &Shared,
) -> io::Result<(Arc<Workers>, Vec<JoinHandle<()>>)> {
    let runtimes: Vec<_> = (0..count)
        .map(|_| {
            let mut builder = Builder::new_current_thread();
            builder.enable_all().event_interval(EVENT_INTERVAL).build()
        })
        .collect::<io::Result<_>>()?;
    let (handles, inboxes) = Workers::new(&runtimes);
    let mut workers = Vec::new();
    for (index, (runtime, inbox)) in runtimes.into_iter().zip(inboxes).enumerate() {
        let worker = Worker {
            index,
            workers: Arc::clone(&handles),
            inbox,
            live: Arc::clone(&context.live),
            admission: shared.admission.clone(),
            context: Arc::new(WorkerContext {
                counters: shared.metrics.shard(index),
                failures: shared.failures.shard(index),
                pending: shared.pending.shard(index),
                ..WorkerContext::clone(context)
            }),
            active: Arc::clone(&shared.active),
        };
        workers.push((index, runtime, worker));
    }
    let threads = workers
        .into_iter()
        .map(|(index, runtime, worker)| {
            thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || runtime.block_on(worker.work()))
        })
        .collect::<io::Result<_>>()?;
    Ok((handles, threads))
}
