//! Unix signals as events.

use std::io;

use tokio::signal::unix::{self, SignalKind};

use crate::sys::{self, Delivery};

/// Signals whose default is to end the process, and which ask a server for something else. A renewal or
/// a log rotation may send one at any time, also before there is a handler.
const HELD: [i32; 2] = [
    SignalKind::hangup().as_raw_value(),
    SignalKind::user_defined1().as_raw_value(),
];

/// Holds back HUP and USR1 until [`Signals::listen`] has handlers for them, or [`let_in`] is called. To
/// be called before any thread is started.
pub(crate) fn hold() -> io::Result<()> {
    sys::deliver(&HELD, Delivery::Blocked)
}

/// Lets in what [`hold`] has held back.
pub(crate) fn let_in() -> io::Result<()> {
    sys::deliver(&HELD, Delivery::Open)
}

/// What a signal asks for.
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
    /// Installs the handlers. What was held back during the start comes then.
    pub(crate) fn listen() -> io::Result<Self> {
        let signals = Self {
            term: unix::signal(SignalKind::terminate())?,
            int: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            hup: unix::signal(SignalKind::hangup())?,
            usr1: unix::signal(SignalKind::user_defined1())?,
        };
        let_in()?;
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
