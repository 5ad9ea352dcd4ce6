//! The stream of events of one open page, as the body of a response.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::sleep;

use crate::sync::Mutex;

/// From the end of a stream to that of its connection: what is left has to fit into the socket.
const GRACE: Duration = Duration::from_secs(1);

/// The events of one page. It ends when the feed drops its sender.
#[derive(Debug)]
pub(in crate::admin) struct EventStream {
    pub(super) events: mpsc::Receiver<Bytes>,
    pub(super) _room: OwnedSemaphorePermit,
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.events.poll_recv(context);
        next.map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Whether a connection carries a stream, which lasts longer than another response.
#[derive(Debug, Default)]
pub(in crate::admin) struct StreamState {
    begun: Notify,
    /// Ends when the feed gives the page up.
    feed: Mutex<Option<oneshot::Receiver<()>>>,
}

impl StreamState {
    /// The response is a stream.
    pub(in crate::admin) fn begin(&self, feed: oneshot::Receiver<()>) {
        *self.feed.lock() = Some(feed);
        self.begun.notify_one();
    }

    /// Waits for the end of the time that a connection has: `whole` for an ordinary response, and for a
    /// stream, until the feed has given it up.
    pub(in crate::admin) async fn deadline(&self, whole: Duration) {
        tokio::select! {
            () = sleep(whole) => return,
            () = self.begun.notified() => {}
        }
        let feed = self.feed.lock().take();
        if let Some(feed) = feed {
            // An error: that is how it ends.
            let _ = feed.await;
        }
        sleep(GRACE).await;
    }
}
