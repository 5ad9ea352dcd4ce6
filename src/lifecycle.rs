//! The phases of the process, which connections watch.

use std::time::Duration;

use tokio::sync::watch;

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Run,
    /// Serving still, but not ready: those who look should send their clients elsewhere.
    LameDuck,
    /// Stopping: nothing new is accepted, connections may finish.
    Drain {
        /// A connection without a byte for this long ends first.
        idle_after: Duration,
    },
    /// Every connection ends now.
    Cut,
}

impl Phase {
    /// Whether new connections are accepted.
    pub const fn accepts(self) -> bool {
        matches!(self, Self::Run | Self::LameDuck)
    }

    /// The word for it, for people and probes.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Run => "serving",
            Self::LameDuck => "lame duck",
            Self::Drain { .. } | Self::Cut => "draining",
        }
    }
}

/// A connection's view of the phases.
pub type Phases = watch::Receiver<Phase>;

/// Waits until connections are to be cut. Never ends when the process has no such moment any more.
pub async fn cut(phases: &mut Phases) {
    if phases.wait_for(|phase| *phase == Phase::Cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}
