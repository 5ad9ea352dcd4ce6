//! Options of a TCP socket.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// What the configuration says about a TCP socket. Unix sockets have none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Send small segments at once (`TCP_NODELAY`).
    pub nodelay: bool,
    /// Probe a silent peer after this long (`SO_KEEPALIVE`, `TCP_KEEPIDLE` and `TCP_KEEPINTVL`).
    pub keepalive: Option<Duration>,
    /// Give up on unacknowledged data after this long (`TCP_USER_TIMEOUT`).
    pub user_timeout: Option<Duration>,
}

impl TcpOptions {
    /// Sets them on a socket. On Linux, connections inherit them from their listener.
    pub fn apply(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(idle) = self.keepalive {
            let keepalive = TcpKeepalive::new().with_time(idle).with_interval(idle);
            socket.set_tcp_keepalive(&keepalive)?;
        }
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        Ok(())
    }
}
