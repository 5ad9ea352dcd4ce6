//! A connected TCP or unix stream socket, and the ways to close it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::RecvFlags;
use rustix::pipe::{SpliceFlags, splice};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::pipe::Pipe;
use super::scratch::with_scratch;
use crate::outcome::CloseWith;
use crate::sys;

/// After an alert, how long and for how many bytes a client's remaining input is read and discarded.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// How often the send queue is polled while we wait for it to empty: the kernel has no event for that.
const QUEUE_POLL_MIN: Duration = Duration::from_millis(2);
const QUEUE_POLL_MAX: Duration = Duration::from_millis(200);

/// Move pages where the kernel can, and never block.
const SPLICE: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// A connected stream socket.
///
/// A socket that is dropped without [`Socket::close`] or [`Socket::reject`] is reset: its stream is
/// incomplete and must not look complete to the peer.
#[derive(Debug)]
pub struct Socket {
    stream: OsStream,
    closed: bool,
}

#[derive(Debug)]
enum OsStream {
    /// IPv4 or IPv6.
    Tcp(TcpStream),
    /// A unix socket. It has no reset, so an abort looks like an end there.
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self {
            stream: OsStream::Tcp(stream),
            closed: false,
        }
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self {
            stream: OsStream::Unix(stream),
            closed: false,
        }
    }
}

