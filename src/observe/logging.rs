//! The process's own log: a `tracing` subscriber that renders events as single lines.

use std::fmt;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::escape;
use super::format::{Format, Line, timestamp};
use super::sink::{Output, Sink};

/// What the configuration says about the process's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least severe level that is written.
    pub level: LevelFilter,
    /// The format; absent = text at a terminal, else JSON.
    pub format: Option<Format>,
    /// Where it goes.
    pub output: Output,
}

/// The process's log, as far as it can be told what to do. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogHandle {
    sink: Sink,
    level: Arc<Level>,
}

impl LogHandle {
    /// Its sink, to be reopened and flushed.
    pub const fn sink(&self) -> &Sink {
        &self.sink
    }

    /// The least severe level that is written.
    pub fn level(&self) -> LevelFilter {
        self.level.get()
    }

    /// Changes that level, for all that is logged from now on.
    pub fn set_level(&self, level: LevelFilter) {
        self.level.set(level);
        tracing::callsite::rebuild_interest_cache();
    }
}

/// The levels, from the most severe on.
const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// A level that can be changed: its place in [`LEVELS`].
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

/// Opens the log and makes it the process's.
pub fn start(settings: &LogSettings) -> std::io::Result<LogHandle> {
    let sink = Sink::open(&settings.output)?;
    let terminal = match settings.output {
        Output::Stderr => std::io::stderr().is_terminal(),
        Output::Stdout => std::io::stdout().is_terminal(),
        Output::None | Output::File(_) => false,
    };
    let format = settings
        .format
        .unwrap_or(if terminal { Format::Text } else { Format::Json });
    let level = Arc::new(Level::new(settings.level));
    let log = Log {
        level: Arc::clone(&level),
        format,
        sink: sink.clone(),
    };
    // Only a second start in one process can fail here; the first log then stays.
    let _ = tracing::subscriber::set_global_default(log);
    Ok(LogHandle { sink, level })
}

struct Log {
    level: Arc<Level>,
    format: Format,
    sink: Sink,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level.get()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.get())
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        let time = timestamp(SystemTime::now());
        self.sink.line(match self.format {
            Format::Text => fields.text(&time, &level),
            format => fields.line(format, &time, &level),
        });
    }

    // Reseal uses no spans: a connection tells its story in one record.
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
    Number(u64),
}

impl Fact {
    fn put(&self, key: &str, line: &mut Line) {
        match self {
            Self::Text(text) => line.string(key, text),
            Self::Number(number) => line.number(key, number),
        }
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Fact)>,
}

impl Fields {
    fn text(&self, time: &str, level: &str) -> String {
        let mut line = Line::new(Format::Text);
        for (key, value) in &self.others {
            value.put(key, &mut line);
        }
        let fields = line.finish();
        let gap = if fields == "\n" { "" } else { "  " };
        format!("{time} {level:<5} {}{gap}{fields}", self.message)
    }

    fn line(&self, format: Format, time: &str, level: &str) -> String {
        let mut line = Line::new(format);
        line.string("time", time);
        line.string("level", level);
        line.string("message", &self.message);
        for (key, value) in &self.others {
            value.put(key, &mut line);
        }
        line.finish()
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        let value = escape::own(value);
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name, Fact::Text(value))),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), Fact::Number(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
