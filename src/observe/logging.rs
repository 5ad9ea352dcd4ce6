//! The process's own log: a `tracing` subscriber that renders events as single lines.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::escape;
use super::format::{Format, LogLine, timestamp};
use super::sink::{Output, Sink};
use super::trace::{Step, Traces};

/// The configuration of the process's own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level that is written.
    pub level: LevelFilter,
    /// The format; absent means text on a terminal, else JSON.
    pub format: Option<Format>,
    /// The destination.
    pub output: Output,
}

/// A handle to change, reopen and flush the process's own log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogHandle {
    sink: Sink,
    level: Arc<Level>,
    traces: Arc<Traces>,
}

impl LogHandle {
    /// The traces of connections.
    pub const fn traces(&self) -> &Arc<Traces> {
        &self.traces
    }

    /// Its sink, for reopening and flushing.
    pub const fn sink(&self) -> &Sink {
        &self.sink
    }

    /// The least severe level that is written.
    pub fn level(&self) -> LevelFilter {
        self.level.get()
    }

    /// Sets the least severe level that is written from now on.
    pub fn set_level(&self, level: LevelFilter) {
        self.level.set(level);
        tracing::callsite::rebuild_interest_cache();
    }
}

/// The field that holds the identifier of a connection, in events that are about one.
const ID: &str = "id";

/// The message of the last step of a connection.
pub const ENDED: &str = "ended";

/// The levels, the most severe first.
const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// A level that can be changed, as its index in [`LEVELS`].
#[derive(Debug)]
struct Level(AtomicUsize);

impl Level {
    fn new(level: LevelFilter) -> Self {
        let new = Self(AtomicUsize::new(0));
        new.set(level);
        new
    }

    fn get(&self) -> LevelFilter {
        let place = self.0.load(Ordering::Relaxed);
        LEVELS.get(place).copied().unwrap_or(LevelFilter::TRACE)
    }

    fn set(&self, level: LevelFilter) {
        let place = LEVELS.iter().position(|known| *known == level);
        self.0.store(place.unwrap_or(0), Ordering::Relaxed);
    }
}

/// Opens the log and installs it as the process's subscriber.
pub fn start(settings: &LogSettings) -> std::io::Result<LogHandle> {
    // Its lines may be the last ones of a process that crashes.
    let sink = Sink::open(&settings.output, Duration::ZERO)?;
    let terminal = match settings.output {
        Output::Stderr => std::io::stderr().is_terminal(),
        Output::Stdout => std::io::stdout().is_terminal(),
        Output::None | Output::File(_) => false,
    };
    let format = settings
        .format
        .unwrap_or(if terminal { Format::Text } else { Format::Json });
    let level = Arc::new(Level::new(settings.level));
    let traces = Arc::<Traces>::default();
    let log = LogSubscriber {
        level: Arc::clone(&level),
        format,
        sink: sink.clone(),
        traces: Arc::clone(&traces),
    };
    // This fails only for a second start in one process; the first log stays installed then.
    let _ = tracing::subscriber::set_global_default(log);
    Ok(LogHandle {
        sink,
        level,
        traces,
    })
}

struct LogSubscriber {
    level: Arc<Level>,
    format: Format,
    sink: Sink,
    traces: Arc<Traces>,
}

impl LogSubscriber {
    fn is_logged(&self, metadata: &Metadata<'_>) -> bool {
        let level = self.level.get();
        // What libraries say below `info` is about themselves, and much.
        let is_shown = is_own(metadata)
            || level == LevelFilter::TRACE
            || *metadata.level() <= tracing::Level::INFO;
        is_shown && *metadata.level() <= level
    }
}

/// Whether an event is Reseal's, and not of a library.
fn is_own(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with(env!("CARGO_CRATE_NAME"))
}

/// Whether an event is a step of one connection.
fn is_step(metadata: &Metadata<'_>) -> bool {
    is_own(metadata) && metadata.fields().field(ID).is_some()
}

impl Subscriber for LogSubscriber {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.is_logged(metadata) || (self.traces.is_active() && is_step(metadata))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.traces.is_active() {
            true => LevelFilter::TRACE,
            false => self.level.get(),
        })
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let mut fields = EventFields::default();
        event.record(&mut fields);
        let level = metadata.level().as_str().to_ascii_lowercase();
        let time = timestamp(SystemTime::now());
        if self.traces.is_active()
            && is_step(metadata)
            && let Some(step) = fields.step()
        {
            self.traces
                .step(&step, |format| fields.rendered(format, &time, &level));
        }
        if self.is_logged(metadata) {
            self.sink.line(fields.rendered(self.format, &time, &level));
        }
    }

    // Reseal uses no spans: the facts of a connection are in one record.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

enum Fact {
    Text(String),
    /// A number or boolean, which needs no quotes.
    Bare(String),
}

impl Fact {
    fn put(&self, key: &str, line: &mut LogLine) {
        match self {
            Self::Text(text) => line.string(key, text),
            Self::Bare(value) => line.number(key, value),
        }
    }
}

#[derive(Default)]
struct EventFields {
    message: String,
    others: Vec<(&'static str, Fact)>,
}

impl EventFields {
    /// What an event says of its connection, if it has one.
    fn step(&self) -> Option<Step<'_>> {
        let text = |key: &str| {
            let (_, fact) = self.others.iter().find(|(name, _)| *name == key)?;
            match fact {
                Fact::Text(text) => Some(text.as_str()),
                Fact::Bare(_) => None,
            }
        };
        Some(Step {
            id: u64::from_str_radix(text(ID)?, 16).ok()?,
            client: text("client"),
            sni: text("sni"),
            is_end: self.message == ENDED,
        })
    }

    fn bare(&mut self, field: &Field, value: impl fmt::Display) {
        self.others
            .push((field.name(), Fact::Bare(value.to_string())));
    }

    fn rendered(&self, format: Format, time: &str, level: &str) -> String {
        match format {
            Format::Text => self.text(time, level),
            format => self.line(format, time, level),
        }
    }

    fn text(&self, time: &str, level: &str) -> String {
        let mut line = LogLine::new(Format::Text);
        for (key, value) in &self.others {
            value.put(key, &mut line);
        }
        let fields = line.finish();
        let gap = if fields == "\n" { "" } else { "  " };
        format!("{time} {level:<5} {}{gap}{fields}", self.message)
    }

    fn line(&self, format: Format, time: &str, level: &str) -> String {
        let mut line = LogLine::new(format);
        line.string("time", time);
        line.string("level", level);
        line.string("message", &self.message);
        for (key, value) in &self.others {
            value.put(key, &mut line);
        }
        line.finish()
    }
}

impl Visit for EventFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let value = escape::own(value);
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name, Fact::Text(value))),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.bare(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.bare(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinity. Times have three decimals, as in the access log.
        if value.is_finite() {
            self.bare(field, (value * 1000.0).round() / 1000.0);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.bare(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
