//! How the relay handles ends that cross, with real sockets and a paused clock.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep_until};

use super::direction::poll_again;
use super::{ConnHandle, Delay, Limits, Loss, OnTruncation, Pace, Relay, RelayEnd, Side};
use crate::bandwidth::{ByteRate, Flow, Rates, RouteBandwidth, Way};
use crate::transport::{Socket, Transport};

/// A connection, with our end of it as a transport.
async fn connected() -> (Transport, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    (Transport::plain(Socket::from(ours)), peer)
}

/// A relay whose client and origin can be made to act, polled by hand.
struct Scene {
    relay: Relay,
    handle: ConnHandle,
    client: TcpStream,
    origin: Option<TcpStream>,
}

impl Scene {
    /// After a request and its answer.
    async fn answered() -> Self {
        Self::answered_within(None, None).await
    }

    /// The same with these limits.
    async fn answered_within(idle: Option<Duration>, half_close: Option<Duration>) -> Self {
        let (to_client, client) = connected().await;
        let (to_origin, origin) = connected().await;
        let limits = Limits {
            idle,
            half_close,
            lifetime: None,
            client_truncation: OnTruncation::Reset,
            origin_truncation: OnTruncation::Reset,
        };
        let mut scene = Self {
            relay: Relay::new(to_client, to_origin, limits, [None, None]),
            handle: ConnHandle::default(),
            client,
            origin: Some(origin),
        };
        scene.client.write_all(b"get").await.unwrap();
        scene.origin().write_all(b"answer").await.unwrap();
        while (scene.relay.up.moved(), scene.relay.down.moved()) != (3, 6) {
            assert!(scene.poll().await.is_none());
        }
        scene.client.read_exact(&mut [0; 6]).await.unwrap();
        scene.origin().read_exact(&mut [0; 3]).await.unwrap();
        scene
    }

    fn origin(&mut self) -> &mut TcpStream {
        self.origin.as_mut().unwrap()
    }

    /// Polls once, after the runtime has polled its sockets.
    async fn poll(&mut self) -> Option<RelayEnd> {
        yield_now().await;
        let mut timer = std::pin::pin!(sleep_until(Instant::now() + Duration::from_secs(3600)));
        poll_fn(|cx| {
            Poll::Ready(match self.relay.poll(cx, timer.as_mut(), &self.handle) {
                Poll::Ready(end) => Some(end),
                Poll::Pending => None,
            })
        })
        .await
    }

    /// The client sends a final message, which makes the origin reset; the relay has noticed.
    async fn origin_resets_after_a_final_message(&mut self) {
        self.client.write_all(b"bye").await.unwrap();
        while self.relay.up.moved() != 6 {
            assert!(self.poll().await.is_none());
        }
        let origin = self.origin.take().unwrap();
        origin.set_zero_linger().unwrap();
        drop(origin);
        while !self.relay.down.has_aborted() {
            assert!(self.poll().await.is_none());
        }
    }

    /// The client sends until the origin, which does not read, takes no more; and then until our kernel takes
    /// no more, so that not even its end gets through.
    async fn upload_that_nobody_reads(&mut self) {
        self.upload_while(|_| true).await;
    }

    /// The origin sends until the client, which does not read, leaves more in our kernel's queue than an
    /// acknowledgement that is delayed.
    async fn answer_that_nobody_reads(&mut self) {
        while self.relay.client.socket.undelivered() < 1 << 18 {
            let _ = self.origin().try_write(&[0; 1 << 12]);
            assert!(self.poll().await.is_none());
        }
        assert!(!self.relay.down.has_pending());
    }

    async fn upload_while(&mut self, sends: impl Fn(&Relay) -> bool) {
        let mut quiet = 0;
        while quiet < 100 {
            let moved = self.relay.up.moved();
            let sent = sends(&self.relay) && self.client.try_write(&[0; 1 << 16]).is_ok();
            assert!(self.poll().await.is_none());
            let is_quiet = !sent && self.relay.up.moved() == moved;
            quiet = if is_quiet { quiet + 1 } else { 0 };
        }
        assert!(self.relay.up.has_pending());
    }

    /// Runs to the end, on a clock that jumps to the next timer. Returns how it ended, and when.
    async fn run(self) -> (RelayEnd, Duration, TcpStream) {
        let start = Instant::now();
        let (end, _) = Box::new(self.relay).run(&self.handle).await;
        (end, start.elapsed(), self.origin.unwrap())
    }

