//! The permits that a client needs for a handshake and for a large ClientHello.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::admission::{ClientSource, Gate, GatePermit, LimitScope, ScopePermit, SourcePermit};
use crate::outcome::{Failure, LimitOwner, Reason};
use crate::tls::handshake::AwaitPeer;
use crate::tls::hello::HELLO_SMALL;
use crate::transport::Socket;

/// How long a handshake keeps its permit while it waits for the client: longer than its round trips and a
/// lost packet take, so that few clients have to queue twice, but too short to hoard permits by trickling.
const HOLD_MAX: Duration = Duration::from_secs(1);

/// The same while others wait for a permit: most round trips are shorter, and clients that stall on purpose
/// hold up others for as little.
const HOLD_WANTED: Duration = Duration::from_millis(100);

/// What a connection holds of the limits of its endpoint and route. Few connections have any, so it is boxed.
#[derive(Debug, Default)]
pub(super) struct LimitPermits {
    pub(super) endpoint: Option<ScopePermit>,
    pub(super) route: Option<ScopePermit>,
    /// Those of the source, at the endpoint and at the route.
    pub(super) sources: [Option<SourcePermit>; 2],
    /// What is counted for the route, if its bandwidth is limited.
    pub(super) bandwidth: Option<Arc<LimitScope>>,
}

/// How many large hellos may be read at once. Each takes up to 135 KiB, so this bounds their memory; few
/// clients send one.
pub(super) const LARGE_HELLOS: usize = 256;

/// Waits for a permit of `gate` until `deadline`, and for as long as the client does. A flood of clients that
/// reset at once would fill the queue otherwise, and each would get a permit and a handshake in the end.
pub(super) async fn enter(
    gate: &Gate,
    source: ClientSource,
    deadline: Instant,
    socket: &Socket,
) -> Result<GatePermit, Failure> {
    tokio::select! {
        biased;
        permit = timeout_at(deadline, gate.enter(source)) => {
            permit.map_err(|_| Failure::new(Reason::LimitHandshakes).limit(LimitOwner::Process))
        }
        () = socket.peer_left() => Err(left(socket)),
    }
}

/// The end of a client that has left while it waited.
pub(super) fn left(socket: &Socket) -> Failure {
    match socket.gone() {
        Some(error) => Failure::new(Reason::ClientReset).detail(error.to_string()),
        None => Reason::ClientClosed.into(),
    }
}

/// The permits of a handshake: one of its endpoint, where that has a limit, and one of the process.
pub(super) struct HandshakePermits {
    source: ClientSource,
    endpoint: Option<(Gate, Option<GatePermit>)>,
    process: (Gate, Option<GatePermit>),
}

impl HandshakePermits {
    /// Waits for a permit of the process until `deadline`, beside that of the endpoint.
    pub(super) async fn enter(
        process: &Gate,
        endpoint: Option<(Gate, GatePermit)>,
        source: ClientSource,
        deadline: Instant,
        socket: &Socket,
    ) -> Result<Self, Failure> {
        let permit = enter(process, source, deadline, socket).await?;
        Ok(Self {
            source,
            endpoint: endpoint.map(|(gate, permit)| (gate, Some(permit))),
            process: (process.clone(), Some(permit)),
        })
    }

    /// Whether somebody waits for one of them.
    fn are_wanted(&self) -> bool {
        self.process.0.has_waiters()
            || self
                .endpoint
                .as_ref()
                .is_some_and(|(gate, _)| gate.has_waiters())
    }

    fn release(&mut self) {
        self.process.1 = None;
        if let Some((_, permit)) = &mut self.endpoint {
            *permit = None;
        }
    }

    /// Waits for the permits that were released; `waits_for` is whose permit it waits for.
    async fn renew(&mut self, waits_for: &mut Option<LimitOwner>) {
        if let Some((gate, permit @ None)) = &mut self.endpoint {
            *waits_for = Some(LimitOwner::Endpoint);
            *permit = Some(gate.enter(self.source).await);
        }
        if let (gate, permit @ None) = &mut self.process {
            *waits_for = Some(LimitOwner::Process);
            *permit = Some(gate.enter(self.source).await);
        }
        *waits_for = None;
    }
}

/// A client in its handshake, with its permit. Permits bound the work under way: a slow client returns its
/// permit, keeps the state of its handshake, and waits for another permit when it continues.
pub(super) struct Handshaking {
    permits: HandshakePermits,
    began: Instant,
    /// Whose permit the client waits for, after it has continued.
    pub(super) waits_for: Option<LimitOwner>,
}

impl Handshaking {
    pub(super) fn new(permits: HandshakePermits) -> Self {
        Self {
            permits,
            began: Instant::now(),
            waits_for: None,
        }
    }

    /// Waits for the client while it may keep its permits; `None` when it may not any longer.
    async fn readable_in_time(&self, socket: &Socket, may_release: bool) -> Option<io::Result<()>> {
        let (wanted, end) = (self.began + HOLD_WANTED, self.began + HOLD_MAX);
        loop {
            let now = Instant::now();
            let is_over = now >= end || (may_release && now >= wanted && self.permits.are_wanted());
            let until = match is_over {
                true => now,
                false if now < wanted => wanted,
                false => end.min(now + HOLD_WANTED),
            };
            match timeout_at(until, socket.readable()).await {
                Ok(readable) => return Some(readable),
                Err(_) if is_over => return None,
                Err(_) => {}
            }
        }
    }
}

impl AwaitPeer for Handshaking {
    async fn readable(&mut self, socket: &Socket, retained: usize) -> io::Result<()> {
        // An incomplete message takes up to 64 KiB; the client keeps its permit then, to bound their number.
        let may_release = retained <= HELLO_SMALL;
        if let Some(readable) = self.readable_in_time(socket, may_release).await {
            return readable;
        }
        if may_release {
            self.permits.release();
        }
        socket.readable().await?;
        tokio::select! {
            biased;
            () = self.permits.renew(&mut self.waits_for) => Ok(()),
            () = socket.was_reset() => {
                self.waits_for = None;
                Err(io::ErrorKind::ConnectionReset.into())
            }
        }
    }
}
