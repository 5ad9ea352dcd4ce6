//! The accept loop of one listening socket on one worker.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, warn};

use crate::admission::{Admission, Permit, WaitingLimit};

/// How many connections one turn accepts before the worker serves its others.
const BATCH: usize = 4;

/// The pauses after an accept failed for lack of resources, doubled from the first to the last, which bounds
/// how long recovery takes: within a second.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Failures to accept are logged at most once per this interval.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Takes accepted sockets.
pub(crate) trait Intake {
    /// The limit on connections of the endpoint, if its clients have to wait for a place.
    fn waiting_limit(&mut self) -> Option<WaitingLimit>;

    /// Takes a socket that is not registered with a runtime yet, and its client's address; unix clients have
    /// none.
    fn take(&mut self, socket: OwnedFd, client: Option<SocketAddr>, permit: Permit);
}

/// The state of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerState {
    /// Not accepting yet: clients wait in the queue of the socket.
    Shut,
    /// Accepting.
    Open,
    /// Closing: the loop accepts the clients that are queued, and ends.
    Closing(Closing),
    /// Another process accepts from the socket: the loop ends, and leaves it the clients that are queued.
    Released,
}

impl ListenerState {
    const fn is_closing(&self) -> bool {
        matches!(self, Self::Closing(_) | Self::Released)
    }
}

/// How long the queue of a listener that closes is emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    /// Until then the kernel may complete handshakes that have begun.
    pub(crate) handshakes_until: Instant,
    /// Until then queued clients for which there is no permit wait for one.
    pub(crate) permits_until: Instant,
}

/// Accepts while the listener is open; when it closes, accepts what is already queued and closes the
/// socket. If the sender of `state` is dropped before the listener opens, it never accepts.
///
/// `state` is dropped after the socket (parameters are dropped in reverse order), so that its sender can tell
/// when the socket is closed.
pub(crate) async fn accept_loop(
    address: &str,
    mut state: watch::Receiver<ListenerState>,
    listener: AsyncFd<OwnedFd>,
    admission: Admission,
    intake: &mut impl Intake,
) -> io::Result<()> {
    let mut backoff = AcceptBackoff::new(address);
    if state
        .wait_for(|state| *state != ListenerState::Shut)
        .await
        .is_err()
    {
        return Ok(());
    }
    loop {
        let mut ready = tokio::select! {
            biased;
            _ = state.wait_for(ListenerState::is_closing) => break,
            ready = listener.readable() => ready?,
        };
        let mut is_full = false;
        for turn in 0..BATCH {
            // An accept that finds no client makes and destroys a socket; poll is cheaper.
            if turn > 0 && !has_client(&listener) {
                ready.clear_ready();
                break;
            }
            let permit = match admission.try_admit(intake.waiting_limit().as_ref()) {
                Some(permit) => permit,
                // No pending connection is dropped before a client waits for its permit. After the first turn
                // it is known that one does.
                None if turn == 0 && !has_client(&listener) => {
                    ready.clear_ready();
                    break;
                }
                None => tokio::select! {
                    biased;
                    permit = admission.admit(|| intake.waiting_limit()) => permit,
                    _ = state.wait_for(ListenerState::is_closing) => break,
                },
            };
            match accept(&listener) {
                Ok((socket, client)) => {
                    backoff.reset();
                    intake.take(socket, client, permit);
                    is_full = turn + 1 == BATCH;
                }
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    break;
                }
                Err(error) => {
                    drop(permit);
                    tokio::select! {
                        () = backoff.wait_out(error) => break,
                        _ = state.wait_for(ListenerState::is_closing) => break,
                    }
                }
            }
        }
        if is_full {
            yield_once().await;
        }
    }
    let ListenerState::Closing(closing) = *state.borrow() else {
        return Ok(());
    };
    accept_rest(closing, &listener, &admission, intake, &mut backoff).await;
    Ok(())
}

