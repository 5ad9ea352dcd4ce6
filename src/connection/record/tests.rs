//! The record of a connection that panics.

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::observe::access_log::AccessLogSettings;
use crate::observe::format::Format;
use crate::observe::sink::Output;
use crate::route::RouteTable;
use crate::snapshot::Protocol;
use crate::transport::{Socket, TcpOptions};

fn endpoint() -> Endpoint {
    Endpoint {
        name: "edge".into(),
        listen: Vec::new(),
        negotiate: None,
        protocol: Protocol::Tcp,
        sniff: Duration::ZERO,
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
        pending: Vec::new(),
        accept_proxy_protocol: None,
        sources: None,
        limits: None,
        hello_timeout: Duration::from_secs(1),
        client_timeout: Duration::from_secs(1),
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
        every: None,
        probes: None,
        refused: None,
        syslog: None,
        otlp: None,
    };
    let log = AccessLog::open(&settings).unwrap();
    let (socket, mut client) = pair().await;
    let task = tokio::spawn({
        let log = log.clone();
        async move {
            let (failures, openings) = (FailureShard::default(), Arc::default());
            let places = Places {
                log: &log,
                failures: &failures,
                openings: &openings,
            };
            let mut recorder = Recorder::new(
                places,
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
