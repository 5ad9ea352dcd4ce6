//! Closing both sockets of a relay so that each peer sees how the other one ended.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::end::RelayEnd;
use super::side::Side;
use super::state::Relay;
use crate::phase::{self, PhaseRx};
use crate::transport::Transport;

/// How long the final flush may take before a reset that Reseal decides on.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// The final flush before a reset that is passed on may take `half_close`; without that limit, this long.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(60);

/// The rest of a relay that did not end cleanly: it delivers the bytes already read and then resets both
/// sides.
pub struct Teardown {
    relay: Box<Relay>,
    to_client: Duration,
    to_origin: Duration,
}

impl Teardown {
    /// Closes the sockets at once after a clean end; nothing remains to be sent then.
    pub(super) fn new(relay: Box<Relay>, end: &RelayEnd) -> Option<Self> {
        let left = relay
            .deadlines
            .limits
            .lifetime
            .map(|at| at.saturating_duration_since(Instant::now()));
        let longest = relay
            .deadlines
            .limits
            .half_close
            .unwrap_or(FLUSH_TIME_MAX)
            .min(left.unwrap_or(Duration::MAX))
            .max(FLUSH_TIME);
        let (to_client, to_origin) = match end {
            RelayEnd::Clean => {
                relay.client.socket.close();
                relay.origin.socket.close();
                return None;
            }
            RelayEnd::Reset(side, ..)
            | RelayEnd::Truncated(side, _)
            | RelayEnd::Failed(side, _) => match side {
                Side::Client => (FLUSH_TIME, longest),
                Side::Origin => (longest, FLUSH_TIME),
            },
            _ => (FLUSH_TIME, FLUSH_TIME),
        };
        Some(Self {
            relay,
            to_client,
            to_origin,
        })
    }

    /// Flushes and resets. If the process aborts its connections meanwhile, the flush is shortened.
    pub async fn run(self, phases: &mut PhaseRx) {
        let Relay {
            client,
            origin,
            up,
            down,
            ..
        } = *self.relay;
        let mut to_client = FinalFlush::new(client, down.into_pending(), self.to_client);
        let mut to_origin = FinalFlush::new(origin, up.into_pending(), self.to_origin);
        tokio::select! {
            biased;
            () = async { tokio::join!(to_client.deliver(), to_origin.deliver()); } => return,
            () = phase::aborted(phases) => {}
        }
        to_client.shorten();
        to_origin.shorten();
        tokio::join!(to_client.deliver(), to_origin.deliver());
    }
}

/// One side and the bytes it has yet to be sent. The socket is reset on drop.
struct FinalFlush {
    transport: Transport,
    pending: Vec<u8>,
    sent: usize,
    deadline: Instant,
}

impl FinalFlush {
    fn new(transport: Transport, pending: Vec<u8>, limit: Duration) -> Self {
        Self {
            transport,
            pending,
            sent: 0,
            deadline: Instant::now() + limit,
        }
    }

    fn shorten(&mut self) {
        self.deadline = self.deadline.min(Instant::now() + FLUSH_TIME);
    }

    /// Cancel-safe: called again, it continues after the last byte sent.
    async fn deliver(&mut self) {
        while self.sent < self.pending.len() {
            let rest = &self.pending[self.sent..];
            match timeout_at(self.deadline, self.transport.socket.write(rest)).await {
                Ok(Ok(sent)) if sent > 0 => self.sent += sent,
                _ => return,
            }
        }
        self.transport.socket.delivered(self.deadline).await;
    }
}
