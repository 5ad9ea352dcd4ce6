//! How the relay handles ends that cross, with real sockets and a paused clock.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep_until};

use super::{ConnHandle, Limits, Loss, OnTruncation, Relay, RelayEnd, Side};
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
        let (to_client, client) = connected().await;
        let (to_origin, origin) = connected().await;
        let limits = Limits {
            idle: None,
            half_close: None,
            lifetime: None,
            client_truncation: OnTruncation::Reset,
            origin_truncation: OnTruncation::Reset,
        };
        let mut scene = Self {
            relay: Relay::new(to_client, to_origin, limits),
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
