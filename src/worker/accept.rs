//! The accept loop of one socket on one worker.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use crate::admission::{Admission, Permit};

/// How many connections one turn takes before the worker's others get theirs.
const BATCH: usize = 4;

/// The pauses after the machine ran out of something: doubled from the first to the last. The last
/// one bounds how long recovery takes.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// AcceptBackoff is logged once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(5);

/// Where accepted sockets go.
pub(crate) trait Intake {
    /// Takes a socket that is not registered with any runtime yet, and its client's address, which
    /// unix clients do not have.
    fn take(&mut self, socket: OwnedFd, client: Option<SocketAddr>, permit: Permit);
}

/// Whether a listener is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerState {
    /// Clients wait in the queue of its socket.
    Shut,
    /// It is.
    Open,
    /// It closes.
    Closing,
}

/// Accepts from when the listener opens until it closes, then takes what is already queued and closes the
/// socket. A listener that is given up before it opens never does.
pub(crate) async fn accept_loop(
    address: &str,
    listener: AsyncFd<OwnedFd>,
    admission: Admission,
    mut state: watch::Receiver<ListenerState>,
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
            _ = state.wait_for(|state| *state == ListenerState::Closing) => break,
            ready = listener.readable() => ready?,
        };
        for _ in 0..BATCH {
            let permit = match admission.try_admit() {
                Some(permit) => permit,
                // Nobody's place is taken before there is somebody to have it.
                None if !has_client(&listener) => {
                    ready.clear_ready();
                    break;
                }
                None => tokio::select! {
                    biased;
                    permit = admission.admit() => permit,
                    _ = state.wait_for(|state| *state == ListenerState::Closing) => return Ok(()),
                },
            };
            match accept(&listener) {
                Ok((socket, client)) => {
                    backoff.over();
                    intake.take(socket, client, permit);
                }
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    break;
                }
                Err(error) => {
                    drop(permit);
                    tokio::select! {
                        () = backoff.wait_out(error) => break,
                        _ = state.wait_for(|state| *state == ListenerState::Closing) => break,
                    }
                }
            }
        }
        tokio::task::consume_budget().await;
    }
    drain_queue(&listener, &admission, intake);
    Ok(())
}

/// Connections that the kernel has completed are ours: closing the socket would reset them. Those
/// that there is no room for are reset all the same.
fn drain_queue(listener: &AsyncFd<OwnedFd>, admission: &Admission, intake: &mut impl Intake) {
    while let Some(permit) = admission.try_admit() {
        match accept(listener) {
            Ok((socket, client)) => intake.take(socket, client, permit),
            Err(_) => return,
        }
    }
}

/// Whether a client waits to be accepted; where that cannot be told, accepting will.
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

/// What to do about an accept that fails.
struct AcceptBackoff<'a> {
    address: &'a str,
    pause: Duration,
    last_word: Option<Instant>,
}

impl<'a> AcceptBackoff<'a> {
    const fn new(address: &'a str) -> Self {
        Self {
            address,
            pause: PAUSE_MIN,
            last_word: None,
        }
    }

    const fn over(&mut self) {
        self.pause = PAUSE_MIN;
    }

    /// Waits where waiting helps. An error of the connection that was to be accepted is that
    /// connection's alone (accept(2) lists them); all others are ours.
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
                if self.may_speak() {
                    warn!(address = self.address, %error, "accepting is paused: the machine ran out of something");
                }
            }
            error => {
                if self.may_speak() {
                    error!(address = self.address, %error, "accepting fails");
                }
            }
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    fn may_speak(&mut self) -> bool {
        let quiet = self
            .last_word
            .is_some_and(|at| at.elapsed() < COMPLAIN_EVERY);
        if !quiet {
            self.last_word = Some(Instant::now());
        }
        !quiet
    }
}
