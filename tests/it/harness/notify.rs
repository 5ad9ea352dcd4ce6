//! A service manager that programs notify, as systemd does (sd_notify(3)).

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use super::TIMEOUT;

/// The socket that `NOTIFY_SOCKET` names.
pub struct NotifySocket {
    socket: UnixDatagram,
    name: String,
}

impl NotifySocket {
    /// A socket with a path.
    pub fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        Self::of(socket, path.display().to_string())
    }

    /// A socket with an abstract name.
    pub fn hidden(name: &str) -> Self {
        let address = SocketAddr::from_abstract_name(name).unwrap();
        Self::of(
            UnixDatagram::bind_addr(&address).unwrap(),
            format!("@{name}"),
        )
    }

    fn of(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        Self { socket, name }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next message, each line an assignment.
    #[track_caller]
    pub fn next(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let len = self.socket.recv(&mut message).expect("a message");
        let text = std::str::from_utf8(&message[..len]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Checks that no message waits.
    #[track_caller]
    pub fn must_be_empty(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let mut message = [0; 4096];
        let received = self.socket.recv(&mut message);
        assert_eq!(received.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }
}
