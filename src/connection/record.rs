//! Collects the record of one connection and guarantees that it is written and counted once.

mod origin;
mod steps;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{Level, debug, enabled, trace};

use self::steps::{Id, handshake_done};
use super::identity::Identity;
use super::info::ConnInfo;
use super::opening::{Draft, Opening, OpeningGuard, OpeningTable};
use super::progress::Progress;
use super::table::{Conn, ConnGuard, ConnTable};
use super::traffic::{CountedTraffic, traffic};
use crate::observe::access_log::{AccessLog, AccessRecord, Client, StageTimes, Traffic};
use crate::observe::failures::FailureShard;
use crate::observe::metrics::{EndpointCounts, UpstreamCounts};
use crate::outcome::{Fault, LimitOwner, Outcome, Reason, Stage, WouldRefuse};
use crate::snapshot::{Endpoint, Route};
use crate::tls::handshake_notes::HandshakeNotes;
use crate::tls::hello::Hello;
use crate::tls::info::{CertificateFacts, TlsFacts};
use crate::tls::ja4::Ja4;

/// Collects the facts of a connection and the time spent in each stage. It writes exactly one record: in
/// [`Recorder::end`], or else on drop.
pub(super) struct Recorder<'a> {
    log: &'a AccessLog,
    failures: &'a FailureShard,
    counts: Arc<EndpointCounts>,
    /// The counters of the route's upstream.
    upstream: Option<Arc<UpstreamCounts>>,
    /// `None` once the record has been written.
    record: Option<Record>,
    /// The identifier in the lines of `log.level: debug`.
    id: u64,
    start: Instant,
    stage: Stage,
    /// Whether an attempt at an origin has failed.
    has_failed: bool,
    /// Whether the client ended, or was given up, before it sent a byte.
    is_probe: bool,
    entered: Instant,
}

/// Where connections are shown as long as they live, and the failed ones afterwards.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) log: &'a AccessLog,
    pub(super) failures: &'a FailureShard,
    pub(super) openings: &'a Arc<OpeningTable>,
}

/// The record: it changes until the connection is established.
enum Record {
    Open(OpeningGuard),
    Tabled(ConnGuard<ConnInfo>),
}

impl<'a> Recorder<'a> {
    pub(super) fn new(
        places: Places<'a>,
        counts: Arc<EndpointCounts>,
        client: Client,
        local: Option<SocketAddr>,
        endpoint: &Endpoint,
        at: Instant,
    ) -> Self {
        let record = AccessRecord {
            time: SystemTime::now() - at.elapsed(),
            id: next_id(),
            endpoint: Arc::clone(&endpoint.name),
            client,
            peer: None,
            local: local.map(Into::into),
            sni: None,
            ja4: None,
            tls: None,
            client_cert: None,
            route: None,
            mode: None,
            upstream: None,
            origin: None,
            origin_address: None,
            origin_local: None,
            origin_tls: None,
            would_refuse: WouldRefuse::default(),
            stages: StageTimes::default(),
            total: Duration::ZERO,
        };
        counts.begin();
        debug!(
            id = %Id(record.id),
            endpoint = &*record.endpoint,
            client = %record.client,
            "accepted"
        );
        Self {
            log: places.log,
            failures: places.failures,
            counts,
            upstream: None,
            id: record.id,
            record: Some(Record::Open(places.openings.enter(record, at))),
            start: at,
            stage: Stage::Admit,
            has_failed: false,
            is_probe: false,
            entered: at,
        }
    }

