//! The access log: one record per connection.

use std::fmt;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use super::format::{Format, LogLine, unix_timestamp};
use super::sink::{Output, Sink};
use super::{digits, escape};
use crate::outcome::{After, LimitOwner, Outcome, Stage, WouldRefuse};
use crate::tls::info::{CertificateFacts, TlsFacts};

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
    /// Of the connections that ended before a byte, one in so many has a record of its end; `None`: none has.
    pub probes: Option<NonZeroU32>,
    /// The same for connections that a rule on addresses or a limit refused.
    pub refused: Option<NonZeroU32>,
}

/// The facts of a connection. An absent fact is an absent key. Every live connection has one of these, so
/// it is small; texts are rendered when the record is written.
#[derive(Clone, Debug)]
pub struct AccessRecord {
    /// The time of accept.
    pub time: SystemTime,
    /// An identifier, unique within and across processes.
    pub id: u64,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// The client; if there is a PROXY header, the client that the header names.
    pub client: Client,
    /// The peer that sent a PROXY header for another client.
    pub peer: Option<Box<Client>>,
    /// The address that the client dialled; if there is a PROXY header, the one in the header.
    pub local: Option<CompactAddr>,
    /// The server name, from the wire; normalised if it is valid.
    pub sni: Option<Box<str>>,
    /// The client's TLS.
    pub tls: Option<Box<TlsFacts>>,
    /// The certificate that the client presented, accepted or not.
    pub client_cert: Option<Box<CertificateFacts>>,
    /// The route's name.
    pub route: Option<Arc<str>>,
    /// The route's mode.
    pub mode: Option<&'static str>,
    /// The upstream's name.
    pub upstream: Option<Arc<str>>,
    /// The name of the origin that was tried last.
    pub origin: Option<Arc<str>>,
    /// The address that was tried last, if the origin has one.
    pub origin_address: Option<CompactAddr>,
    /// Our local address of the connection to the origin.
    pub origin_local: Option<CompactAddr>,
    /// The origin's TLS.
    pub origin_tls: Option<Box<TlsFacts>>,
    /// The limits that would have refused it, in a dry run.
    pub would_refuse: WouldRefuse,
    /// Time spent in each stage.
    pub stages: StageTimes,
    /// Time since accept.
    pub total: Duration,
}

/// An address and port in half the size of a `SocketAddr`: every live connection has several, and nearly
/// all are IPv4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CompactAddr {
    /// IPv4.
    V4(SocketAddrV4),
    /// IPv6.
    V6(Box<SocketAddrV6>),
}

impl From<SocketAddr> for CompactAddr {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(address) => Self::V4(address),
            SocketAddr::V6(address) => Self::V6(Box::new(address)),
        }
    }
}

impl From<&CompactAddr> for SocketAddr {
    fn from(address: &CompactAddr) -> Self {
        match address {
            CompactAddr::V4(address) => Self::V4(*address),
            CompactAddr::V6(address) => Self::V6(**address),
        }
    }
}

/// Application bytes of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the client to the origin.
    pub up: u64,
    /// From the origin to the client.
    pub down: u64,
}

/// The time that a connection has spent in each stage. Four bytes each, because every live connection has
/// all of them: microseconds are exact for times of seconds, and seconds for times of months.
#[derive(Clone, Copy, Debug)]
pub struct StageTimes([f32; Stage::ALL.len()]);

impl Default for StageTimes {
    fn default() -> Self {
        Self([f32::NAN; Stage::ALL.len()])
    }
}

impl StageTimes {
    /// Adds to the time of a stage, which marks it as reached.
    pub fn spend(&mut self, stage: Stage, time: Duration) {
        if let Some(spent) = self.0.get_mut(stage as usize) {
            let before = if spent.is_nan() { 0.0 } else { *spent };
            *spent = before + time.as_secs_f32();
        }
    }

    /// The stages that were reached, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Stage, Duration)> {
        let times = Stage::ALL.iter().zip(self.0);
        times.filter_map(|(stage, time)| Some((*stage, Duration::try_from_secs_f32(time).ok()?)))
    }
}

/// A client, as its socket identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Its address.
    Ip(SocketAddr),
    /// The user of a unix socket's peer.
    Unix(Option<u32>),
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(Some(user)) => write!(f, "unix:uid={user}"),
            Self::Unix(None) => f.write_str("unix"),
        }
    }
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

    /// Writes that a connection is established, if configured.
    pub fn opened(&self, record: &AccessRecord) {
        if self.opens {
            self.write("open", record, Traffic::default(), None);
        }
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
            self.write("close", record, traffic, Some(outcome));
        }
    }

    fn write(
        &self,
        event: &str,
        record: &AccessRecord,
        traffic: Traffic,
        outcome: Option<&Outcome>,
    ) {
        if !self.sink.is_open() {
            return;
        }
        let mut line = LogLine::new(self.format);
        line.time("time", record.time);
        if self.opens {
            line.string("event", event);
        }
        match self.format {
            Format::Text => record.summary(&mut line, traffic, outcome),
            Format::Json | Format::Logfmt => record.fields(&mut line, traffic, outcome),
        }
        self.sink.line(line.finish());
    }
}

