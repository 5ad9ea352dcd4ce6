//! The deadlines of a request, on a paused clock.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::auth::{Auth, Peer};
use super::dashboard::Feed;
use super::permits::ConnPermits;
use super::refused::RefusedRequests;
use super::request::{Handle, channel};
use super::serve::{AdminService, DrainedEndpoints, PendingCertificates, Probes};
use crate::observe::metrics::Metrics;
use crate::phase::Phase;

const DEADLINE: Duration = Duration::from_secs(5);

/// A client of a listener that serves metrics and commands.
fn client() -> DuplexStream {
    let (client, stream) = duplex(1024);
    tokio::spawn(async move {
        let (control, _requests) = channel();
        serve(stream, control, None).await;
    });
    client
}

/// Serves one connection of a listener.
async fn serve(stream: DuplexStream, control: Handle, feed: Option<Feed>) {
    let (_drained, drained) = watch::channel(DrainedEndpoints::default());
    let (_pending, pending) = watch::channel(PendingCertificates::default());
    let (_phases, phases) = watch::channel(Phase::Run);
    let service = AdminService {
        auth: Auth::Open,
        probes: Probes {
            drained,
            pending,
            metrics: Arc::new(Metrics::new(1, Vec::new(), Vec::new())),
            phases,
            traces: Arc::default(),
        },
        control: Some(control),
        feed,
        refused: RefusedRequests::new(),
    };
    let permit = ConnPermits::new("connections to a listener").take().await;
    service.serve(stream, &permit, &Peer::Unix(None)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_trickles_in_is_closed_at_its_deadline() {
    let start = Instant::now();
    let (mut answer, mut request) = tokio::io::split(client());
    let trickle = async {
        let head = b"GET /metrics HTTP/1.1\r\nX: ".iter().copied();
        for byte in head.chain(std::iter::repeat(b'y')) {
            if request.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    let closed = async {
        answer.read_to_end(&mut Vec::new()).await.unwrap();
        start.elapsed()
    };
    let (lasted, ()) = tokio::join!(closed, trickle);
    assert!(lasted >= DEADLINE && lasted < DEADLINE * 2, "{lasted:?}");
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_request_is_closed_at_its_deadline() {
    for (begun, status) in [
        ("GET /status HTTP/1.1\r\nHost: x\r\nX-", ""),
        (
            "POST /reload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{",
            "HTTP/1.1 408 ",
        ),
    ] {
        let start = Instant::now();
        let mut client = client();
        client.write_all(begun.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        let lasted = start.elapsed();
        assert!(lasted >= DEADLINE && lasted < DEADLINE * 2, "{lasted:?}");
        assert!(answer.starts_with(status), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_closed_after_a_second() {
    let start = Instant::now();
    let permit = ConnPermits::new("connections to a listener").take().await;
    let first_byte = permit.sends_first_byte(std::future::pending()).await;
    assert_eq!(first_byte, None);
    assert_eq!(start.elapsed().as_secs(), 1);
}

/// A page that has asked for its events, and the task that serves it.
async fn page() -> (DuplexStream, JoinHandle<()>) {
    let (mut client, stream) = duplex(1024);
    let served = tokio::spawn(async move {
        let (control, mut received) = channel();
        tokio::spawn(async move {
            let mut n = 0;
            while let Some(pending) = received.requests.recv().await {
                n += 1;
                let answer = json!({ "n": n, "text": "x".repeat(4096) });
                let _ = pending.reply.send(Ok(answer));
            }
        });
        let feed = Feed::start(control.clone());
        serve(stream, control, Some(feed)).await;
    });
    let request = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.write_all(request).await.unwrap();
    (client, served)
}

#[tokio::test(start_paused = true)]
async fn a_page_that_reads_nothing_is_dropped() {
    let start = Instant::now();
    let (_client, served) = page().await;
    served.await.unwrap();
    let lasted = start.elapsed().as_secs();
    assert!((10..20).contains(&lasted), "{lasted}");
}

#[tokio::test(start_paused = true)]
async fn a_page_that_reads_is_served_for_a_quarter_of_an_hour() {
    let start = Instant::now();
    let (mut client, served) = page().await;
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    served.await.unwrap();
    let lasted = start.elapsed().as_secs();
    assert!((900..910).contains(&lasted), "{lasted}");
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.matches("event: status").count() > 800);
}
