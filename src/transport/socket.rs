//! A stream socket of either family, and the ways to end it honestly.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::pipe::{SpliceFlags, splice};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::pipe::Pipe;
use super::scratch::with_scratch;
use crate::outcome::CloseWith;
use crate::sys;

/// How long a refused client may take to read why, and how much it may still send meanwhile.
const FAREWELL_TIME: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: usize = 64 * 1024;

/// How often the send queue is looked at while we wait for it to empty: there is no event for that.
const QUEUE_POLL_MIN: Duration = Duration::from_millis(2);
const QUEUE_POLL_MAX: Duration = Duration::from_millis(200);

/// Pages are moved where the kernel can, and nothing waits.
const SPLICE: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// A connected stream socket.
///
/// One that is dropped without having been ended by [`Socket::close`] or [`Socket::refuse`] is reset:
/// whatever the reason is, its stream must not look as if it had come to its end.
#[derive(Debug)]
pub struct Socket {
    stream: Stream,
    closed_well: bool,
}

#[derive(Debug)]
enum Stream {
    /// IPv4 or IPv6.
    Tcp(TcpStream),
    /// A unix socket; it knows no reset, so a cut is shown there as an end.
    Unix(UnixStream),
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self {
            stream: Stream::Tcp(stream),
            closed_well: false,
        }
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self {
            stream: Stream::Unix(stream),
            closed_well: false,
        }
    }
}

