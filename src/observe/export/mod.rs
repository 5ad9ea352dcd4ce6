//! Records of the access log on their way to a collector, beside the log's own output.
//!
//! Each collector has a bounded queue and a thread, so that no connection waits for it. A collector that
//! cannot be reached is tried again, at growing intervals; what does not fit the queue meanwhile, and what a
//! collector refuses for good, is counted.

mod address;
mod deliver;
mod host;
mod otlp;
mod record;
mod syslog;
mod syslog_socket;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;

pub use self::address::{HostPort, SyslogAddress};
use self::deliver::{Collector, deliver};
pub use self::otlp::{Headers, OtlpEndpoint, OtlpSettings, OtlpTerms};
pub(super) use self::record::Exported;
pub use self::syslog::{Facility, SyslogSettings};
use super::queue::LogQueue;
use crate::sync::Mutex;

/// A handle to the thread that sends records to one collector. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Exporter(Arc<Handles>);

/// What all handles of a thread share: it ends with the last of them.
#[derive(Debug)]
struct Handles {
    /// The name of the collector in metrics and messages.
    name: &'static str,
    queue: Arc<LogQueue<Exported>>,
    /// What the thread is made of, until it runs.
    unstarted: Mutex<Option<Box<dyn Collector + Send>>>,
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.queue.order(|pending| pending.is_closed = true);
    }
}

impl Exporter {
    /// The exporter to a collector, to be started once the process has given up its rights.
    fn to(name: &'static str, pause: Duration, collector: Box<dyn Collector + Send>) -> Self {
        Self(Arc::new(Handles {
            name,
            queue: Arc::new(LogQueue::new(pause)),
            unstarted: Mutex::new(Some(collector)),
        }))
    }

    /// The exporter to a syslog server.
    pub(super) fn syslog(settings: &SyslogSettings) -> Self {
        // As for a file: to wake the thread for each record costs a connection more than the record.
        const PAUSE: Duration = Duration::from_millis(10);
        Self::to("syslog", PAUSE, Box::new(syslog::Server::new(settings)))
    }

    /// Starts the thread, unless it runs. It needs no right that the process gives up.
    pub(super) fn start(&self) -> io::Result<()> {
        let Some(mut collector) = self.0.unstarted.lock().take() else {
            return Ok(());
        };
        let (name, queue) = (self.0.name, Arc::clone(&self.0.queue));
        let thread = thread::Builder::new().name(format!("log-{name}"));
        thread.spawn(move || deliver(name, &queue, &mut *collector))?;
        Ok(())
    }

    /// The name of the collector.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Queues a record. Never waits for the collector.
    pub(super) fn send(&self, record: Exported) {
        self.0.queue.push(record);
    }

    /// The number of records that never reached the collector, as far as that is known.
    pub fn dropped(&self) -> u64 {
        self.0.queue.dropped.load(Ordering::Relaxed)
    }

    /// Has the queue sent now, each record once; the receiver hears when that is done.
    pub(super) fn flush(&self) -> Receiver<()> {
        let (flushed, done) = sync_channel(1);
        match *self.0.unstarted.lock() {
            // There is no thread that would.
            Some(_) => drop(flushed),
            None => self.0.queue.order(|pending| pending.flushes.push(flushed)),
        }
        done
    }
}

/// The exporter to a collector of OpenTelemetry, and what its requests are made with. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Otlp {
    exporter: Exporter,
    settings: Arc<OtlpSettings>,
    terms: Arc<ArcSwap<OtlpTerms>>,
}

impl Otlp {
    pub(super) fn new(settings: &OtlpSettings) -> Self {
        // A request has what has gathered for so long.
        const PAUSE: Duration = Duration::from_secs(1);
        let terms = Arc::new(ArcSwap::new(Arc::clone(&settings.terms)));
        let collector = otlp::OtlpCollector::new(&settings.endpoint, &terms);
        Self {
            exporter: Exporter::to("otlp", PAUSE, Box::new(collector)),
            settings: Arc::new(settings.clone()),
            terms,
        }
    }

    pub(super) const fn exporter(&self) -> &Exporter {
        &self.exporter
    }

    /// Uses the terms of these settings, if they are about the same collector.
    pub(super) fn renew(&self, present: &OtlpSettings) {
        if *self.settings == *present {
            self.terms.store(Arc::clone(&present.terms));
        }
    }
}
