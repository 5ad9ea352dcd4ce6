//! The phases of the process, which every connection that is not established yet watches.

use tokio::sync::watch;

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Run,
    /// Serving still, but not ready: those who look should send their clients elsewhere.
    LameDuck,
    /// Stopping: nothing new is accepted, connections may finish.
    Drain,
    /// Every connection ends now.
    Cut,
}

impl Phase {
    /// The word for it, for people and probes.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Run => "serving",
            Self::LameDuck => "lame duck",
            Self::Drain | Self::Cut => "draining",
        }
    }
}

/// Receives the phases.
pub type PhaseRx = watch::Receiver<Phase>;

/// Waits until connections are to be cut. Never ends when the process has no such moment any more.
pub async fn aborted(phases: &mut PhaseRx) {
    if phases.wait_for(|phase| *phase == Phase::Cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}