impl AccessRecord {
    /// The identifier in its written form.
    pub fn id(&self) -> String {
        format!("{:016x}", self.id)
    }

    fn fields(&self, line: &mut LogLine, traffic: Traffic, outcome: Option<&Outcome>) {
        line.word("id", |out| digits::push_hex(out, self.id));
        line.string("endpoint", &self.endpoint);
        client(line, "client", self.client);
        if let Some(peer) = &self.peer {
            client(line, "peer", **peer);
        }
        address(line, "local", self.local.as_ref());
        maybe_escaped(line, "sni", self.sni.as_deref());
        if let Some(tls) = &self.tls {
            if let Some(alpn) = &tls.alpn {
                line.string("alpn", &escape::bytes(alpn));
            }
            line.maybe("tls_version", tls.version);
            line.maybe("tls_cipher", tls.cipher);
            line.maybe("tls_group", tls.group);
            line.number("tls_resumed", tls.resumed);
        }
        if let Some(cert) = &self.client_cert {
            line.group("client_cert", |line| certificate(line, cert));
        }
        line.maybe("route", self.route.as_deref());
        line.maybe("mode", self.mode);
        line.maybe("upstream", self.upstream.as_deref());
        self.origin(line);
        address(line, "origin_local", self.origin_local.as_ref());
        if let Some(tls) = &self.origin_tls {
            line.maybe("origin_tls_version", tls.version);
            line.number("origin_tls_resumed", tls.resumed);
        }
        line.integer("bytes_up", traffic.up);
        line.integer("bytes_down", traffic.down);
        line.group("ms", |line| {
            for (stage, time) in self.stages.iter() {
                line.milliseconds(stage.word(), time);
            }
            line.milliseconds("total", self.total);
        });
        let would_refuse = self.would_refuse.iter();
        let would_refuse: Vec<_> = would_refuse.map(|reason| reason.to_string()).collect();
        if !would_refuse.is_empty() {
            line.list("dry_run", &would_refuse);
        }
        if let Some(outcome) = outcome {
            line.string("after", outcome.after().word());
            line.string("stage", outcome.stage.word());
            line.maybe("fault", outcome.fault.map(|f| f.word()));
            line.string("reason", outcome.reason.code());
            line.maybe("limit", outcome.limit.map(LimitOwner::word));
            maybe_escaped(line, "detail", outcome.detail.as_deref());
        }
    }

    /// The origin's name, and its address if that adds information.
    fn origin(&self, line: &mut LogLine) {
        let Some(name) = self.origin.as_deref() else {
            return;
        };
        let mut address = String::new();
        if let Some(known) = &self.origin_address {
            digits::push_address(&mut address, known.into());
        }
        if address.is_empty() || address == name {
            line.string("origin", name);
        } else {
            line.string("origin", &format!("{name} ({address})"));
        }
    }

    /// The few fields of the text format.
    fn summary(&self, line: &mut LogLine, traffic: Traffic, outcome: Option<&Outcome>) {
        line.word("id", |out| digits::push_hex(out, self.id));
        line.string("endpoint", &self.endpoint);
        client(line, "client", self.client);
        maybe_escaped(line, "sni", self.sni.as_deref());
        let subject = self.client_cert.as_ref().map(|cert| cert.subject.as_str());
        maybe_escaped(line, "client_cert", subject);
        line.maybe("route", self.route.as_deref());
        line.maybe("mode", self.mode);
        self.origin(line);
        line.maybe("tls", self.tls.as_ref().and_then(|tls| tls.version));
        line.integer("up", traffic.up);
        line.integer("down", traffic.down);
        line.milliseconds("ms", self.total);
        if let Some(outcome) = outcome {
            line.string("stage", outcome.stage.word());
            line.string("reason", outcome.reason.code());
            maybe_escaped(line, "detail", outcome.detail.as_deref());
        }
    }
}

fn certificate(line: &mut LogLine, cert: &CertificateFacts) {
    let sans: Vec<_> = cert
        .sans
        .iter()
        .take(16)
        .map(|san| escape::text(san))
        .collect();
    line.string("subject", &escape::text(&cert.subject));
    line.string("issuer", &escape::text(&cert.issuer));
    line.list("sans", &sans);
    line.string("serial", &escape::text(&cert.serial));
    line.string("sha256", &cert.sha256);
    line.string("not_after", &unix_timestamp(cert.not_after));
}

fn client(line: &mut LogLine, key: &str, client: Client) {
    match client {
        Client::Ip(address) => line.address(key, address),
        Client::Unix(_) => line.string(key, &client.to_string()),
    }
}

fn address(line: &mut LogLine, key: &str, address: Option<&CompactAddr>) {
    if let Some(address) = address {
        line.address(key, address.into());
    }
}

fn maybe_escaped(line: &mut LogLine, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        line.string(key, &escape::text(text));
    }
}
