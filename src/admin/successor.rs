//! A process that wants to take over the sockets of this one. It connects to the admin socket, as a unix
//! socket, and speaks another protocol than HTTP there.

use std::io;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;
use tracing::warn;

use super::permits::ConnPermit;
use super::serve::AdminService;
use crate::takeover::Giving;

/// From the first byte to the whole request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the request of a process, and passes it to the control loop.
pub(super) async fn serve(stream: UnixStream, service: &AdminService, permit: &ConnPermit) {
    let request = permit.unless_displaced(read(stream, service, permit));
    match timeout(REQUEST_TIMEOUT, request).await {
        Ok(Some(Ok(()))) | Ok(None) => {}
        Ok(Some(Err(error))) => warn!(%error, "a takeover is refused"),
        Err(_) => warn!("a takeover is refused: its request was not whole within 5 s"),
    }
}

async fn read(stream: UnixStream, service: &AdminService, permit: &ConnPermit) -> io::Result<()> {
    let mut successor = Giving::read_request(stream).await?;
    let Some(control) = service.control.as_ref().filter(|_| !permit.only_probes) else {
        return Err(successor.refuse("too many requests at a time").await);
    };
    match control.take_over(successor) {
        Ok(()) => Ok(()),
        Err(mut successor) => Err(successor.refuse("another takeover is in progress").await),
    }
}
