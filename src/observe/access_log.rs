//! The access log: the records of connections.

mod event;
mod record;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use self::event::Event;
pub use self::record::{AccessRecord, Client, CompactAddr, StageTimes, Traffic};
use super::format::{Format, LogLine};
use super::sink::{Output, Sink};
use crate::outcome::{After, Outcome};

/// How long records gather for one write. To wake the thread of the log for each record costs a connection
/// more than the record.
const PAUSE: Duration = Duration::from_millis(10);

/// The configuration of the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSettings {
    pub format: Format,
    /// The destination of the records.
    pub output: Output,
    /// Whether to write a record when a connection is established.
    pub open: bool,
    /// Whether to write a record when a connection ends.
    pub close: bool,
    /// How often a connection that goes on has a record of its progress; `None`: never.
    pub every: Option<Duration>,
    /// Of the connections that ended before a byte, one in so many has a record of its end; `None`: none has.
    pub probes: Option<NonZeroU32>,
    /// The same for connections that a rule on addresses or a limit refused.
    pub refused: Option<NonZeroU32>,
}

/// Takes one in so many, the first one included. Clones count together.
#[derive(Clone, Debug)]
struct Sampler {
    one_in: Option<NonZeroU32>,
    seen: Arc<AtomicU32>,
}

impl Sampler {
    fn new(one_in: Option<NonZeroU32>) -> Self {
        Self {
            one_in,
            seen: Arc::default(),
        }
    }

    /// Whether the present one is taken.
    fn takes(&self) -> bool {
        let seen = || self.seen.fetch_add(1, Ordering::Relaxed);
        self.one_in.is_some_and(|one_in| seen() % one_in == 0)
    }
}

/// The access log of the process. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccessLog {
    format: Format,
    opens: bool,
    closes: bool,
    every: Option<Duration>,
    probes: Sampler,
    refused: Sampler,
    sink: Sink,
}

impl AccessLog {
    /// Opens the access log.
    pub fn start(settings: &AccessLogSettings) -> std::io::Result<Self> {
        Ok(Self {
            format: settings.format,
            opens: settings.open,
            closes: settings.close,
            every: settings.every,
            probes: Sampler::new(settings.probes),
            refused: Sampler::new(settings.refused),
            sink: Sink::open(&settings.output, PAUSE)?,
        })
    }

    /// Whether records are written at all, so that their facts are worth collecting.
    pub const fn is_open(&self) -> bool {
        self.sink.is_open()
    }

    /// Its sink, for reopening and flushing.
    pub const fn sink(&self) -> &Sink {
        &self.sink
    }

    /// How often a connection that goes on has a record of its progress.
    pub fn every(&self) -> Option<Duration> {
        self.every.filter(|_| self.is_open())
    }

    /// Writes that a connection is established, if configured.
    pub fn opened(&self, record: &AccessRecord) {
        if self.opens {
            self.write(&Event::open(record));
        }
    }

    /// What [`AccessLog::write_rendered`] writes of a connection that has gone on for `total`.
    pub fn progress(&self, record: &AccessRecord, traffic: Traffic, total: Duration) -> String {
        self.render(&Event {
            word: "progress",
            record,
            traffic,
            total,
            outcome: None,
        })
    }

    /// Writes that a connection has ended, if configured.
    pub fn closed(&self, record: &AccessRecord, traffic: Traffic, outcome: &Outcome) {
        let is_refusal = outcome.reason.is_refusal() && outcome.after() == After::Setup;
        if !is_refusal || self.refused.takes() {
            self.end(record, traffic, outcome);
        }
    }

    /// Writes that a connection has ended whose client sent nothing, if it is in the sample.
    pub fn probe_closed(&self, record: &AccessRecord, outcome: &Outcome) {
        if self.probes.takes() {
            self.end(record, Traffic::default(), outcome);
        }
    }

    fn end(&self, record: &AccessRecord, traffic: Traffic, outcome: &Outcome) {
        if self.closes {
            self.write(&Event {
                word: "close",
                record,
                traffic,
                total: record.total,
                outcome: Some(outcome),
            });
        }
    }

    fn write(&self, event: &Event<'_>) {
        if self.is_open() {
            self.write_rendered(self.render(event));
        }
    }

    /// Queues a record that was rendered before.
    pub fn write_rendered(&self, line: String) {
        self.sink.line(line);
    }

    fn render(&self, event: &Event<'_>) -> String {
        let mut line = LogLine::new(self.format);
        line.time("time", event.record.time);
        if self.opens || self.every.is_some() {
            line.string("event", event.word);
            line.time("at", event.record.time + event.total);
        }
        match self.format {
            Format::Text => event.summary(&mut line),
            Format::Json | Format::Logfmt => event.fields(&mut line),
        }
        line.finish()
    }
}
