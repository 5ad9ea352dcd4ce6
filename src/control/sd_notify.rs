//! Messages to systemd, or to another service manager that sets `NOTIFY_SOCKET` (sd_notify(3)).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// A message waits for this long while the queue of the socket is full.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest status text in bytes.
const STATUS_MAX: usize = 512;

/// Sends messages to the service manager; without one, it sends nothing. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notifier(Option<Arc<Target>>);

#[derive(Debug)]
struct Target {
    socket: UnixDatagram,
    /// Absent if it is connected.
    address: Option<SocketAddr>,
}

impl Notifier {
    /// The socket that `NOTIFY_SOCKET` names. A value that cannot be used is warned about.
    pub(crate) fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::default();
        };
        match Target::new(&name) {
            Ok(target) => Self(Some(Arc::new(target))),
            Err(error) => {
                warn!(%error, socket = %name.display(), "NOTIFY_SOCKET cannot be used");
                Self::default()
            }
        }
    }

    /// The process serves: it has started, or a reload has ended, well or refused.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", line_of(status)));
    }

    /// The same for a process that has taken over from the main process of the service.
    pub(crate) fn ready_as_main_process(&self, status: &str) {
        let pid = std::process::id();
        self.send(&format!("MAINPID={pid}\nREADY=1\n{}", line_of(status)));
    }

    /// A reload begins.
    pub(crate) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={micros}\n{}",
            line_of("reloading")
        ));
    }

    /// The process stops.
    pub(crate) fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\n{}", line_of(status)));
    }

    /// What the process does, for `systemctl status`.
    pub(crate) fn status(&self, status: &str) {
        self.send(&line_of(status));
    }

    /// Another process is the main process of the service from now on; a service manager may accept that from
    /// the main process alone. Nothing is sent later.
    pub(crate) fn hand_over(&mut self, pid: Option<u32>) {
        if let Some(pid) = pid {
            self.send(&format!("MAINPID={pid}"));
        }
        self.0 = None;
    }

    /// The process is alive.
    pub(crate) fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, message: &str) {
        let Some(target) = &self.0 else { return };
        let (socket, message) = (&target.socket, message.as_bytes());
        let sent = match &target.address {
            Some(address) => socket.send_to_addr(message, address),
            None => socket.send(message),
        };
        if let Err(error) = sent {
            warn!(%error, "the service manager cannot be notified");
        }
    }
}

impl Target {
    fn new(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => {
                return Err(io::Error::other(
                    "it is neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        // A sandbox keeps the process from abstract sockets, but not from one that it is connected to. One
        // with a path may be made anew.
        if address.as_abstract_name().is_some() {
            socket.connect_addr(&address)?;
            return Ok(Self {
                socket,
                address: None,
            });
        }
        Ok(Self {
            socket,
            address: Some(address),
        })
    }
}

/// The assignment of a status text: one line, without control characters.
fn line_of(status: &str) -> String {
    let mut line = String::from("STATUS=");
    for char in status.chars() {
        if line.len() + char.len_utf8() > STATUS_MAX {
            break;
        }
        line.push(if char.is_control() { ' ' } else { char });
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_of_bounded_length() {
        assert_eq!(line_of("a\nREADY=1\u{7f}"), "STATUS=a READY=1 ");
        assert_eq!(line_of(&"ä".repeat(1000)).len(), STATUS_MAX - 1);
    }

    #[test]
    fn a_name_of_another_kind_is_refused() {
        for name in ["vsock:2:1", "relative", "/\0"] {
            assert!(Target::new(OsStr::new(name)).is_err(), "{name}");
        }
    }
}
