//! A stream socket of either family, and the ways to end it honestly.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
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
use crate::outcome::Farewell;
use crate::sys;

/// How long a refused client may take to read why, and how much it may still send meanwhile.
const FAREWELL_TIME: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: usize = 64 * 1024;

/// How often the send queue is looked at while we wait for it to empty: there is no event for that.
const QUEUE_POLL: Duration = Duration::from_millis(5);

/// Pages are moved where the kernel can, and nothing waits.
const SPLICE: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);

/// A connected stream socket.
#[derive(Debug)]
pub enum Socket {
    /// IPv4 or IPv6.
    Tcp(TcpStream),
    /// A unix socket; it knows no reset, so a cut is shown there as an end.
    Unix(UnixStream),
}

impl Socket {
    /// Reads into `buf`; 0 is the end of the stream.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, &mut buf),
        })?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    /// Writes some of `buf`.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    /// Whether bytes can be spliced between this socket and a pipe.
    pub const fn can_splice(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// Splices what is there into an empty pipe; 0 is the end of the stream.
    pub fn poll_splice_in(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        let Self::Tcp(stream) = self else {
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
        let Self::Tcp(stream) = self else {
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
        match self {
            Self::Tcp(stream) => stream.try_read(buf),
            Self::Unix(stream) => stream.try_read(buf),
        }
    }

    /// Writes what fits, without waiting.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(buf),
            Self::Unix(stream) => stream.try_write(buf),
        }
    }

    /// Waits until there is something to read, holding no buffer meanwhile.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// Writes all of `buf`.
    pub async fn write_all(&mut self, buf: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(buf).await,
            Self::Unix(stream) => stream.write_all(buf).await,
        }
    }

    /// Sends FIN: we write no more. That the peer is gone already is no error.
    pub fn end_writing(&self) {
        let _ = SockRef::from(self).shutdown(std::net::Shutdown::Write);
    }

    /// Our own address; unix sockets have none.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// The user at the other end of a unix socket.
    pub fn peer_user(&self) -> Option<u32> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(stream) => stream.peer_cred().ok().map(|cred| cred.uid()),
        }
    }

    /// Tells a client that is refused why, and closes. The words are written, the stream is ended,
    /// and what the client still sends is discarded for a moment: closing over unread bytes would
    /// make the kernel reset the connection, and the alert could be lost with it.
    pub async fn refuse(mut self, farewell: Farewell) {
        match farewell {
            Farewell::Close => {}
            Farewell::Reset => self.reset(),
            Farewell::Alert(alert) => {
                let _ = timeout_at(Instant::now() + FAREWELL_TIME, async {
                    self.write_all(&alert).await?;
                    self.end_writing();
                    self.discard(FAREWELL_BYTES).await
                })
                .await;
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

    /// Waits until the peer has acknowledged all that was written, or until `deadline`.
    /// A reset throws the send queue away, so what was sent must have arrived before one is made.
    pub async fn delivered(&self, deadline: Instant) {
        while Instant::now() < deadline {
            match self {
                Self::Tcp(stream) => match sys::unacknowledged(stream.as_fd()) {
                    Ok(queued) if queued > 0 => sleep(QUEUE_POLL).await,
                    _ => return,
                },
                Self::Unix(_) => return,
            }
        }
    }

    /// Ends with a reset instead of a clean end. On a unix socket it is a plain close.
    pub fn reset(self) {
        if let Self::Tcp(stream) = &self {
            // An error means that the socket is gone already, which is what we want.
            let _ = stream.set_zero_linger();
        }
    }
}

impl Drop for Socket {
    /// A connection that ends by a panic must not look as if it had ended well.
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Self::Tcp(stream) = self
        {
            let _ = stream.set_zero_linger();
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}
