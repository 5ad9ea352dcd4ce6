//! The process's own log: a `tracing` subscriber that renders events as single lines.

use std::fmt;
use std::io::IsTerminal;
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

/// Opens the log and makes it the process's. Returns its sink, to be reopened and flushed.
pub fn start(settings: &LogSettings) -> std::io::Result<Sink> {
    let sink = Sink::open(&settings.output)?;
    let terminal = match settings.output {
        Output::Stderr => std::io::stderr().is_terminal(),
        Output::Stdout => std::io::stdout().is_terminal(),
        Output::None | Output::File(_) => false,
    };
    let format = settings
        .format
        .unwrap_or(if terminal { Format::Text } else { Format::Json });
    let log = Log {
        level: settings.level,
        format,
        sink: sink.clone(),
    };
    // Only a second start in one process can fail here; the first log then stays.
    let _ = tracing::subscriber::set_global_default(log);
    Ok(sink)
}

struct Log {
    level: LevelFilter,
    format: Format,
    sink: Sink,
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
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
        let value = escape::text(value);
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