/// Accepts the clients that come before the listener closes, and those that wait for a permit then.
async fn accept_rest(
    closing: Closing,
    listener: &AsyncFd<OwnedFd>,
    admission: &Admission,
    intake: &mut impl Intake,
    backoff: &mut AcceptBackoff<'_>,
) {
    let emptied = async {
        while let Ok(Ok(mut ready)) =
            timeout_at(closing.handshakes_until, listener.readable()).await
        {
            empty_queue(listener, admission, intake, backoff).await;
            ready.clear_ready();
        }
        empty_queue(listener, admission, intake, backoff).await;
    };
    let permits_until = closing.permits_until.max(closing.handshakes_until);
    let _ = timeout_at(permits_until, emptied).await;
}

/// Accepts the connections that the kernel has completed, because closing the socket would reset them. Waits
/// for a permit where none is free.
async fn empty_queue(
    listener: &AsyncFd<OwnedFd>,
    admission: &Admission,
    intake: &mut impl Intake,
    backoff: &mut AcceptBackoff<'_>,
) {
    while has_client(listener) {
        let permit = match admission.try_admit(intake.waiting_limit().as_ref()) {
            Some(permit) => permit,
            None => admission.admit(|| intake.waiting_limit()).await,
        };
        match accept(listener) {
            Ok((socket, client)) => intake.take(socket, client, permit),
            Err(Errno::AGAIN | Errno::INVAL) => return,
            Err(error) => {
                drop(permit);
                backoff.wait_out(error).await;
            }
        }
    }
}

/// Lets each task that is ready run once before this one goes on. The cooperative budget of a task would only
/// end its turn after some 200 connections, and a flood of them would delay every relay by as many first
/// turns.
async fn yield_once() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Whether a client waits to be accepted; `true` if that is unknown.
fn has_client(listener: &AsyncFd<OwnedFd>) -> bool {
    let mut listeners = [PollFd::new(listener.get_ref(), PollFlags::IN)];
    poll(&mut listeners, Some(&Timespec::default())).map_or(true, |count| count > 0)
}

/// Accepts one connection. An IPv4 client of a socket for both families has its IPv4 address.
fn accept(listener: &AsyncFd<OwnedFd>) -> Result<(OwnedFd, Option<SocketAddr>), Errno> {
    let (socket, client) = acceptfrom_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    let client = client.and_then(|address| SocketAddr::try_from(address).ok());
    let canonical = |address: SocketAddr| match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    };
    Ok((socket, client.map(canonical)))
}

/// Pauses and logs after failed accepts.
struct AcceptBackoff<'a> {
    address: &'a str,
    pause: Duration,
    last_logged: Option<Instant>,
}

impl<'a> AcceptBackoff<'a> {
    const fn new(address: &'a str) -> Self {
        Self {
            address,
            pause: PAUSE_MIN,
            last_logged: None,
        }
    }

    const fn reset(&mut self) {
        self.pause = PAUSE_MIN;
    }

    /// Pauses where that helps. An error that belongs to the new connection alone (accept(2) lists them)
    /// needs no pause; all others are local.
    async fn wait_out(&mut self, error: Errno) {
        match error {
            Errno::CONNABORTED
            | Errno::INTR
            | Errno::PROTO
            | Errno::NETDOWN
            | Errno::NETUNREACH
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NOPROTOOPT
            | Errno::NONET
            | Errno::OPNOTSUPP
            | Errno::PERM
            | Errno::TIMEDOUT => return,
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => {
                if self.may_log() {
                    warn!(address = self.address, %error, "accepting is paused: out of file descriptors or \
                        memory");
                }
            }
            error => {
                if self.may_log() {
                    error!(address = self.address, %error, "accepting fails");
                }
            }
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    fn may_log(&mut self) -> bool {
        let quiet = self
            .last_logged
            .is_some_and(|at| at.elapsed() < LOG_INTERVAL);
        if !quiet {
            self.last_logged = Some(Instant::now());
        }
        !quiet
    }
}
