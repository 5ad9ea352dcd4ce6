//! The keys of `log` and `access_log`.

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::time::Duration as StdDuration;

use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;

use super::collectors::{Otlp, Syslog};
use crate::config::reader::fields::spec;
use crate::config::reader::generic::{AutoOr, NoneOr, OneOrMany};
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::config::reader::reference::Form;
use crate::config::reader::values::{Duration, Output};
use crate::config::reader::words::{self, keyword};
use crate::observe::format::Format;

spec! {
    /// The process log.
    pub struct Log {
        /// The least severe level that is written. `debug` shows the steps of each connection, with the `id`
        /// that the access log has, failed attempts, health checks, resolved names and changed files; `trace`
        /// also each stage with its time, and the messages of the libraries.
        default level: LevelFilter = "info"
            because "starts, reloads and origins that go up and down are there; single connections are not",
        /// The format of a line. `auto` is `text` at a terminal, else `json`.
        default format: AutoOr<Format> = "auto"
            because "people read terminals, programs read files",
        /// `stderr`, `stdout`, `none` or a file, which is appended to and reopened on USR1.
        default output: Output = "stderr"
            because "the access log is on standard output",
        example "{ level: info }";
        instead
            "=debug" => "{ level: debug }",
            "=trace" => "{ level: trace }",
            "=warn" => "{ level: warn }",
            "=error" => "{ level: error }",
            "=off" | "=none" => "{ output: none }",
            "file" | "path" | "target" | "destination" => "output",
            "severity" | "loglevel" | "verbosity" => "level",
            "debug" => "`level: debug` shows details",
            "syslog" => "`output` is a stream or a file; `access_log: { syslog: .. }` sends the records of connections";
    }
}

/// The levels, the least severe last.
const LEVELS: [(&str, &str); 5] = [
    ("error", "Something does not work."),
    ("warn", "Something may soon not work."),
    ("info", "Normal operation."),
    ("debug", "Details for troubleshooting."),
    ("trace", "Everything."),
];

/// Levels of syslog and of other programs.
const INSTEAD_OF_LEVELS: words::Instead = &[
    ("warning", "warn"),
    ("notice", "info"),
    ("information", "info"),
    ("err", "error"),
    ("crit", "error"),
    ("critical", "error"),
    ("fatal", "error"),
    ("alert", "error"),
    ("emerg", "error"),
    ("verbose", "debug"),
    ("all", "trace"),
    ("off", "`output: none` turns the log off"),
    ("none", "`output: none` turns the log off"),
];

impl Leaf for LevelFilter {
    fn what() -> Cow<'static, str> {
        words::one_of(&LEVELS.map(|(word, _)| word)).into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let words = LEVELS.map(|(word, _)| word);
        let level = words.contains(&text).then(|| text.parse().ok()).flatten();
        level.ok_or_else(|| words::unknown_word("level", text, &words, INSTEAD_OF_LEVELS))
    }

    fn schema() -> Value {
        words::schema(&LEVELS.map(|(word, _)| word))
    }

    fn form() -> Form {
        Form::one_of(&LEVELS)
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

spec! {
    /// The access log: one record for each connection.
    pub struct AccessLog {
        /// The format of a record.
        default format: Format = "json"
            because "log collectors read it without a pattern",
        /// `stdout`, `stderr`, `none` or a file, which is appended to and reopened on USR1.
        default output: Output = "stdout"
            because "containers collect it there",
        /// When a record is written. With `open`, or with `every`, the field `event` tells them apart.
        default events: OneOrMany<AccessEvent> = "[close]"
            because "the record at the end says everything",
        /// How often a connection that goes on has another record, with `event: progress` and what it has
        /// moved so far, counted from its accept; at least `1s`. It comes up to a sixtieth of that later, at
        /// most 10 s.
        default every: Every = "none"
            because "the end says it all, except for connections that last for days",
        /// Of the connections whose client sends no byte (`probe_eof`, or without a byte `client_reset`,
        /// `hello_timeout` and `proxy_header_timeout`): all, one in so many, or none has a record. The
        /// metrics count all of them.
        default sample_probes: Sample = "1/1"
            because "a client that connects and says nothing may be somebody's fault",
        /// The same for connections that rules on addresses and limits have refused (`denied_source`,
        /// `limit_*`).
        default sample_refused: Sample = "1/1"
            because "who is refused asks why; under attack, `1/1000` shows who attacks",
        /// A syslog server that gets each record, too. What it does not take in time is lost, and counted.
        default syslog: NoneOr<Syslog> = "none"
            because "most collectors read files or streams",
        /// A collector of OpenTelemetry that gets each record, too, by OTLP over HTTP. What it does not take
        /// in time is lost, and counted.
        default otlp: NoneOr<Otlp> = "none"
            because "few machines have one",
        example "{ output: /var/log/reseal/access.log }";
        instead
            "=off" | "=none" | "=false" => "{ output: none }",
            "=stdout" => "{ output: stdout }",
            "=stderr" => "{ output: stderr }",
            "file" | "path" | "target" => "output",
            "log_format" => "format",
            "fields" => "every record has all fields; `format` is that of the line";
    }
}

/// The share that a text in another notation means: `100`, `1:100`, `10%`, `0.1`.
fn one_in_meant(text: &str) -> Option<u64> {
    let number = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|number| *number > 0.0)
    };
    let one_in = if let Some(percent) = text.strip_suffix('%') {
        100.0 / number(percent)?
    } else if let Some(one_in) = text.strip_prefix("1:") {
        number(one_in)?
    } else {
        match number(text)? {
            share if share < 1.0 => 1.0 / share,
            one_in => one_in,
        }
    };
    let whole = one_in.round();
    let is_close = (one_in - whole).abs() < 1e-6 && (1.0..=f64::from(Sample::MAX)).contains(&whole);
    is_close
        .then(|| format!("{whole:.0}").parse().ok())
        .flatten()
}