    /// Resets the client after some milliseconds, while nothing moves, and runs to the end. Returns how long
    /// the end comes after the reset.
    async fn time_from_reset_to_end(self, moment: u64) -> Duration {
        let (relay, client) = (Box::new(self.relay), self.client);
        let reset = async move {
            tokio::time::sleep(Duration::from_millis(moment)).await;
            client.set_zero_linger().unwrap();
            drop(client);
            Instant::now()
        };
        let relayed = async {
            let (end, _) = relay.run(&self.handle).await;
            (end, Instant::now())
        };
        let ((end, told), reset) = tokio::join!(relayed, reset);
        assert!(
            matches!(end, RelayEnd::Reset(Side::Client, _, Loss::Possible)),
            "{end:?}"
        );
        told - reset
    }

    async fn end(&mut self) -> RelayEnd {
        loop {
            if let Some(end) = self.poll().await {
                return end;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_origins_reset_that_overtakes_its_clients_end_loses_nothing() {
    let mut scene = Scene::answered().await;
    scene.origin_resets_after_a_final_message().await;
    assert!(scene.poll().await.is_none());
    scene.client.shutdown().await.unwrap();
    let end = scene.end().await;
    assert!(
        matches!(end, RelayEnd::Reset(Side::Origin, _, Loss::None)),
        "{end:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_origins_reset_while_its_client_stays_open_may_lose_an_answer() {
    let mut scene = Scene::answered().await;
    scene.origin_resets_after_a_final_message().await;
    assert!(scene.poll().await.is_none());
    advance(super::state::CLIENT_END_WAIT * 2).await;
    let end = scene.end().await;
    assert!(
        matches!(end, RelayEnd::Reset(Side::Origin, _, Loss::Possible)),
        "{end:?}"
    );
}

const IDLE: Duration = Duration::from_secs(8);
const HALF_CLOSE: Duration = Duration::from_secs(1);

/// What a timer of milliseconds, and the time that the sockets take on the jumping clock, may add.
const SLACK: Duration = Duration::from_millis(200);

#[tokio::test(start_paused = true)]
async fn a_clients_reset_is_seen_within_half_close_while_its_origin_does_not_read() {
    let mut scene = Scene::answered_within(Some(IDLE), Some(HALF_CLOSE)).await;
    scene.upload_that_nobody_reads().await;
    scene.client.set_zero_linger().unwrap();
    let (_, another) = connected().await;
    drop(std::mem::replace(&mut scene.client, another));
    let (end, after, _origin) = scene.run().await;
    assert!(
        matches!(end, RelayEnd::Reset(Side::Client, _, Loss::Possible)),
        "{end:?}"
    );
    assert!(after <= HALF_CLOSE + SLACK, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_reset_client_has_not_taken_does_not_delay_the_news_of_its_reset() {
    for has_answer in [false, true] {
        // The reset comes at several moments between two looks at the sockets.
        for moment in [0, 100, 400, 600, 900, 1100, 3300] {
            let mut scene = Scene::answered_within(Some(10 * IDLE), Some(HALF_CLOSE)).await;
            if has_answer {
                scene.answer_that_nobody_reads().await;
            }
            scene.upload_that_nobody_reads().await;
            let after = scene.time_from_reset_to_end(moment).await;
            assert!(after <= HALF_CLOSE + SLACK, "{moment}: {after:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clients_end_counts_while_its_origin_does_not_read() {
    let mut scene = Scene::answered_within(Some(IDLE), Some(HALF_CLOSE)).await;
    scene.upload_while(|relay| !relay.up.has_pending()).await;
    scene.client.shutdown().await.unwrap();
    let (end, after, _origin) = scene.run().await;
    assert!(matches!(end, RelayEnd::Undelivered), "{end:?}");
    assert!(after <= HALF_CLOSE + SLACK, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn idle_is_reached_once_while_a_peer_does_not_read() {
    let mut scene = Scene::answered_within(Some(IDLE), Some(HALF_CLOSE)).await;
    scene.upload_that_nobody_reads().await;
    let (end, after, _origin) = scene.run().await;
    assert!(matches!(end, RelayEnd::Idle), "{end:?}");
    assert!(after >= IDLE - SLACK && after <= IDLE + SLACK, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_bytes_from_the_kernel_is_not_idle() {
    let mut scene = Scene::answered_within(Some(IDLE), None).await;
    scene.upload_that_nobody_reads().await;
    let (relay, handle) = (Box::new(scene.relay), scene.handle);
    let mut origin = scene.origin.take().unwrap();
    let client = scene.client;
    let slow = async move {
        // Each pause is shorter than `idle`, all of them together are longer.
        let mut buffer = vec![0; 1 << 21];
        for _ in 0..3 {
            tokio::time::sleep(IDLE * 3 / 4).await;
            origin.read_exact(&mut buffer).await.unwrap();
        }
        client.set_zero_linger().unwrap();
        drop(client);
        origin
    };
    let ((end, _), _origin) = tokio::join!(relay.run(&handle), slow);
    assert!(matches!(end, RelayEnd::Reset(..)), "{end:?}");
}

/// A relay in bulk is ready at each poll. Between two of its turns the worker looks for events.
#[tokio::test]
async fn a_busy_relay_delays_the_events_of_others_by_one_turn() {
    let (mut other, peer) = connected().await;
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let reader = tokio::spawn(async move {
        let mut bytes = Vec::new();
        other.socket.read_onto(&mut bytes, 1).await.unwrap();
        assert_eq!(bytes, b"x");
        counted.load(Ordering::Relaxed)
    });
    let relay = tokio::spawn(poll_fn(move |cx| {
        poll_again(cx);
        match turns.fetch_add(1, Ordering::Relaxed) {
            5 => assert_eq!(peer.try_write(b"x").unwrap(), 1),
            100 => return Poll::Ready(()),
            _ => {}
        }
        Poll::Pending
    }));
    relay.await.unwrap();
    let seen = reader.await.unwrap();
    assert!(seen <= 8, "{seen} turns");
}

/// The reset may come between the reads of the two directions of one turn.
#[tokio::test]
async fn a_final_message_to_a_client_that_has_reset_is_no_loss_though_it_is_read_first() {
    let mut scene = Scene::answered().await;
    let client = std::mem::replace(&mut scene.client, connected().await.1);
    client.set_zero_linger().unwrap();
    drop(client);
    scene.origin().write_all(&[0; 500]).await.unwrap();
    let moved = scene.relay.down.moved();
    while scene.relay.down.moved() == moved {
        yield_now().await;
        poll_fn(|cx| {
            let relay = &mut scene.relay;
            let Relay {
                client,
                origin,
                up,
                down,
                ..
            } = relay;
            down.poll(cx, origin, client, up);
            Poll::Ready(())
        })
        .await;
    }
    loop {
        match scene.poll().await {
            None => {}
            Some(RelayEnd::Reset(Side::Client, _, loss)) => {
                assert_eq!(loss, Loss::None);
                return;
            }
            Some(end) => panic!("{end:?}"),
        }
    }
}

/// Each byte waits for longer than the limits of time allow without progress.
#[tokio::test(start_paused = true)]
async fn bytes_that_wait_for_their_share_are_neither_idle_nor_late() {
    let (to_client, mut client) = connected().await;
    let (to_origin, mut origin) = connected().await;
    let bandwidth = RouteBandwidth::default();
    let rates = Rates {
        route: ByteRate::new(1),
        connection: None,
    };
    bandwidth.set(Way::Down, rates, false);
    let pace = Pace::new(Some(Flow::new(&bandwidth, Way::Down)), Delay::default());
    let limits = Limits {
        idle: Some(Duration::from_millis(700)),
        half_close: Some(Duration::from_millis(500)),
        lifetime: None,
        client_truncation: OnTruncation::Reset,
        origin_truncation: OnTruncation::Reset,
    };
    origin.write_all(b"answer").await.unwrap();
    origin.shutdown().await.unwrap();
    client.shutdown().await.unwrap();
    let start = Instant::now();
    let relay = Box::new(Relay::new(to_client, to_origin, limits, [None, pace]));
    let handle = ConnHandle::default();
    let mut answer = Vec::new();
    let ((end, _), read) = tokio::join!(relay.run(&handle), client.read_to_end(&mut answer));
    read.unwrap();
    assert!(matches!(end, RelayEnd::Clean), "{end:?}");
    assert_eq!(answer, b"answer");
    assert_eq!(
        start.elapsed().as_secs(),
        5,
        "the first one is there at once"
    );
}
