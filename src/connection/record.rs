//! The record of one connection while it grows, and the guarantee that it is written and counted once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::leg::Socket;
use crate::observe::access_log::{AccessLog, AccessRecord, Client};
use crate::observe::metrics::EndpointCounts;
use crate::outcome::{Outcome, Reason, Stage};
use crate::relay::Traffic;
use crate::snapshot::{Endpoint, Route};
use crate::tls::facts::{CertificateFacts, TlsFacts};
use crate::upstream::{Address, Origin};

/// Collects the facts of a connection, and its time in each stage. Whatever becomes of the
/// connection, one record is written: by [`Recorder::end`], or else when this is dropped.
pub(super) struct Recorder<'a> {
    log: &'a AccessLog,
    counts: Arc<EndpointCounts>,
    record: Box<AccessRecord>,
    traffic: Traffic,
    start: Instant,
    stage: Stage,
    entered: Instant,
    ended: bool,
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
            local,
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
            stages: [None; Stage::ALL.len()],
            total: Duration::ZERO,
        };
        counts.begin();
        Self {
            log,
            counts,
            record: Box::new(record),
            traffic: Traffic::default(),
            start: at,
            stage: Stage::Admit,
            entered: at,
            ended: false,
        }
    }

    /// The connection goes on to `stage`; the time since the last call belongs to the one before.
    pub(super) fn enter(&mut self, stage: Stage) {
        let now = Instant::now();
        let spent = now - self.entered;
        if let Some(time) = self.record.stages.get_mut(self.stage as usize) {
            *time = Some(time.unwrap_or_default() + spent);
        }
        self.stage = stage;
        self.entered = now;
    }

    pub(super) fn sni(&mut self, name: &str) {
        self.record.sni = Some(name.into());
    }

    pub(super) fn route(&mut self, route: &Route) {
        self.record.route = Some(Arc::clone(&route.name));
        self.record.mode = Some(route.mode.word());
        self.record.upstream = Some(Arc::clone(&route.upstream.origins.name));
    }

    /// The client's handshake is done.
    pub(super) fn client_tls(&mut self, facts: TlsFacts) {
        self.counts.handshake(&facts);
        self.record.tls = Some(Box::new(facts));
    }

    pub(super) fn client_cert(&mut self, facts: Option<CertificateFacts>) {
        self.record.client_cert = facts.map(Box::new);
    }

    /// The origin that is tried, and its address once a name has been looked up.
    pub(super) fn origin(&mut self, origin: &Origin, address: Option<&Address>) {
        self.record.origin = Some(Arc::clone(&origin.name));
        self.record.origin_address = match address {
            Some(Address::Ip(address)) => Some(*address),
            Some(Address::Host(..) | Address::Unix(_)) | None => None,
        };
    }

    pub(super) fn origin_local(&mut self, socket: &Socket) {
        self.record.origin_local = self.log.is_open().then(|| socket.local()).flatten();
    }

    pub(super) fn origin_tls(&mut self, facts: TlsFacts) {
        self.record.origin_tls = Some(Box::new(facts));
    }

    /// The count of bytes, which the relay keeps up to date.
    pub(super) const fn traffic(&mut self) -> &mut Traffic {
        &mut self.traffic
    }

    /// The connection is established.
    pub(super) fn opened(&mut self) {
        self.sum_up();
        self.log.opened(&self.record);
    }

    /// The connection has ended. Only the first call counts.
    pub(super) fn end(&mut self, reason: Reason, detail: Option<String>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let stage = self.stage;
        self.enter(stage);
        self.sum_up();
        let AccessRecord {
            route,
            bytes_up,
            bytes_down,
            ..
        } = &*self.record;
        self.counts
            .end(route.as_deref(), reason, *bytes_up, *bytes_down);
        let outcome = Outcome {
            stage,
            reason,
            detail,
        };
        self.log.closed(&self.record, &outcome);
    }

    fn sum_up(&mut self) {
        self.record.bytes_up = self.traffic.up;
        self.record.bytes_down = self.traffic.down;
        self.record.total = self.start.elapsed();
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end(Reason::InternalPanic, None);
        } else {
            // Only the end of the process drops a connection in the middle of its life.
            self.end(Reason::Drain, None);
        }
    }
}

/// One half tells processes apart, the other counts.
fn next_id() -> u64 {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| {
        let mut seed = [0; 4];
        // Without randomness the identifiers still tell connections of this process apart.
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
    use crate::leg::TcpOptions;
    use crate::observe::access_log::AccessLogSettings;
    use crate::observe::format::Format;
    use crate::observe::sink::Output;
    use crate::route::RouteTable;
    use crate::snapshot::Protocol;

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
            },
            fast_open: false,
            certificates: Vec::new(),
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

    /// Promise 6: a panic ends its connection alone, by a reset, and is one outcome like any other.
    #[tokio::test]
    async fn promise_6_a_panic_ends_one_connection_by_a_reset_and_is_recorded_once() {
        let file = std::env::temp_dir().join(format!("reseal-panic-{}.log", std::process::id()));
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
        std::fs::remove_file(&file).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains(r#""stage":"relay","fault":"proxy","reason":"internal_panic""#),
            "{text}"
        );
    }
}
