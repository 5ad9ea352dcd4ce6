//! The permits that a client needs before its work is done: for a handshake, and for a large ClientHello.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::admission::{Gate, GatePermit, Source};
use crate::outcome::{Failure, Reason};
use crate::tls::handshake::AwaitPeer;
use crate::tls::hello::HELLO_SMALL;
use crate::transport::Socket;

/// How long a handshake keeps its permit while it waits for the client. More than its round trips and a
/// lost packet take, so that few clients have to ask twice; it is no longer for one that trickles.
const KEPT_MAX: Duration = Duration::from_secs(1);

/// Large hellos that are read at a time. Each takes up to 135 KiB, of which this bounds the sum; few
/// clients send any.
pub(super) const LARGE_HELLOS: usize = 256;

/// A permit of `gate`, waited for until `deadline`.
pub(super) async fn enter(
    gate: &Gate,
    source: Source,
    deadline: Instant,
) -> Result<GatePermit, Failure> {
    let permit = timeout_at(deadline, gate.enter(source)).await;
    permit.map_err(|_| Reason::LimitHandshakes.into())
}

/// A client in its handshake, and the permit for that. It is for work: a client that is slow gives it
/// back, keeps what it has of the handshake, and asks again whenever it goes on.
pub(super) struct Handshaking<'a> {
    gate: &'a Gate,
    source: Source,
    permit: Option<GatePermit>,
    kept_until: Instant,
    /// Whether the client has gone on, and the permit is waited for.
    pub(super) is_queued: bool,
}

impl<'a> Handshaking<'a> {
    pub(super) fn new(gate: &'a Gate, source: Source, permit: GatePermit) -> Self {
        Self {
            gate,
            source,
            permit: Some(permit),
            kept_until: Instant::now() + KEPT_MAX,
            is_queued: false,
        }
    }
}

impl AwaitPeer for Handshaking<'_> {
    async fn readable(&mut self, socket: &Socket, retained: usize) -> io::Result<()> {
        if let Ok(readable) = timeout_at(self.kept_until, socket.readable()).await {
            return readable;
        }
        // Half a message of up to 64 KiB must not be had for nothing: the permits bound how many there are.
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
