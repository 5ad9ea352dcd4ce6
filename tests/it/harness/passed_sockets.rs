//! Listening sockets that a service manager passes (sd_listen_fds(3)).

use std::net::TcpListener;

use super::ListenAddr;

/// Descriptors that a child inherits as 3, 4 and so on, as if systemd had passed them.
pub struct PassedSockets {
    sockets: Vec<std::os::fd::OwnedFd>,
    places: Vec<ListenAddr>,
}

impl PassedSockets {
    pub fn new(count: usize) -> Self {
        let listeners: Vec<_> = (0..count)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        Self {
            places: listeners
                .iter()
                .map(|listener| ListenAddr::Tcp(listener.local_addr().unwrap()))
                .collect(),
            sockets: listeners
                .iter()
                .map(|listener| {
                    // Moved away from the numbers that the sockets will get.
                    let socket = rustix::io::fcntl_dupfd_cloexec(listener, 100).unwrap();
                    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
                    socket
                })
                .collect(),
        }
    }

    /// Where they listen.
    pub fn places(&self) -> &[ListenAddr] {
        &self.places
    }

    /// A program that passes the sockets under these names to the command that follows it.
    pub fn launcher(&self, names: &str) -> Vec<String> {
        let mut script = String::new();
        for (number, socket) in (3..).zip(&self.sockets) {
            let own = std::os::fd::AsRawFd::as_raw_fd(socket);
            script.push_str(&format!("exec {number}<&{own} {own}<&-\n"));
        }
        let count = self.sockets.len();
        // `exec` keeps the pid of the shell.
        script.push_str(&format!(
            "LISTEN_PID=$$ LISTEN_FDS={count} LISTEN_FDNAMES={names} exec \"$0\" \"$@\""
        ));
        ["bash", "-c", &script].map(str::to_owned).to_vec()
    }
}
