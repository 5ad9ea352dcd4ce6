//! Collects the record of one connection and guarantees that it is written and counted once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use rustls::pki_types::UnixTime;
use tokio::time::Instant;

use super::identity::Identity;
use super::table::{Conn, ConnGuard, ConnTable};
use crate::observe::access_log::{AccessLog, AccessRecord, Client, StageTimes};
use crate::observe::metrics::EndpointCounts;
use crate::outcome::{Fault, Outcome, Reason, Stage};
use crate::snapshot::{Endpoint, Route};
use crate::tls::classify;
use crate::tls::info::{CertificateFacts, TlsFacts};
use crate::tls::verify::client::ClientVerifier;
use crate::transport::Socket;
use crate::upstream::{Address, OriginDefinition};

/// The information kept on an established connection.
#[derive(Debug)]
pub struct ConnInfo {
    /// Its record, without the fields that are known only at the end.
    pub record: AccessRecord,
    /// The client's verified identity.
    pub identity: Option<Box<Identity>>,
    /// The generation of the snapshot that was current at accept.
    pub generation: u64,
    /// The last generation that it was compared with.
    pub checked: AtomicU64,
    /// The policy on client certificates that last decided on it, see
    /// [`ClientVerifier::id`](crate::tls::verify::client::ClientVerifier::id).
    pub verifier: AtomicU64,
}

impl ConnInfo {
    /// Whether `verifier` decides on this client at `now` as it last did.
    pub fn is_decided_by(&self, verifier: &ClientVerifier, now: UnixTime) -> bool {
        let is_expired = |identity: &Identity| identity.has_expired_path(now);
        verifier.decides_as(self.verifier.load(Ordering::Relaxed), now)
            && !self.identity.as_deref().is_some_and(is_expired)
    }

    /// Whether a route would admit this client at `now`; the reason, if not.
    pub fn admitted_by(&self, route: &Route, now: UnixTime) -> Result<(), Reason> {
        let Some(acceptor) = route.mode.acceptor() else {
            return Ok(());
        };
        let chain = self.identity.as_ref().map(|identity| identity.chain());
        match acceptor.verifier().admit(chain, now) {
            Ok(_) => Ok(()),
            Err(error) => Err(classify::client(&error)),
        }
    }

    /// The same for a client whose chain has expired by `now`: whether the route would have admitted it at
    /// the last moment before the expiry.
    pub fn admitted_but_for_expiry(&self, route: &Route, now: UnixTime) -> Result<(), Reason> {
        let ends = self.identity.iter().flat_map(|identity| identity.ends(now));
        for end in ends {
            match self.admitted_by(route, end) {
                Err(Reason::ClientCertExpired) => {}
                result => return result,
            }
        }
        Err(Reason::ClientCertExpired)
    }
}

/// Collects the facts of a connection and the time spent in each stage. It writes exactly one record: in
/// [`Recorder::end`], or else on drop.
pub(super) struct Recorder<'a> {
    log: &'a AccessLog,
    counts: Arc<EndpointCounts>,
    /// `None` once the record has been written.
    record: Option<Record>,
    start: Instant,
    stage: Stage,
    entered: Instant,
}

/// The record: owned by the connection until it is established, then shared through the table.
enum Record {
    Open(Box<AccessRecord>),
    Tabled(ConnGuard<ConnInfo>),
}

