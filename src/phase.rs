//! The phases of the process, which connections and workers watch.

use tokio::sync::watch;

/// The phase of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving.
    Run,
    /// Serving but not ready: load balancers that probe should send clients elsewhere.
    LameDuck,
    /// Stopping: accepts no connections; existing ones may finish.
    Drain,
    /// All connections are aborted now.
    Abort,
}

impl Phase {
    /// The word used in status output and probes.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Run => "serving",
            Self::LameDuck => "lame duck",
            Self::Drain | Self::Abort => "draining",
        }
    }
}

/// Receives the phases.
pub type PhaseRx = watch::Receiver<Phase>;

/// Waits until the process aborts its connections; forever, if the sender is gone.
pub async fn aborted(phases: &mut PhaseRx) {
    if phases
        .wait_for(|phase| *phase == Phase::Abort)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}