impl Socket {
    /// Reads into `buf`; 0 means the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(match &mut self.stream {
            OsStream::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            OsStream::Unix(stream) => Pin::new(stream).poll_read(cx, &mut buf),
        })?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes some of `buf`.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            OsStream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            OsStream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    /// Whether bytes can be spliced between this socket and a pipe.
    pub const fn can_splice(&self) -> bool {
        matches!(self.stream, OsStream::Tcp(_))
    }

    /// Splices at most `most` available bytes into an empty pipe; 0 means the end of the stream.
    pub fn poll_splice_in(
        &self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let OsStream::Tcp(stream) = &self.stream else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let spliced = stream.try_io(Interest::READABLE, || {
                pipe.fill(|end, room| Ok(splice(stream, None, end, None, room.min(most), SPLICE)?))
            });
            match spliced {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                spliced => return Poll::Ready(spliced),
            }
        }
    }

    /// Splices some of the bytes in a pipe to this socket.
    pub fn poll_splice_out(
        &self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<io::Result<usize>> {
        let OsStream::Tcp(stream) = &self.stream else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        loop {
            ready!(stream.poll_write_ready(cx))?;
            let spliced = stream.try_io(Interest::WRITABLE, || {
                pipe.drain(|end, len| Ok(splice(end, None, stream, None, len, SPLICE)?))
            });
            match spliced {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                spliced => return Poll::Ready(spliced),
            }
        }
    }

    /// Reads available bytes without waiting; 0 means the end of the stream.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        let mut len = 0;
        let mut read = || {
            len = rustix::net::recv(self, &mut *buf, RecvFlags::empty())?.0;
            // A short read has emptied the queue. The runtime forgets then that the socket is readable, as
            // its own poll_read does, which saves the next read, until the kernel tells of more.
            match len > 0 && len < buf.len() {
                true => Err(io::ErrorKind::WouldBlock.into()),
                false => Ok(len),
            }
        };
        let read = match &self.stream {
            OsStream::Tcp(stream) => stream.try_io(Interest::READABLE, &mut read),
            OsStream::Unix(stream) => stream.try_io(Interest::READABLE, &mut read),
        };
        match read {
            Err(_) if len > 0 => Ok(len),
            read => read,
        }
    }

    /// Writes as much as fits without waiting.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        match &self.stream {
            OsStream::Tcp(stream) => stream.try_write(buf),
            OsStream::Unix(stream) => stream.try_write(buf),
        }
    }

    /// Reads once and appends at most `max` bytes to `bytes`; 0 means the end of the stream. It reads through
    /// the worker's scratch buffer, so that a silent peer holds no memory.
    pub async fn read_onto(&mut self, bytes: &mut Vec<u8>, max: usize) -> io::Result<usize> {
        let read = poll_fn(|cx| {
            with_scratch(|scratch| {
                let len = scratch.input.len().min(max);
                let buf = &mut scratch.input[..len];
                let len = ready!(self.poll_read(cx, buf))?;
                bytes.extend_from_slice(&buf[..len]);
                io::Result::Ok(len).into()
            })
        });
        read.await
    }

    /// Waits until a read would return at once: bytes, the end, or an error. It may be wrong once.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error is left to the read.
        match &self.stream {
            OsStream::Tcp(stream) => stream.poll_read_ready(cx).map(|_| ()),
            OsStream::Unix(stream) => stream.poll_read_ready(cx).map(|_| ()),
        }
    }

    /// Waits until the socket is readable, holding no buffer meanwhile.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.stream {
            OsStream::Tcp(stream) => stream.readable().await,
            OsStream::Unix(stream) => stream.readable().await,
        }
    }

    /// Waits until the peer has reset the connection. For a unix socket this waits forever: the kernel does
    /// not distinguish a vanished peer from the end of its stream.
    pub async fn was_reset(&self) {
        if let OsStream::Tcp(stream) = &self.stream
            && stream.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Waits until the peer has reset the connection or ended its side of it. Behind bytes that nobody has
    /// read only a reset is noticed; for a unix socket this waits forever.
    pub async fn peer_left(&self) {
        if let OsStream::Tcp(stream) = &self.stream {
            let mut byte = [0];
            tokio::select! {
                biased;
                () = self.was_reset() => return,
                peeked = stream.peek(&mut byte) => if !matches!(peeked, Ok(1..)) {
                    return;
                },
            }
        }
        self.was_reset().await;
    }

    /// Writes some of `buf`. Cancel-safe: a cancelled write has written nothing.
    pub async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_write(cx, buf)).await
    }

    /// Writes all of `buf`.
    pub async fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            OsStream::Tcp(stream) => stream.write_all(buf).await,
            OsStream::Unix(stream) => stream.write_all(buf).await,
        }
    }

    /// Shuts the write side down (FIN). Ignores errors, which mean that the peer is gone already.
    pub fn shutdown_write(&self) {
        let _ = SockRef::from(self).shutdown(std::net::Shutdown::Write);
    }

    /// The local address; unix sockets have none.
    pub fn local(&self) -> Option<SocketAddr> {
        match &self.stream {
            OsStream::Tcp(stream) => stream.local_addr().ok(),
            OsStream::Unix(_) => None,
        }
    }

    /// The path of the local unix socket.
    pub fn local_path(&self) -> Option<PathBuf> {
        match &self.stream {
            OsStream::Tcp(_) => None,
            OsStream::Unix(stream) => stream.local_addr().ok()?.as_pathname().map(PathBuf::from),
        }
    }

    /// The user id of the peer of a unix socket.
    pub fn peer_user(&self) -> Option<u32> {
        match &self.stream {
            OsStream::Tcp(_) => None,
            OsStream::Unix(stream) => stream.peer_cred().ok().map(|cred| cred.uid()),
        }
    }

    /// Closes a socket whose stream is complete; the kernel still delivers the bytes in its queue.
    pub fn close(mut self) {
        self.closed = true;
    }

    /// Sends an alert, as far as the socket takes it at once, and then FIN. The socket may then be dropped
    /// without a reset.
    pub fn send_alert_and_fin(&mut self, alert: &[u8]) {
        let _ = self.try_write(alert);
        self.shutdown_write();
        self.closed = true;
    }

    /// Closes a rejected client's socket as `close_with` says. After an alert and FIN, the client's input is
    /// read and discarded for a moment: closing a socket with unread input would make the kernel reset the
    /// connection, and the client could lose the alert.
    pub async fn reject(mut self, close_with: CloseWith) {
        let deadline = Instant::now() + LINGER_TIME;
        match close_with {
            CloseWith::Close => self.close(),
            CloseWith::Reset => self.delivered(deadline).await,
            // It is reset when it is dropped.
            CloseWith::Abort => {}
            CloseWith::Alert(alert) => {
                let _ = timeout_at(deadline, async {
                    self.write_all(&alert).await?;
                    self.shutdown_write();
                    self.discard(LINGER_BYTES).await
                })
                .await;
                self.close();
            }
        }
    }

    async fn discard(&mut self, limit: usize) -> io::Result<()> {
        let mut seen = 0;
        while seen < limit {
            let read = poll_fn(|cx| with_scratch(|scratch| self.poll_read(cx, &mut scratch.input)));
            match read.await? {
                0 => break,
                n => seen += n,
            }
        }
        Ok(())
    }

    /// How many written bytes the peer has not acknowledged and still may. For a unix socket: how much memory
    /// those take that its peer has not read.
    pub fn undelivered(&self) -> usize {
        match &self.stream {
            OsStream::Tcp(stream) => sys::undelivered(stream.as_fd()),
            OsStream::Unix(stream) => sys::unacknowledged(stream.as_fd()),
        }
    }

    /// How many written bytes the peer has not acknowledged, even if it never will; 0 for a unix socket,
    /// where that is unknown.
    pub fn unacknowledged(&self) -> usize {
        match &self.stream {
            OsStream::Tcp(stream) => sys::unacknowledged(stream.as_fd()),
            OsStream::Unix(_) => 0,
        }
    }

    /// How many written bytes the peer has not acknowledged, even if it never will. For a unix socket: how
    /// much memory those take that its peer has not read.
    pub fn queued(&self) -> usize {
        sys::unacknowledged(self.as_fd())
    }

    /// How many bytes from the peer can be read now.
    pub fn readable_bytes(&self) -> usize {
        let readable = rustix::io::ioctl_fionread(self).unwrap_or(0);
        usize::try_from(readable).unwrap_or(usize::MAX)
    }

    /// The error of a connection that was reset or timed out; `None` while it lasts, after a clean end of
    /// both directions, and for a unix socket, where that is unknown. Bytes may still be in the receive
    /// queue.
    pub fn gone(&self) -> Option<io::Error> {
        match &self.stream {
            OsStream::Tcp(stream) if sys::is_closed(stream.as_fd()) => stream.take_error().ok()?,
            OsStream::Tcp(_) | OsStream::Unix(_) => None,
        }
    }

    /// Whether the peer's end has arrived; bytes that it sent before may still be in the receive queue.
    /// `false` for a unix socket, where that is unknown.
    pub fn peer_has_ended(&self) -> bool {
        match &self.stream {
            OsStream::Tcp(stream) => sys::peer_has_ended(stream.as_fd()),
            OsStream::Unix(_) => false,
        }
    }

    /// Waits until the peer has acknowledged all written bytes, is gone, or `deadline` has passed. A reset
    /// discards the send queue, so this comes before one.
    pub async fn delivered(&self, deadline: Instant) {
        let OsStream::Tcp(stream) = &self.stream else {
            return;
        };
        let mut pause = QUEUE_POLL_MIN;
        while Instant::now() < deadline && sys::undelivered(stream.as_fd()) > 0 {
            sleep(pause).await;
            pause = (pause * 2).min(QUEUE_POLL_MAX);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let OsStream::Tcp(stream) = &self.stream
            && !self.closed
        {
            // An error means that the connection is gone already.
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            OsStream::Tcp(stream) => stream.as_fd(),
            OsStream::Unix(stream) => stream.as_fd(),
        }
    }
}
