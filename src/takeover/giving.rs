//! The side of the running process.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

use super::frame;
use super::offer::{BATCH, DESCRIPTORS_MAX, Offered, SILENCE};

/// How long the last message may take, which is shorter than any buffer.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// A successor that has asked for the sockets. Dropped, it is not given any.
#[derive(Debug)]
pub struct Giving {
    stream: UnixStream,
    pid: Option<u32>,
    /// When the takeover fails if it is not complete.
    deadline: Instant,
}

impl Giving {
    /// Reads the request of a process that has connected. Descriptors are given to processes of the same user
    /// and of root alone; any other process is refused.
    ///
    /// # Errors
    ///
    /// The process is refused, and was told why; or it is silent, or does not speak the protocol.
    pub async fn read_request(stream: UnixStream) -> io::Result<Self> {
        let peer = stream.peer_cred()?;
        let mut this = Self {
            stream,
            pid: peer.pid().and_then(|pid| u32::try_from(pid).ok()),
            deadline: Instant::now() + SILENCE,
        };
        let own = rustix::process::geteuid().as_raw();
        if ![own, 0].contains(&peer.uid()) {
            let why = format!("user {} may not have the sockets of user {own}", peer.uid());
            return Err(this.refuse(&why).await);
        }
        let request = this.receive().await?;
        match frame::other_version(&request) {
            Some(why) => Err(this.refuse(&why).await),
            None => Ok(this),
        }
    }

    /// The process that asks, if it is in the same namespace.
    pub const fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Sends the reason why there is no takeover; returns it as an error.
    pub async fn refuse(&mut self, why: &str) -> io::Error {
        let _ = self.send(&frame::refused(why)).await;
        io::Error::other(why.to_owned())
    }

    /// Sends the sockets, and waits until the successor is ready. Returns the indexes of those that it has
    /// taken. A successor that has failed is told why.
    pub async fn offer(&mut self, generation: u64, offered: &[Offered]) -> io::Result<Vec<usize>> {
        let taken = self.send_sockets(generation, offered).await;
        if let Err(error) = &taken {
            self.refuse(&error.to_string()).await;
        }
        taken
    }

    async fn send_sockets(
        &mut self,
        generation: u64,
        offered: &[Offered],
    ) -> io::Result<Vec<usize>> {
        let sockets = offered.iter().flat_map(|offered| &offered.sockets);
        let sockets: Vec<_> = sockets.map(AsFd::as_fd).collect();
        let message = frame::offer(generation, offered);
        if sockets.len() > DESCRIPTORS_MAX {
            return Err(io::Error::other("there are too many sockets"));
        }
        self.send(&message).await?;
        for batch in sockets.chunks(BATCH) {
            self.send_descriptors(batch).await?;
        }
        let message = self.receive().await?;
        frame::read_ready(&message, offered.len())
    }

    /// Tells the successor that the sockets are its own.
    pub async fn release(mut self) -> io::Result<()> {
        // The control loop waits for it.
        self.deadline = Instant::now() + RELEASE_TIMEOUT;
        self.send(&frame::released()).await
    }

    async fn send(&mut self, message: &Value) -> io::Result<()> {
        let frame = frame::encode(message)?;
        let sent = timeout_at(self.deadline, self.stream.write_all(&frame)).await;
        sent.map_err(|_| silent())?
    }

    async fn receive(&mut self) -> io::Result<Value> {
        let stream = &mut self.stream;
        let body = async {
            let mut head = [0; frame::HEAD];
            stream.read_exact(&mut head).await?;
            let mut body = vec![0; frame::body_len(head)?];
            stream.read_exact(&mut body).await?;
            Ok(body)
        };
        let body = timeout_at(self.deadline, body).await;
        match body.map_err(|_| silent())? {
            Ok(body) => frame::decode(&body),
            Err(error) if ended(&error) => Err(io::Error::other("the new process has ended")),
            Err(error) => Err(error),
        }
    }

    /// Sends a byte with these descriptors.
    async fn send_descriptors(&self, batch: &[BorrowedFd<'_>]) -> io::Result<()> {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(batch));
            let byte = [IoSlice::new(&[0])];
            Ok(sendmsg(
                &self.stream,
                &byte,
                &mut control,
                SendFlags::NOSIGNAL,
            )?)
        };
        let sent = self.stream.async_io(Interest::WRITABLE, send);
        timeout_at(self.deadline, sent)
            .await
            .map_err(|_| silent())??;
        Ok(())
    }
}

fn ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    [BrokenPipe, ConnectionReset, UnexpectedEof].contains(&error.kind())
}

fn silent() -> io::Error {
    let seconds = SILENCE.as_secs();
    io::Error::other(format!("the new process was not ready within {seconds} s"))
}
