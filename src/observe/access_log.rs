//! The access log: the records of connections.

mod event;
mod record;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use self::event::Event;
pub use self::record::{AccessRecord, Client, CompactAddr, StageTimes, Traffic};
use super::export::{Exported, Exporter, Otlp, OtlpSettings, SyslogAddress, SyslogSettings};
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
    /// The syslog server that gets the records, too.
    pub syslog: Option<SyslogSettings>,
    /// The collector of OpenTelemetry that gets them, too.
    pub otlp: Option<OtlpSettings>,
}

impl AccessLogSettings {
    /// The TCP ports that records are sent to.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        let syslog = self.syslog.as_ref().and_then(|syslog| match &syslog.to {
            SyslogAddress::Tcp(place) => Some(place.port),
            SyslogAddress::Udp(_) | SyslogAddress::Unix(_) => None,
        });
        let otlp = self.otlp.as_ref().map(|otlp| otlp.endpoint.place.port);
        syslog.into_iter().chain(otlp)
    }
}

/// How long the process waits for records to be sent before it ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

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
    syslog: Option<Exporter>,
    otlp: Option<Otlp>,
}

/// A record as text.
#[derive(Debug)]
pub struct Rendered {
    /// In the configured form.
    line: String,
    /// In JSON, if that is another form and somebody wants it.
    json: Option<String>,
    event: &'static str,
    at: SystemTime,
    is_fault: bool,
}

impl AccessLog {
    /// Opens the access log. Its threads start later: until then, records go to the output alone.
    pub fn open(settings: &AccessLogSettings) -> std::io::Result<Self> {
        Ok(Self {
            format: settings.format,
            opens: settings.open,
            closes: settings.close,
            every: settings.every,
            probes: Sampler::new(settings.probes),
            refused: Sampler::new(settings.refused),
            sink: Sink::open(&settings.output, PAUSE)?,
            syslog: settings.syslog.as_ref().map(Exporter::syslog),
            otlp: settings.otlp.as_ref().map(Otlp::new),
        })
    }

    /// Starts the threads that write and send records.
    pub fn start(&self) -> std::io::Result<()> {
        self.sink.start()?;
        self.exporters().try_for_each(Exporter::start)
    }

    /// Waits, within bounds, until the queued records are written and sent.
    pub fn flush(&self) {
        let end = Instant::now() + FLUSH_TIMEOUT;
        let sending: Vec<_> = self.exporters().map(Exporter::flush).collect();
        self.sink.flush();
        for sent in sending {
            let _ = sent.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }

    /// Sends records with what the files of the collector hold now. Another collector needs a restart.
    pub fn renew(&self, present: &AccessLogSettings) {
        if let (Some(otlp), Some(present)) = (&self.otlp, &present.otlp) {
            otlp.renew(present);
        }
    }

    /// What sends records elsewhere.
    pub fn exporters(&self) -> impl Iterator<Item = &Exporter> {
        let otlp = self.otlp.as_ref().map(Otlp::exporter);
        self.syslog.iter().chain(otlp)
    }

    /// Whether records are written at all, so that their facts are worth collecting.
    pub const fn is_open(&self) -> bool {
        self.sink.is_open() || self.syslog.is_some() || self.otlp.is_some()
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
    pub fn progress(&self, record: &AccessRecord, traffic: Traffic, total: Duration) -> Rendered {
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
    pub fn write_rendered(&self, rendered: Rendered) {
        let Rendered {
            line,
            json,
            event,
            at,
            is_fault,
        } = rendered;
        let exported = |text: &str| Exported {
            at,
            event,
            is_fault,
            text: text.trim_end_matches('\n').to_owned(),
        };
        if let Some(syslog) = &self.syslog {
            syslog.send(exported(&line));
        }
        if let Some(otlp) = &self.otlp {
            otlp.exporter()
                .send(exported(json.as_ref().unwrap_or(&line)));
        }
        self.sink.line(line);
    }

    fn render(&self, event: &Event<'_>) -> Rendered {
        Rendered {
            line: self.line(event, self.format),
            json: (self.otlp.is_some() && self.format != Format::Json)
                .then(|| self.line(event, Format::Json)),
            event: event.word,
            at: event.at(),
            is_fault: event.outcome.is_some_and(|outcome| outcome.fault.is_some()),
        }
    }

    fn line(&self, event: &Event<'_>, format: Format) -> String {
        let mut line = LogLine::new(format);
        line.time("time", event.record.time);
        if self.opens || self.every.is_some() {
            line.string("event", event.word);
            line.time("at", event.at());
        }
        match format {
            Format::Text => event.summary(&mut line),
            Format::Json | Format::Logfmt => event.fields(&mut line),
        }
        line.finish()
    }
}
