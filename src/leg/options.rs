//! Options of a TCP socket.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// The kernel counts the time before the first probe in whole seconds, up to this (`MAX_TCP_KEEPIDLE`).
pub const KEEPALIVE_MAX: Duration = Duration::from_secs(32_767);

/// What the configuration says about a TCP socket. Unix sockets have none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Send small segments at once (`TCP_NODELAY`).
    pub nodelay: bool,
    /// Probe a silent peer after this long (`SO_KEEPALIVE` and `TCP_KEEPIDLE`), from one
    /// second to [`KEEPALIVE_MAX`]; the kernel's own interval and count follow.
    pub keepalive: Option<Duration>,
    /// Give up on unacknowledged data after this long (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
}

impl TcpOptions {
    /// Sets them on a new socket. On Linux, connections inherit them from their listener.
    pub fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(idle) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(idle);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }

    /// Sets them on a socket that may have had others.
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
    fn what_is_switched_off_is_off() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let (on, off) = (
            TcpOptions {
                nodelay: true,
                keepalive: Some(Duration::from_secs(7)),
                user_timeout: Some(Duration::from_secs(9)),
            },
            TcpOptions {
                nodelay: false,
                keepalive: None,
                user_timeout: None,
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
        off.reapply(&SockRef::from(&socket)).unwrap();
        assert_eq!(read(), (false, false, None));
        on.reapply(&SockRef::from(&socket)).unwrap();
        assert_eq!(read(), (true, true, on.user_timeout));
    }
}
