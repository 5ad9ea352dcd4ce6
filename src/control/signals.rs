//! Unix signals as events.

use std::io;

use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

use crate::control::shutdown::StopMode;
use crate::sys::{self, Delivery};

/// Signals that end a process by default and mean something else for a server. A renewal or a log
/// rotation may send one at any time, also before a handler is installed.
const BLOCKED: [i32; 3] = [
    SignalKind::hangup().as_raw_value(),
    SignalKind::user_defined1().as_raw_value(),
    SignalKind::user_defined2().as_raw_value(),
];

/// Blocks HUP, USR1 and USR2 until [`Signals::listen`] installs handlers or [`unblock`] is called. Must be
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
    /// USR2, by which other proxies hand over to a new process.
    Takeover,
}

/// Receives signals.
#[derive(Debug)]
pub struct Signals {
    pub(crate) mode: StopMode,
    received: mpsc::Receiver<Signal>,
}

impl Signals {
    /// Receives the signals of the process, which stop it as `mode` says. Installs the handlers, then
    /// unblocks: signals that came during the start are delivered now.
    ///
    /// # Errors
    ///
    /// A handler cannot be installed.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn listen(mode: StopMode) -> io::Result<Self> {
        let mut handlers = Handlers::install()?;
        let (signals, this) = Self::channel(mode);
        tokio::spawn(async move { while signals.send(handlers.next().await).await.is_ok() {} });
        unblock()?;
        Ok(this)
    }

    /// Receives what is sent.
    pub(crate) fn channel(mode: StopMode) -> (mpsc::Sender<Signal>, Self) {
        let (sender, received) = mpsc::channel(1);
        (sender, Self { mode, received })
    }

    /// The next signal; waits forever once there is no sender.
    pub(crate) async fn next(&mut self) -> Signal {
        match self.received.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}

struct Handlers {
    term: unix::Signal,
    int: unix::Signal,
    quit: unix::Signal,
    hup: unix::Signal,
    usr1: unix::Signal,
    usr2: unix::Signal,
}

impl Handlers {
    fn install() -> io::Result<Self> {
        Ok(Self {
            term: unix::signal(SignalKind::terminate())?,
            int: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            hup: unix::signal(SignalKind::hangup())?,
            usr1: unix::signal(SignalKind::user_defined1())?,
            usr2: unix::signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Stop,
            _ = self.int.recv() => Signal::Stop,
            _ = self.quit.recv() => Signal::Stop,
            _ = self.hup.recv() => Signal::Reload,
            _ = self.usr1.recv() => Signal::Reopen,
            _ = self.usr2.recv() => Signal::Takeover,
        }
    }
}
