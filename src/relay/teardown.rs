//! Ending both sockets of a relay as honestly as the end was.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Relay, RelayEnd, Side};
use crate::phase::{self, PhaseRx};
use crate::transport::Transport;

/// How long what was already read may take to be sent before a reset that we decide.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// A reset that is passed on waits for `half_close`; without that limit, for this long.
const UNLIMITED: Duration = Duration::from_secs(60);

/// What is left to do after a relay that did not end cleanly: what was already read is delivered, and
/// then both sides are reset.
pub struct Teardown {
    relay: Box<Relay>,
    to_client: Duration,
    to_origin: Duration,
}

impl Teardown {
    /// After a clean end there is nothing left to say, and the sockets are closed at once.
    pub(super) fn new(relay: Box<Relay>, end: &RelayEnd) -> Option<Self> {
        let left = relay
            .limits
            .lifetime
            .map(|at| at.saturating_duration_since(Instant::now()));
        let longest = relay
            .limits
            .half_close
            .unwrap_or(UNLIMITED)
            .min(left.unwrap_or(Duration::MAX))
            .max(LAST_BYTES);
        let (to_client, to_origin) = match end {
            RelayEnd::Clean => {
                relay.client.socket.close();
                relay.origin.socket.close();
                return None;
            }
            RelayEnd::Reset(side, ..)
            | RelayEnd::Truncated(side, _)
            | RelayEnd::Failed(side, _) => match side {
                Side::Client => (LAST_BYTES, longest),
                Side::Origin => (longest, LAST_BYTES),
            },
            _ => (LAST_BYTES, LAST_BYTES),
        };
        Some(Self {
            relay,
            to_client,
            to_origin,
        })
    }

    /// Does it. When connections are to be cut meanwhile, the limit is that of a cut.
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

/// One side, with what it is still to be sent. It is reset when this is dropped.
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
        self.deadline = self.deadline.min(Instant::now() + LAST_BYTES);
    }

    /// Can be given up and begun again: what was sent is not sent twice.
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