impl Socket {
    /// Reads into `buf`; 0 is the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, &mut buf),
        })?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes some of `buf`.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    /// Whether bytes can be spliced between this socket and a pipe.
    pub const fn can_splice(&self) -> bool {
        matches!(self.stream, Stream::Tcp(_))
    }

    /// Splices what is there into an empty pipe; 0 is the end of the stream.
    pub fn poll_splice_in(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        let Stream::Tcp(stream) = &self.stream else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let spliced = stream.try_io(Interest::READABLE, || {
                pipe.fill(|end, room| Ok(splice(stream, None, end, None, room, SPLICE)?))
            });
            match spliced {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                spliced => return Poll::Ready(spliced),
            }
        }
    }

    /// Splices some of what is in a pipe out to this socket.
    pub fn poll_splice_out(
        &self,
        cx: &mut Context<'_>,
        pipe: &mut Pipe,
    ) -> Poll<io::Result<usize>> {
        let Stream::Tcp(stream) = &self.stream else {
            return Poll::Ready(Err(io::ErrorKind::Unsupported.into()));
        };
        loop {
            ready!(stream.poll_write_ready(cx))?;
            let spliced = stream.try_io(Interest::WRITABLE, || {
                pipe.drain(|end, held| Ok(splice(end, None, stream, None, held, SPLICE)?))
            });
            match spliced {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                spliced => return Poll::Ready(spliced),
            }
        }
    }

    /// Reads what is there, without waiting.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        match &self.stream {
            Stream::Tcp(stream) => stream.try_read(buf),
            Stream::Unix(stream) => stream.try_read(buf),
        }
    }

    /// Writes what fits, without waiting.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        match &self.stream {
            Stream::Tcp(stream) => stream.try_write(buf),
            Stream::Unix(stream) => stream.try_write(buf),
        }
    }

    /// Reads once, at most `max` bytes, onto the end of `bytes`; 0 is the end of the stream. It reads
    /// through the worker's scratch, so that a silent peer holds no buffer.
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

    /// Waits until there is something to read, holding no buffer meanwhile.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.readable().await,
            Stream::Unix(stream) => stream.readable().await,
        }
    }

    /// Waits until the peer has reset the connection. Whether the peer of a unix socket has gone cannot be
    /// told from an end of its stream, and neither can a close without one.
    pub async fn was_reset(&self) {
        if let Stream::Tcp(stream) = &self.stream
            && stream.ready(Interest::ERROR).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }

    /// Writes some of `buf`; given up, it has written nothing.
    pub async fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_write(cx, buf)).await
    }

    /// Writes all of `buf`.
    pub async fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(buf).await,
            Stream::Unix(stream) => stream.write_all(buf).await,
        }
    }

    /// Sends FIN: we write no more. That the peer is gone already is no error.
    pub fn shutdown_write(&self) {
        let _ = SockRef::from(self).shutdown(std::net::Shutdown::Write);
    }

    /// Our own address; unix sockets have none.
    pub fn local(&self) -> Option<SocketAddr> {
        match &self.stream {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) => None,
        }
    }

    /// The path of our own unix socket.
    pub fn local_path(&self) -> Option<PathBuf> {
        match &self.stream {
            Stream::Tcp(_) => None,
            Stream::Unix(stream) => stream.local_addr().ok()?.as_pathname().map(PathBuf::from),
        }
    }

    /// The user at the other end of a unix socket.
    pub fn peer_user(&self) -> Option<u32> {
        match &self.stream {
            Stream::Tcp(_) => None,
            Stream::Unix(stream) => stream.peer_cred().ok().map(|cred| cred.uid()),
        }
    }

    /// Ends a stream that has come to its end: what was sent is still delivered by the kernel.
    pub fn close(mut self) {
        self.closed_well = true;
    }

    /// Tells a peer why we leave, as far as it takes that at once, and ends our stream. The socket may
    /// then be dropped.
    pub fn leave(&mut self, alert: &[u8]) {
        let _ = self.try_write(alert);
        self.shutdown_write();
        self.closed_well = true;
    }

    /// Tells a client that is refused why, and closes. The words are written, the stream is ended,
    /// and what the client still sends is discarded for a moment: closing over unread bytes would
    /// make the kernel reset the connection, and the alert could be lost with it.
    pub async fn refuse(mut self, close_with: CloseWith) {
        let deadline = Instant::now() + FAREWELL_TIME;
        match close_with {
            CloseWith::Close => self.close(),
            CloseWith::Reset => self.delivered(deadline).await,
            // It is reset when it is dropped.
            CloseWith::Abort => {}
            CloseWith::Alert(alert) => {
                let _ = timeout_at(deadline, async {
                    self.write_all(&alert).await?;
                    self.shutdown_write();
                    self.discard(FAREWELL_BYTES).await
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

    /// How many bytes that were written the peer has not acknowledged yet; unknown of a unix socket, and
    /// then 0.
    pub fn undelivered(&self) -> usize {
        match &self.stream {
            Stream::Tcp(stream) => sys::undelivered(stream.as_fd()),
            Stream::Unix(_) => 0,
        }
    }

    /// How many bytes that were written the peer has not acknowledged, also when it never will; unknown of
    /// a unix socket, and then 0.
    pub fn unacknowledged(&self) -> usize {
        match &self.stream {
            Stream::Tcp(stream) => sys::unacknowledged(stream.as_fd()),
            Stream::Unix(_) => 0,
        }
    }

    /// How many bytes have come from the peer and were not read yet.
    pub fn prefetched(&self) -> usize {
        let prefetched = rustix::io::ioctl_fionread(self).unwrap_or(0);
        usize::try_from(prefetched).unwrap_or(usize::MAX)
    }

    /// Whether the peer's end has arrived, though what it had sent before may be prefetched; unknown of a unix
    /// socket.
    pub fn peer_has_ended(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => sys::peer_has_ended(stream.as_fd()),
            Stream::Unix(_) => false,
        }
    }

    /// Waits until the peer has acknowledged all that was written, is gone, or `deadline` comes.
    /// A reset throws the send queue away, so what was sent must have arrived before one is made.
    pub async fn delivered(&self, deadline: Instant) {
        let Stream::Tcp(stream) = &self.stream else {
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
        if let Stream::Tcp(stream) = &self.stream
            && !self.closed_well
        {
            // An error means that the socket is gone already, which is what we want.
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}
