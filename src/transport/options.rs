//! Options of a TCP socket.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use crate::sys;

/// The longest time before the first keepalive probe. The kernel takes whole seconds up to this
/// (`MAX_TCP_KEEPIDLE`).
pub const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);

/// How many probes a peer may leave unanswered before its connection is reset. The kernel's own defaults,
/// nine at intervals of 75 seconds, find a vanished peer later than the usual limit on idle connections.
const KEEPALIVE_PROBES: u32 = 4;

/// The configured options of a TCP socket. Unix sockets have none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Send small segments at once (`TCP_NODELAY`).
    pub nodelay: bool,
    /// Probe a silent peer after this long (`SO_KEEPALIVE` and `TCP_KEEPIDLE`), from one second to
    /// [`KEEPALIVE_MAX`]; then [`KEEPALIVE_PROBES`] times within the same time again.
    pub keepalive: Option<Duration>,
    /// Give up on unacknowledged data after this long (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
    /// Size of the send buffer in bytes (`SO_SNDBUF`); absent, the kernel tunes it. The kernel doubles the
    /// value for its own bookkeeping and caps it at `net.core.wmem_max`.
    pub send_buffer: Option<u32>,
    /// Size of the receive buffer in bytes (`SO_RCVBUF`), likewise, capped at `net.core.rmem_max`.
    pub receive_buffer: Option<u32>,
}

impl TcpOptions {
    /// Sets all but the buffer sizes on a new socket. On Linux, connections inherit them from their listener.
    pub fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(idle) = self.keepalive {
            let interval = (idle / KEEPALIVE_PROBES).max(Duration::from_secs(1));
            let keepalive = TcpKeepalive::new()
                .with_time(idle)
                .with_interval(interval)
                .with_retries(KEEPALIVE_PROBES);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }

    /// Sets the buffer sizes on a new socket. Connections inherit them, too; they must be set before the
    /// connection is made, because the handshake fixes the window scale.
    pub fn size_buffers(&self, socket: &SockRef<'_>) -> io::Result<()> {
        let size = |bytes: u32| usize::try_from(bytes).map_err(io::Error::other);
        if let Some(bytes) = self.send_buffer {
            socket.set_send_buffer_size(size(bytes)?)?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(size(bytes)?)?;
        }
        Ok(())
    }

    /// Sets the buffer sizes on a socket that may have had others: the kernel tunes absent ones again.
    pub fn resize_buffers(&self, socket: &SockRef<'_>) -> io::Result<()> {
        sys::let_kernel_tune_buffers(socket.as_fd())?;
        self.size_buffers(socket)
    }

    /// Sets all but the buffer sizes on a socket that may have had other options.
    pub fn reapply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(self.nodelay)?;
        socket.set_keepalive(self.keepalive.is_some())?;
        socket.set_tcp_user_timeout(self.user_timeout)?;
        self.apply(socket)
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn options_can_be_switched_off_and_on_again() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let (on, off) = (
            TcpOptions {
                nodelay: true,
                keepalive: Some(Duration::from_secs(7)),
                user_timeout: Some(Duration::from_secs(9)),
                send_buffer: Some(16 * 1024),
                receive_buffer: Some(32 * 1024),
            },
            TcpOptions {
                nodelay: false,
                keepalive: None,
                user_timeout: None,
                send_buffer: None,
                receive_buffer: None,
            },
        );
        let read = || {
            (
                socket.tcp_nodelay().unwrap(),
                socket.keepalive().unwrap(),
                socket.tcp_user_timeout().unwrap(),
            )
        };
        on.apply(&SockRef::from(&socket)).unwrap();
        assert_eq!(read(), (true, true, on.user_timeout));
        let seconds = Duration::from_secs;
        assert_eq!(socket.tcp_keepalive_time().unwrap(), seconds(7));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), seconds(1));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
        off.reapply(&SockRef::from(&socket)).unwrap();
        assert_eq!(read(), (false, false, None));
        on.reapply(&SockRef::from(&socket)).unwrap();
        assert_eq!(read(), (true, true, on.user_timeout));
    }

    #[test]
    fn buffers_have_the_configured_size_or_are_tuned_by_the_kernel() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let socket = SockRef::from(&socket);
        let none = TcpOptions {
            nodelay: true,
            keepalive: None,
            user_timeout: None,
            send_buffer: None,
            receive_buffer: None,
        };
        let both = TcpOptions {
            send_buffer: Some(16 * 1024),
            receive_buffer: Some(32 * 1024),
            ..none
        };
        let sizes = || {
            let send = socket.send_buffer_size().unwrap();
            (send, socket.recv_buffer_size().unwrap())
        };
        let before = sizes();
        none.size_buffers(&socket).unwrap();
        assert_eq!(sizes(), before);
        both.size_buffers(&socket).unwrap();
        // The kernel doubles it (socket(7)).
        assert_eq!(sizes(), (32 * 1024, 64 * 1024));
        none.resize_buffers(&socket).unwrap();
        let fixed = crate::sys::fixed_buffers(socket.as_fd());
        // Kernels before 5.14 do not know the option.
        assert!(matches!(fixed, Ok(0) | Err(_)), "{fixed:?}");
        both.resize_buffers(&socket).unwrap();
        assert_eq!(sizes(), (32 * 1024, 64 * 1024));
    }
}