    /// The record, as long as it can be changed.
    fn draft(&self) -> Option<MutexGuard<'_, Draft>> {
        match &self.record {
            Some(Record::Open(opening)) => Some(opening.draft()),
            Some(Record::Tabled(_)) | None => None,
        }
    }

    /// The entry among the connections before their relay.
    pub(super) fn opening(&self) -> Option<Arc<Opening>> {
        match &self.record {
            Some(Record::Open(opening)) => Some(opening.opening()),
            Some(Record::Tabled(_)) | None => None,
        }
    }

    /// Enters `stage`; the time since the last call belongs to the stage before.
    pub(super) fn enter(&mut self, stage: Stage) {
        let now = Instant::now();
        let spent = now - self.entered;
        let left = std::mem::replace(&mut self.stage, stage);
        self.entered = now;
        if matches!(stage, Stage::Resolve | Stage::Queue) {
            debug!(id = %Id(self.id), stage = stage.word(), "waiting for an origin");
        }
        trace!(
            id = %Id(self.id),
            from = left.word(),
            to = stage.word(),
            ms = spent.as_secs_f64() * 1000.0,
            "next stage"
        );
        if let Some(mut draft) = self.draft() {
            draft.record.stages.spend(left, spent);
            draft.stage = stage;
            draft.entered = now;
        }
    }

    /// The current stage.
    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    /// Corrects the stage, without a change of times.
    pub(super) const fn was_in(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// The stages of the client have failed before it sent a byte.
    pub(super) const fn sent_nothing(&mut self) {
        self.is_probe = true;
    }

    /// The identifier as written in the log.
    pub(super) fn id(&self) -> String {
        Id(self.id).to_string()
    }

    /// Sets the addresses of a PROXY header; the peer that sent the header is recorded beside the client.
    pub(super) fn proxied(&mut self, source: SocketAddr, destination: SocketAddr) {
        debug!(id = %Id(self.id), client = %source, local = %destination, "PROXY header read");
        if let Some(mut draft) = self.draft() {
            let record = &mut draft.record;
            let client = Client::Ip(source);
            let peer = std::mem::replace(&mut record.client, client);
            record.peer = (peer != client).then(|| Box::new(peer));
            record.local = Some(destination.into());
        }
    }

    /// The ClientHello is whole.
    pub(super) fn hello(&mut self, hello: &Hello) {
        let is_shown = enabled!(Level::DEBUG, id);
        if !is_shown && !self.log.is_open() {
            return;
        }
        let ja4 = Ja4::of(&hello.bytes);
        if is_shown {
            steps::hello(self.id, hello, ja4);
        }
        if let Some(mut draft) = self.draft() {
            draft.record.ja4 = ja4;
        }
    }

    pub(super) fn sni(&mut self, name: &str) {
        trace!(id = %Id(self.id), sni = name, "server name");
        if let Some(mut draft) = self.draft() {
            draft.record.sni = Some(name.into());
        }
    }

    /// `why` says in words why it is this route.
    pub(super) fn route(&mut self, route: &Route, why: impl FnOnce() -> String) {
        debug!(
            id = %Id(self.id),
            sni = self.draft().and_then(|draft| draft.record.sni.clone()).as_deref(),
            route = &*route.name,
            mode = route.mode.word(),
            upstream = &*route.upstream.definition.name,
            why = why(),
            "routed"
        );
        self.upstream = Some(self.counts.upstream(&route.upstream.definition.name));
        if let Some(mut draft) = self.draft() {
            let record = &mut draft.record;
            record.route = Some(Arc::clone(&route.name));
            record.mode = Some(route.mode.word());
            record.upstream = Some(Arc::clone(&route.upstream.definition.name));
        }
    }

    /// The client's handshake is done.
    pub(super) fn client_tls(&mut self, facts: TlsFacts) {
        self.counts.handshake(&facts, self.entered.elapsed());
        handshake_done(self.id, &facts, "TLS with the client established");
        if let Some(mut draft) = self.draft() {
            draft.record.tls = Some(Box::new(facts));
        }
    }

    /// The certificate that was chosen for the client.
    pub(super) fn presented(&self, notes: &HandshakeNotes) {
        steps::presented(self.id, notes);
    }

    /// The client's certificate was accepted, by the path that `path` tells: names, from the client's on.
    pub(super) fn verified(&self, path: impl FnOnce() -> Option<String>) {
        if enabled!(Level::DEBUG, id)
            && let Some(path) = path()
        {
            debug!(id = %Id(self.id), path, "client certificate accepted");
        }
    }

    pub(super) fn client_cert(&mut self, facts: Option<CertificateFacts>) {
        if let Some(facts) = &facts {
            // The log escapes it.
            let subject = facts.subject.as_str();
            debug!(id = %Id(self.id), subject, "client certificate received");
        }
        if let Some(mut draft) = self.draft() {
            draft.record.client_cert = facts.map(Box::new);
        }
    }

    /// Writes the opening record and enters the connection in `table`.
    pub(super) fn opened(
        &mut self,
        table: &Arc<ConnTable<ConnInfo>>,
        identity: Option<Box<Identity>>,
        generation: u64,
        verifier: u64,
    ) -> Option<Arc<Conn<ConnInfo>>> {
        let Some(Record::Open(opening)) = self.record.take() else {
            return None;
        };
        let mut record = opening.leave();
        record.total = self.start.elapsed();
        if let (Some(upstream), Some(origin)) = (&record.upstream, &record.origin) {
            self.counts.upstream(upstream).established(origin);
        }
        debug!(id = %Id(self.id), ms = record.total.as_secs_f64() * 1000.0, "relaying");
        self.log.opened(&record);
        let guard = table.enter(ConnInfo {
            progress: Progress::new(self.start),
            record,
            identity,
            generation,
            checked: AtomicU64::new(generation),
            revoked: AtomicU64::new(0),
            verifier: AtomicU64::new(verifier),
            counted: CountedTraffic::default(),
            is_denial_logged: AtomicBool::new(false),
        });
        let conn = guard.conn();
        self.record = Some(Record::Tabled(guard));
        Some(conn)
    }

    /// Records the end with the fault of its reason. Only the first call counts.
    pub(super) fn end(&mut self, reason: Reason, detail: Option<String>) {
        self.end_by(reason.fault(), reason, detail);
    }

    /// Records that the connection has failed before its relay.
    pub(super) fn fail(
        &mut self,
        reason: Reason,
        detail: Option<String>,
        limit: Option<LimitOwner>,
    ) {
        self.end_with(reason.fault(), reason, detail, limit);
    }

    /// Records that a limit would have refused the client, in a dry run.
    pub(super) fn would_be(&mut self, reason: Reason) {
        if let Some(mut draft) = self.draft() {
            draft.record.would_refuse.insert(reason);
        }
    }

    /// Records the end with this fault, or none.
    pub(super) fn end_by(&mut self, fault: Option<Fault>, reason: Reason, detail: Option<String>) {
        self.end_with(fault, reason, detail, None);
    }

    fn end_with(
        &mut self,
        fault: Option<Fault>,
        reason: Reason,
        detail: Option<String>,
        limit: Option<LimitOwner>,
    ) {
        let (mut record, traffic) = match self.record.take() {
            Some(Record::Open(opening)) => (opening.leave(), Traffic::default()),
            Some(Record::Tabled(guard)) => {
                let conn = guard.leave();
                let new = conn.info.uncounted(&conn.handle);
                self.counts.moved(conn.info.record.route.as_deref(), new);
                let traffic = traffic(&conn.handle);
                (final_record(conn), traffic)
            }
            None => return,
        };
        record.stages.spend(self.stage, self.entered.elapsed());
        record.total = self.start.elapsed();
        let outcome = Outcome {
            stage: self.stage,
            reason,
            fault,
            detail,
            limit,
        };
        let route = record.route.as_deref();
        self.counts.end(route, &outcome, record.total);
        debug!(
            id = %Id(self.id),
            stage = outcome.stage.word(),
            reason = outcome.reason.code(),
            meaning = outcome.fault.map(|_| outcome.reason.meaning()),
            detail = outcome.detail.as_deref(),
            bytes_up = traffic.up,
            bytes_down = traffic.down,
            "ended"
        );
        if self.is_probe {
            self.log.probe_closed(&record, &outcome);
        } else {
            self.log.closed(&record, traffic, &outcome);
        }
        self.failures.add(record, traffic, outcome);
    }
}

/// The record of a connection that has left the table.
fn final_record(conn: Arc<Conn<ConnInfo>>) -> AccessRecord {
    match Arc::try_unwrap(conn) {
        Ok(conn) => conn.info.record,
        // A reader of the table still holds it.
        Err(conn) => conn.info.record.clone(),
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end(Reason::InternalPanic, None);
        } else {
            // Only the end of the process drops a connection before its end.
            self.end(Reason::Drain, None);
        }
    }
}

/// A new identifier: the upper half identifies the process, the lower half counts.
fn next_id() -> u64 {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| {
        let mut seed = [0; 4];
        // Without randomness the identifiers are still unique within this process.
        let _ = aws_lc_rs::rand::fill(&mut seed);
        u32::from_le_bytes(seed)
    });
    static COUNT: AtomicU32 = AtomicU32::new(0);
    u64::from(*PROCESS) << 32 | u64::from(COUNT.fetch_add(1, Ordering::Relaxed))
}
