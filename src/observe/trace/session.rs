//! One trace: which connections it follows, and what it has told of them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc;

use super::request::{Step, TraceFilter, TraceRequest};
use crate::observe::access_log::{AccessRecord, Client, Traffic};
use crate::observe::format::{Format, LogLine, timestamp};
use crate::observe::{digits, escape};

/// The most lines of a trace.
const LINES_MAX: usize = 20_000;

/// How many lines of connections whose server name is not known yet are kept.
const HELD_MAX: usize = 512;

/// After so long without a line there is an empty one: a connection whose peer has gone is noticed when
/// something is sent on it.
const BEAT: Duration = Duration::from_secs(2);

/// How many connections that are not followed are remembered.
const SKIPPING_MAX: usize = 10_000;

/// A trace that somebody watches.
#[derive(Debug)]
pub(super) struct Session {
    request: TraceRequest,
    end: Instant,
    lines: mpsc::Sender<String>,
    followed: HashMap<u64, Followed>,
    /// First steps of connections whose server name is not known yet.
    held: VecDeque<(u64, String)>,
    /// Live connections beyond those that it may follow, as far as they are remembered, and how many there
    /// were.
    skipping: HashSet<u64>,
    skipped: u64,
    sent: usize,
    /// When there was last a line.
    last: Instant,
    /// Lines for which there was no room.
    lost: u64,
}

/// A connection that is followed.
#[derive(Debug, Default)]
struct Followed {
    told: Traffic,
    has_ended: bool,
}

/// Why a trace ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Time,
    Lines,
    Unwatched,
}

impl Session {
    pub(super) fn new(request: TraceRequest, lines: mpsc::Sender<String>) -> Self {
        let followed = match request.filter {
            TraceFilter::Id(id) => HashMap::from([(id, Followed::default())]),
            TraceFilter::Source(_) | TraceFilter::Sni(_) => HashMap::new(),
        };
        Self {
            end: Instant::now() + request.duration,
            request,
            lines,
            followed,
            held: VecDeque::new(),
            skipping: HashSet::new(),
            skipped: 0,
            sent: 0,
            last: Instant::now(),
            lost: 0,
        }
    }

    pub(super) fn is_watched(&self) -> bool {
        !self.lines.is_closed()
    }

    /// Why it has to end, if it has.
    pub(super) fn ended(&self, now: Instant) -> Option<Ended> {
        if !self.is_watched() {
            return Some(Ended::Unwatched);
        }
        if self.sent >= LINES_MAX {
            return Some(Ended::Lines);
        }
        (now >= self.end).then_some(Ended::Time)
    }

