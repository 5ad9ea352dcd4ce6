//! The permits that a client needs for a handshake and for a large ClientHello.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::admission::{ClientSource, Gate, GatePermit};
use crate::outcome::{Failure, Reason};
use crate::tls::handshake::AwaitPeer;
use crate::tls::hello::HELLO_SMALL;
use crate::transport::Socket;

/// How long a handshake keeps its permit while it waits for the client: longer than its round trips and a
/// lost packet take, so that few clients have to queue twice, but too short to hoard permits by trickling.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// How many large hellos may be read at once. Each takes up to 135 KiB, so this bounds their memory; few
/// clients send one.
pub(super) const LARGE_HELLOS: usize = 256;

/// Waits for a permit of `gate` until `deadline`.
pub(super) async fn enter(
    gate: &Gate,
    source: ClientSource,
    deadline: Instant,
) -> Result<GatePermit, Failure> {
    let permit = timeout_at(deadline, gate.enter(source)).await;
    permit.map_err(|_| Reason::LimitHandshakes.into())
}

/// A client in its handshake, with its permit. Permits bound the work under way: a slow client returns its
/// permit, keeps the state of its handshake, and waits for another permit when it continues.
pub(super) struct Handshaking<'a> {
    gate: &'a Gate,
    source: ClientSource,
    permit: Option<GatePermit>,
    hold_until: Instant,
    /// Whether the client has continued and waits for a permit.
    pub(super) is_queued: bool,
}

impl<'a> Handshaking<'a> {
    pub(super) fn new(gate: &'a Gate, source: ClientSource, permit: GatePermit) -> Self {
        Self {
            gate,
            source,
            permit: Some(permit),
            hold_until: Instant::now() + HOLD_MAX,
            is_queued: false,
        }
    }
}

impl AwaitPeer for Handshaking<'_> {
    async fn readable(&mut self, socket: &Socket, retained: usize) -> io::Result<()> {
        if let Ok(readable) = timeout_at(self.hold_until, socket.readable()).await {
            return readable;
        }
        // An incomplete message takes up to 64 KiB; the client keeps its permit then, to bound their number.
        if retained <= HELLO_SMALL {
            self.permit = None;
        }
        socket.readable().await?;
        if self.permit.is_none() {
            self.is_queued = true;
            self.permit = Some(self.gate.enter(self.source).await);
            self.is_queued = false;
        }
        Ok(())
    }
}
