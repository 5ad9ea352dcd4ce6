//! One record of a connection, and its forms.

use std::time::{Duration, SystemTime};

use super::record::{AccessRecord, Client, CompactAddr, Traffic};
use crate::observe::format::{LogLine, unix_timestamp};
use crate::observe::{digits, escape};
use crate::outcome::{LimitOwner, Outcome};
use crate::tls::info::CertificateFacts;

/// What one record says of a connection.
pub(super) struct Event<'a> {
    pub(super) word: &'static str,
    pub(super) record: &'a AccessRecord,
    pub(super) traffic: Traffic,
    /// The time since accept.
    pub(super) total: Duration,
    /// How it has ended.
    pub(super) outcome: Option<&'a Outcome>,
}

impl<'a> Event<'a> {
    pub(super) fn open(record: &'a AccessRecord) -> Self {
        Self {
            word: "open",
            record,
            traffic: Traffic::default(),
            total: record.total,
            outcome: None,
        }
    }

    /// The moment that it is about.
    pub(super) fn at(&self) -> SystemTime {
        self.record.time + self.total
    }

    pub(super) fn fields(&self, line: &mut LogLine) {
        self.record.who(line);
        self.record.where_to(line);
        line.integer("bytes_up", self.traffic.up);
        line.integer("bytes_down", self.traffic.down);
        line.group("ms", |line| {
            for (stage, time) in self.record.stages.iter() {
                line.milliseconds(stage.word(), time);
            }
            line.milliseconds("total", self.total);
        });
        let would_refuse = self.record.would_refuse.iter();
        let would_refuse: Vec<_> = would_refuse.map(|reason| reason.to_string()).collect();
        if !would_refuse.is_empty() {
            line.list("dry_run", &would_refuse);
        }
        if let Some(outcome) = self.outcome {
            line.string("after", outcome.after().word());
            line.string("stage", outcome.stage.word());
            line.maybe("fault", outcome.fault.map(|f| f.word()));
            line.string("reason", outcome.reason.code());
            line.maybe("limit", outcome.limit.map(LimitOwner::word));
            maybe_escaped(line, "detail", outcome.detail.as_deref());
        }
    }

    /// The few fields of the text format.
    pub(super) fn summary(&self, line: &mut LogLine) {
        self.record.summary(line);
        line.integer("up", self.traffic.up);
        line.integer("down", self.traffic.down);
        line.milliseconds("ms", self.total);
        if let Some(outcome) = self.outcome {
            line.string("stage", outcome.stage.word());
            line.string("reason", outcome.reason.code());
            line.maybe("meaning", outcome.fault.map(|_| outcome.reason.meaning()));
            maybe_escaped(line, "detail", outcome.detail.as_deref());
        }
    }
}

impl AccessRecord {
    /// The client.
    fn who(&self, line: &mut LogLine) {
        line.word("id", |out| digits::push_hex(out, self.id));
        line.string("endpoint", &self.endpoint);
        client(line, "client", self.client);
        if let Some(peer) = &self.peer {
            client(line, "peer", **peer);
        }
        address(line, "local", self.local.as_ref());
        maybe_escaped(line, "sni", self.sni.as_deref());
        if let Some(ja4) = &self.ja4 {
            line.word("ja4", |out| ja4.push(out));
        }
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
    }

    /// The route and the origin.
    fn where_to(&self, line: &mut LogLine) {
        line.maybe("route", self.route.as_deref());
        line.maybe("mode", self.mode);
        line.maybe("upstream", self.upstream.as_deref());
        self.origin(line);
        address(line, "origin_local", self.origin_local.as_ref());
        if let Some(tls) = &self.origin_tls {
            line.maybe("origin_tls_version", tls.version);
            line.number("origin_tls_resumed", tls.resumed);
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
    fn summary(&self, line: &mut LogLine) {
        line.word("id", |out| digits::push_hex(out, self.id));
        line.string("endpoint", &self.endpoint);
        client(line, "client", self.client);
        maybe_escaped(line, "sni", self.sni.as_deref());
        let cert = self.client_cert.as_ref();
        let subject = cert.map(|cert| escape::name(&cert.subject));
        line.maybe("client_cert", subject.as_deref());
        line.maybe("route", self.route.as_deref());
        line.maybe("mode", self.mode);
        self.origin(line);
        line.maybe("tls", self.tls.as_ref().and_then(|tls| tls.version));
    }
}

fn certificate(line: &mut LogLine, cert: &CertificateFacts) {
    let sans: Vec<_> = cert
        .sans
        .iter()
        .take(16)
        .map(|san| escape::text(san))
        .collect();
    line.string("subject", &escape::name(&cert.subject));
    line.string("issuer", &escape::name(&cert.issuer));
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
