//! Configurations and connections for the tests of the parts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admission::LimitScopes;
use crate::config::compile::{Files, LoadOptions, Purpose};
use crate::config::load::Source;
use crate::connection::ConnInfo;
use crate::connection::progress::Progress;
use crate::connection::table::{ConnGuard, ConnTable};
use crate::connection::traffic::CountedTraffic;
use crate::control::listeners::Listeners;
use crate::control::origins::Origins;
use crate::control::reload::Reloader;
use crate::control::reload::commit::ReloadTargets;
use crate::control::reload::prepare::{ActiveConfig, StartupSettings};
use crate::control::reload::watch::WatchSet;
use crate::control::sd_notify::Notifier;
use crate::control::shutdown::Shutdown;
use crate::health::Checks;
use crate::observe::access_log::{AccessRecord, Client, StageTimes};
use crate::observe::metrics::Metrics;
use crate::outcome::WouldRefuse;
use crate::phase::Phase;
use crate::sandbox::Sandbox;
use crate::snapshot::Live;
use crate::tls::sessions::Sessions;
use crate::upstream::Upstreams;
use crate::worker::Workers;

/// One endpoint, `edge`, with one route to the origin `one` of the upstream `up`.
pub(super) const CONFIGURATION: &str = "
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    protocol: tcp
    routes: [{ name: all, mode: forward, upstream: up }]
upstreams:
  up: { origins: [{ name: one, address: \"127.0.0.1:9\" }] }
";

/// The parts of a process, without workers and without the control loop.
pub(super) struct Parts {
    pub(super) live: Arc<Live>,
    pub(super) table: Arc<ConnTable<ConnInfo>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) listeners: Listeners,
    pub(super) origins: Origins,
    pub(super) reloads: Reloader,
    pub(super) shutdown: Shutdown,
}

impl Parts {
    /// The parts for [`CONFIGURATION`].
    pub(super) fn new() -> Self {
        Self::of(Source::Text {
            text: CONFIGURATION.to_owned(),
            path: "test.yaml".into(),
            dir: PathBuf::new(),
        })
    }

    /// The parts for the configuration of a source.
    pub(super) fn of(source: Source) -> Self {
        let sessions = Arc::new(Sessions::default());
        let options = LoadOptions::first(Files::Read, Purpose::Serve, &sessions);
        let mut loaded = source.load(options).unwrap();
        let snapshot = loaded.snapshot.take().unwrap();
        let running = ActiveConfig {
            fixed: Arc::new(StartupSettings::of(&snapshot, &loaded)),
            source,
            loaded: Arc::new(loaded),
            sessions,
            tickets: Vec::new(),
            sandbox: Arc::new(Sandbox::off()),
        };
        let metrics = Arc::new(Metrics::new(1, Vec::new(), Vec::new()));
        let table = Arc::default();
        let watch_set = watch::Sender::new(WatchSet::of(&running, &snapshot));
        let live = Arc::new(Live::new(snapshot));
        let origins = Origins {
            upstreams: Arc::new(Upstreams::new(Handle::current()).0),
            checks: Checks::new(Handle::current()),
            live: Arc::clone(&live),
            table: Arc::clone(&table),
            metrics: Arc::clone(&metrics),
        };
        origins.apply(&live.load());
        let targets = ReloadTargets {
            live: Arc::clone(&live),
            table: Arc::clone(&table),
            metrics: Arc::clone(&metrics),
            workers: Workers::new(&[]).0,
            watch_set,
            limits: Arc::new(LimitScopes::new(1)),
            admin: None,
        };
        let phase = watch::Sender::new(Phase::Run);
        Self {
            live,
            listeners: Listeners::new(Arc::default()),
            origins,
            reloads: Reloader::new(running, targets, Notifier::default()),
            shutdown: Shutdown::new(phase, Arc::clone(&table), Arc::default()),
            table,
            metrics,
        }
    }
}

/// Enters an established connection of `edge` to the origin `one`.
pub(super) fn connection(table: &Arc<ConnTable<ConnInfo>>, id: u64) -> ConnGuard<ConnInfo> {
    let record = AccessRecord {
        time: SystemTime::now(),
        id,
        endpoint: "edge".into(),
        client: Client::Ip((Ipv4Addr::LOCALHOST, 1000).into()),
        peer: None,
        local: None,
        sni: None,
        ja4: None,
        tls: None,
        client_cert: None,
        route: Some("all".into()),
        mode: Some("forward"),
        upstream: Some("up".into()),
        origin: Some("one".into()),
        origin_address: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9)).into()),
        origin_local: None,
        origin_tls: None,
        would_refuse: WouldRefuse::default(),
        stages: StageTimes::default(),
        total: Duration::ZERO,
    };
    table.enter(ConnInfo {
        record,
        identity: None,
        generation: 0,
        checked: AtomicU64::new(0),
        revoked: AtomicU64::new(0),
        verifier: AtomicU64::new(0),
        counted: CountedTraffic::default(),
        progress: Progress::new(Instant::now()),
        is_denial_logged: AtomicBool::new(false),
    })
}
