//! Connects to one of the addresses of an origin: to the next one every 250 ms, until one connects (RFC
//! 8305).

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Dial;
use crate::connection::record::Recorder;
use crate::outcome::{OriginRefusal, Stage};
use crate::transport::Transport;
use crate::upstream::{Address, Pick, PickRequest, Pool};

/// How long the addresses that are being connected to have before another one is tried, too (RFC 8305
/// section 5, "Connection Attempt Delay").
const CONNECTION_ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// An address that is being connected to.
struct Attempt<F> {
    /// `None` for the address that was picked first.
    pick: Option<Pick>,
    connecting: Pin<Box<F>>,
}

impl Dial<'_> {
    /// Connects to `picked` and, as long as no address of its name has connected, to another one every
    /// 250 ms, or when one has failed. The first connection wins, and `picked` is set to its address. A
    /// failure is that of the last address; the others are counted here.
    pub(super) async fn connect_to_one(
        &self,
        pool: &Arc<Pool>,
        request: &mut PickRequest,
        picked: &mut Pick,
        deadline: Instant,
        record: &mut Recorder<'_>,
    ) -> Result<Transport, OriginRefusal> {
        let origin = Arc::clone(&picked.origin);
        if !origin.address.is_name() {
            let address = picked.address.clone();
            return self.connect(&origin, address, deadline).await;
        }
        let connect =
            |address: &Address| Box::pin(self.connect(&origin, address.clone(), deadline));
        let mut running = vec![Attempt {
            pick: None,
            connecting: connect(&picked.address),
        }];
        let mut started = request.clone();
        let mut next = Some(Instant::now() + CONNECTION_ATTEMPT_DELAY);
        loop {
            let ended = poll_fn(|cx| poll_any(&mut running, cx));
            let waiting = async {
                match next {
                    Some(next) => timeout_at(next, ended).await.ok(),
                    // Each attempt ends at the deadline.
                    None => Some(ended.await),
                }
            };
            let Some((index, connected)) = waiting.await else {
                let other = pool.alternate_address(&started, picked);
                next = other
                    .as_ref()
                    .map(|_| Instant::now() + CONNECTION_ATTEMPT_DELAY);
                if let Some(pick) = other {
                    started.tried(pick.slot.origin_id());
                    let connecting = connect(&pick.address);
                    running.push(Attempt {
                        pick: Some(pick),
                        connecting,
                    });
                }
                continue;
            };
            let pick = running.swap_remove(index).pick;
            let refusal = match connected {
                Err(refusal) if !running.is_empty() => refusal,
                last => {
                    if let Some(pick) = pick {
                        *picked = pick;
                    }
                    return last;
                }
            };
            let failed = pick.as_ref().unwrap_or(picked);
            record.attempt_failed(&failed.origin, &failed.address, &refusal.failure, true);
            self.note_failure(failed, &refusal, Stage::Connect);
            request.tried(failed.slot.origin_id());
            next = next.map(|_| Instant::now());
        }
    }
}

/// The first attempt that has ended, by its index, and how.
fn poll_any<F: Future>(
    running: &mut [Attempt<F>],
    cx: &mut Context<'_>,
) -> Poll<(usize, F::Output)> {
    for (index, attempt) in running.iter_mut().enumerate() {
        if let Poll::Ready(ended) = attempt.connecting.as_mut().poll(cx) {
            return Poll::Ready((index, ended));
        }
    }
    Poll::Pending
}