impl<'a> Recorder<'a> {
    pub(super) fn new(
        log: &'a AccessLog,
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
            tls: None,
            client_cert: None,
            route: None,
            mode: None,
            upstream: None,
            origin: None,
            origin_address: None,
            origin_local: None,
            origin_tls: None,
            bytes_up: 0,
            bytes_down: 0,
            stages: StageTimes::default(),
            total: Duration::ZERO,
        };
        counts.begin();
        Self {
            log,
            counts,
            record: Some(Record::Open(Box::new(record))),
            start: at,
            stage: Stage::Admit,
            entered: at,
        }
    }

    /// The record, as long as it can be changed.
    fn draft(&mut self) -> Option<&mut AccessRecord> {
        match &mut self.record {
            Some(Record::Open(record)) => Some(record),
            Some(Record::Tabled(_)) | None => None,
        }
    }

    /// Enters `stage`; the time since the last call belongs to the stage before.
    pub(super) fn enter(&mut self, stage: Stage) {
        let now = Instant::now();
        let spent = now - self.entered;
        let left = std::mem::replace(&mut self.stage, stage);
        self.entered = now;
        if let Some(record) = self.draft() {
            record.stages.spend(left, spent);
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

    /// The identifier as written in the log.
    pub(super) fn id(&mut self) -> String {
        self.draft().map(|record| record.id()).unwrap_or_default()
    }

    /// Sets the addresses of a PROXY header; the peer that sent the header is recorded beside the client.
    pub(super) fn proxied(&mut self, source: SocketAddr, destination: SocketAddr) {
        if let Some(record) = self.draft() {
            let client = Client::Ip(source);
            let peer = std::mem::replace(&mut record.client, client);
            record.peer = (peer != client).then(|| Box::new(peer));
            record.local = Some(destination.into());
        }
    }

    pub(super) fn sni(&mut self, name: &str) {
        if let Some(record) = self.draft() {
            record.sni = Some(name.into());
        }
    }

    pub(super) fn route(&mut self, route: &Route) {
        if let Some(record) = self.draft() {
            record.route = Some(Arc::clone(&route.name));
            record.mode = Some(route.mode.word());
            record.upstream = Some(Arc::clone(&route.upstream.definition.name));
        }
    }

    /// The client's handshake is done.
    pub(super) fn client_tls(&mut self, facts: TlsFacts) {
        self.counts.handshake(&facts);
        if let Some(record) = self.draft() {
            record.tls = Some(Box::new(facts));
        }
    }

    pub(super) fn client_cert(&mut self, facts: Option<CertificateFacts>) {
        if let Some(record) = self.draft() {
            record.client_cert = facts.map(Box::new);
        }
    }

    /// Records the origin of an attempt, and its address once the name is resolved.
    pub(super) fn origin(&mut self, origin: &OriginDefinition, address: Option<&Address>) {
        if let Some(record) = self.draft() {
            record.origin = Some(Arc::clone(&origin.name));
            record.origin_address = match address {
                Some(Address::Ip(address)) => Some((*address).into()),
                Some(Address::Host(..) | Address::Srv(_) | Address::Unix(_)) | None => None,
            };
        }
    }

    pub(super) fn origin_local(&mut self, socket: &Socket) {
        let local = self.log.is_open().then(|| socket.local()).flatten();
        if let Some(record) = self.draft() {
            record.origin_local = local.map(Into::into);
        }
    }

    pub(super) fn origin_tls(&mut self, facts: TlsFacts) {
        if let Some(record) = self.draft() {
            record.origin_tls = Some(Box::new(facts));
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
        let Some(Record::Open(mut record)) = self.record.take() else {
            return None;
        };
        record.total = self.start.elapsed();
        self.log.opened(&record);
        let guard = table.enter(ConnInfo {
            record: *record,
            identity,
            generation,
            checked: AtomicU64::new(generation),
            verifier: AtomicU64::new(verifier),
        });
        let conn = guard.conn();
        self.record = Some(Record::Tabled(guard));
        Some(conn)
    }

    /// Records the end with the fault of its reason. Only the first call counts.
    pub(super) fn end(&mut self, reason: Reason, detail: Option<String>) {
        self.end_by(reason.fault(), reason, detail);
    }

    /// Records the end with this fault, or none.
    pub(super) fn end_by(&mut self, fault: Option<Fault>, reason: Reason, detail: Option<String>) {
        let mut record = match self.record.take() {
            Some(Record::Open(record)) => *record,
            Some(Record::Tabled(guard)) => final_record(guard.leave()),
            None => return,
        };
        record.stages.spend(self.stage, self.entered.elapsed());
        record.total = self.start.elapsed();
        let outcome = Outcome {
            stage: self.stage,
            reason,
            fault,
            detail,
        };
        self.counts.end(
            record.route.as_deref(),
            &outcome,
            record.bytes_up,
            record.bytes_down,
        );
        self.log.closed(&record, &outcome);
    }
}

/// The record of a connection that has left the table, with its byte counts.
fn final_record(conn: Arc<Conn<ConnInfo>>) -> AccessRecord {
    let (up, down) = conn.handle.traffic();
    let mut record = match Arc::try_unwrap(conn) {
        Ok(conn) => conn.info.record,
        // A reader of the table still holds it.
        Err(conn) => conn.info.record.clone(),
    };
    record.bytes_up = up;
    record.bytes_down = down;
    record
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::observe::access_log::AccessLogSettings;
    use crate::observe::format::Format;
    use crate::observe::sink::Output;
    use crate::route::RouteTable;
    use crate::snapshot::Protocol;
    use crate::transport::TcpOptions;

    fn endpoint() -> Endpoint {
        Endpoint {
            name: "edge".into(),
            listen: Vec::new(),
            protocol: Protocol::Tcp,
            backlog: 1,
            tcp: TcpOptions {
                nodelay: true,
                keepalive: None,
                user_timeout: None,
                send_buffer: None,
                receive_buffer: None,
            },
            fast_open: false,
            certificates: Vec::new(),
            accept_proxy_protocol: None,
            hello_timeout: Duration::from_secs(1),
            routes: RouteTable::default(),
        }
    }

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        (Socket::from(socket), client)
    }

    /// Promise 6: a panic resets only its own connection and is recorded like any other end.
    #[tokio::test]
    async fn promise_6_a_panic_ends_one_connection_by_a_reset_and_is_recorded_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("access.log");
        let settings = AccessLogSettings {
            format: Format::Json,
            output: Output::File(file.clone()),
            open: false,
            close: true,
        };
        let log = AccessLog::start(&settings).unwrap();
        let (socket, mut client) = pair().await;
        let task = tokio::spawn({
            let log = log.clone();
            async move {
                let mut recorder = Recorder::new(
                    &log,
                    Arc::default(),
                    Client::Unix(None),
                    None,
                    &endpoint(),
                    Instant::now(),
                );
                let _socket = socket;
                recorder.enter(Stage::Relay);
                panic!("a defect");
            }
        });
        assert!(task.await.unwrap_err().is_panic());
        let end = client.read(&mut [0; 1]).await;
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        log.sink().flush();
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains(r#""stage":"relay","fault":"proxy","reason":"internal_panic""#),
            "{text}"
        );
    }
}