/// How many connections of a kind have a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample(pub Option<NonZeroU32>);

impl Sample {
    const WHAT: &str = "`1/1`, `1/100` or `off`";
    const MAX: u32 = 1_000_000;
}

impl Leaf for Sample {
    fn what() -> Cow<'static, str> {
        Self::WHAT.into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if words::is_off(text) {
            return Ok(Self(None));
        }
        let one_in = text
            .strip_prefix("1/")
            .and_then(|number| number.parse().ok());
        match one_in.filter(|one_in: &NonZeroU32| one_in.get() <= Self::MAX) {
            Some(one_in) => Ok(Self(Some(one_in))),
            None => Err(Invalid::new("{} is no share")
                .help("write `1/1`, `1/100` or `off`")
                .fix(one_in_meant(text).map(|one_in| format!("write `1/{one_in}`")))),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "type": "string", "pattern": "^1/[1-9][0-9]{0,6}$" }, { "enum": ["off", false] }] })
    }

    fn form() -> Form {
        Form::of("`1/N`").or(Form::of("`off`"))
    }

    fn render(&self) -> String {
        self.0
            .map_or_else(|| "off".to_owned(), |one_in| format!("1/{one_in}"))
    }
}

/// How often a connection that goes on has a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every(pub Option<StdDuration>);

impl Every {
    /// Connections are looked at once a second.
    const LEAST: StdDuration = StdDuration::from_secs(1);
}

impl Leaf for Every {
    fn what() -> Cow<'static, str> {
        "a duration such as `10m`, or `none`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == "none" {
            return Ok(Self(None));
        }
        let every = Duration::parse(text)?;
        if every.0 < Self::LEAST {
            return Err(Invalid::new("{} is too short").help("the least is `1s`"));
        }
        Ok(Self(Some(every.0)))
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "const": "none" }, Duration::schema()] })
    }

    fn form() -> Form {
        Duration::form().or(Form::of("`none`"))
    }

    fn render(&self) -> String {
        self.0
            .map_or_else(|| "none".to_owned(), |every| Leaf::render(&Duration(every)))
    }
}

keyword! {
    impl Format("format") {
        /// One JSON object per line.
        Json = "json",
        /// `key=value` pairs.
        Logfmt = "logfmt",
        /// For people.
        Text = "text",
    }
}

keyword! {
    /// When a record of the access log is written.
    pub enum AccessEvent("event") {
        /// When the relay starts.
        Open = "open",
        /// When the connection has ended, with its outcome.
        Close = "close",
    }
}
