//! Unix signals as events.

use std::io;

use tokio::signal::unix::{self, SignalKind};

use crate::sys::{self, Delivery};

/// Signals that end a process by default and mean something else for a server. A renewal or a log
/// rotation may send one at any time, also before a handler is installed.
const BLOCKED: [i32; 2] = [
    SignalKind::hangup().as_raw_value(),
    SignalKind::user_defined1().as_raw_value(),
];

/// Blocks HUP and USR1 until [`Signals::listen`] installs handlers or [`unblock`] is called. Must be
/// called before any thread is started.
pub(crate) fn block() -> io::Result<()> {
    sys::deliver(&BLOCKED, Delivery::Blocked)
}

/// Unblocks what [`block`] has blocked.
pub(crate) fn unblock() -> io::Result<()> {
    sys::deliver(&BLOCKED, Delivery::Open)
}

/// What a signal requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// TERM, INT, QUIT.
    Stop,
    /// HUP.
    Reload,
    /// USR1.
    Reopen,
}

pub(crate) struct Signals {
    term: unix::Signal,
    int: unix::Signal,
    quit: unix::Signal,
    hup: unix::Signal,
    usr1: unix::Signal,
}

impl Signals {
    /// Installs the handlers, then unblocks: signals that came during the start are delivered now.
    pub(crate) fn listen() -> io::Result<Self> {
        let signals = Self {
            term: unix::signal(SignalKind::terminate())?,
            int: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            hup: unix::signal(SignalKind::hangup())?,
            usr1: unix::signal(SignalKind::user_defined1())?,
        };
        unblock()?;
        Ok(signals)
    }

    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Stop,
            _ = self.int.recv() => Signal::Stop,
            _ = self.quit.recv() => Signal::Stop,
            _ = self.hup.recv() => Signal::Reload,
            _ = self.usr1.recv() => Signal::Reopen,
        }
    }
}