    /// Sends an empty line if there was none for a while.
    pub(super) fn beat(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last) >= BEAT {
            let _ = self.lines.try_send("\n".to_owned());
            self.last = now;
        }
    }

    /// Tells that it has begun: what happens from here on is in it.
    pub(super) fn begin(&mut self) {
        let seconds = self.request.duration.as_secs();
        let connections = self.request.connections as u64;
        self.tell("trace begun", |line| {
            line.integer("seconds", seconds);
            line.integer("connections", connections);
        });
    }

    /// Tells how it has ended.
    pub(super) fn end(&mut self, why: Ended) {
        let why = match why {
            Ended::Time => "its time is over",
            Ended::Lines => "it has as many lines as a trace may have",
            Ended::Unwatched => "nobody watches",
        };
        let connections = self.followed.len() as u64;
        let (skipped, lost) = (self.skipped, self.lost);
        self.tell("trace ended", |line| {
            line.string("why", why);
            line.integer("connections", connections);
            line.integer("skipped_connections", skipped);
            line.integer("lost_lines", lost);
        });
    }

    /// A step of a connection, and its line.
    pub(super) fn step(&mut self, step: &Step<'_>, line: impl Fn(Format) -> String) {
        if self.skipping.contains(&step.id) {
            if step.is_end {
                self.skipping.remove(&step.id);
            }
            return;
        }
        if !self.is_followed(step.id) {
            match self.concerns(step) {
                true if self.may_follow(step.id) => self.send_held(step.id),
                true => return,
                false => return self.hold(step, line),
            }
        }
        self.send(line(self.request.format));
        if step.is_end
            && let Some(followed) = self.followed.get_mut(&step.id)
        {
            followed.has_ended = true;
        }
    }

    /// What an established connection has moved by now.
    pub(super) fn moved(&mut self, record: &AccessRecord, moved: Traffic) {
        if self.skipping.contains(&record.id) {
            return;
        }
        if !self.is_followed(record.id) {
            if !self.concerns_record(record) || !self.may_follow(record.id) {
                return;
            }
            self.tell("already established", |line| {
                line.word("id", |out| digits::push_hex(out, record.id));
                line.string("client", &record.client.to_string());
                line.maybe("sni", record.sni.as_deref().map(escape::text).as_deref());
                line.maybe("route", record.route.as_deref());
                line.maybe("origin", record.origin.as_deref());
                line.integer("bytes_up", moved.up);
                line.integer("bytes_down", moved.down);
            });
            self.followed.entry(record.id).or_default().told = moved;
            return;
        }
        let Some(followed) = self.followed.get_mut(&record.id) else {
            return;
        };
        let told = std::mem::replace(&mut followed.told, moved);
        if followed.has_ended || told == moved {
            return;
        }
        self.tell("moved", |line| {
            line.word("id", |out| digits::push_hex(out, record.id));
            line.integer("up", moved.up.saturating_sub(told.up));
            line.integer("down", moved.down.saturating_sub(told.down));
            line.integer("bytes_up", moved.up);
            line.integer("bytes_down", moved.down);
        });
    }

    fn is_followed(&self, id: u64) -> bool {
        self.followed.contains_key(&id)
    }

    /// Whether a step shows that its connection is one of those that the trace is about.
    fn concerns(&self, step: &Step<'_>) -> bool {
        match &self.request.filter {
            TraceFilter::Id(id) => step.id == *id,
            TraceFilter::Source(source) => step.client.is_some_and(|client| {
                let client = client.parse::<SocketAddr>();
                client.is_ok_and(|client| is_same(client.ip(), *source))
            }),
            TraceFilter::Sni(name) => step.sni.is_some_and(|sni| sni == name),
        }
    }

    fn concerns_record(&self, record: &AccessRecord) -> bool {
        match (&self.request.filter, record.client) {
            (TraceFilter::Id(id), _) => record.id == *id,
            (TraceFilter::Source(source), Client::Ip(client)) => is_same(client.ip(), *source),
            (TraceFilter::Source(_), Client::Unix(_)) => false,
            (TraceFilter::Sni(name), _) => record.sni.as_deref() == Some(name),
        }
    }

    /// Follows a connection, if the trace may follow one more.
    fn may_follow(&mut self, id: u64) -> bool {
        let may = self.followed.len() < self.request.connections;
        if may {
            self.followed.insert(id, Followed::default());
        } else {
            self.skipped += 1;
            if self.skipping.len() < SKIPPING_MAX {
                self.skipping.insert(id);
            }
        }
        may
    }

    /// Keeps a step of a connection that may turn out to be for the server name.
    fn hold(&mut self, step: &Step<'_>, line: impl Fn(Format) -> String) {
        if !matches!(self.request.filter, TraceFilter::Sni(_)) {
            return;
        }
        if step.is_end || step.sni.is_some() {
            self.held.retain(|(id, _)| *id != step.id);
            return;
        }
        if self.held.len() >= HELD_MAX {
            self.held.pop_front();
        }
        self.held.push_back((step.id, line(self.request.format)));
    }

    fn send_held(&mut self, id: u64) {
        let (own, others): (VecDeque<_>, VecDeque<_>) =
            self.held.drain(..).partition(|(held, _)| *held == id);
        self.held = others;
        for (_, line) in own {
            self.send(line);
        }
    }

    /// A line of its own, in the form of those of the log.
    fn tell(&mut self, message: &str, fields: impl FnOnce(&mut LogLine)) {
        let time = timestamp(SystemTime::now());
        let mut line = LogLine::new(self.request.format);
        let line = match self.request.format {
            Format::Text => {
                fields(&mut line);
                format!("{time} trace {message}  {}", line.finish())
            }
            Format::Json | Format::Logfmt => {
                line.string("time", &time);
                line.string("level", "trace");
                line.string("message", message);
                fields(&mut line);
                line.finish()
            }
        };
        self.send(line);
    }

    fn send(&mut self, line: String) {
        if self.sent > LINES_MAX || self.lines.try_send(line).is_err() {
            self.lost += 1;
            return;
        }
        self.sent += 1;
        self.last = Instant::now();
    }
}

fn is_same(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}
