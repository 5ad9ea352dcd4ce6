//! What the process tells its connections: the phases that all of them watch until they are
//! established, and the leash by which each one is led from then on.

mod leash;
mod register;

use tokio::sync::watch;

pub use self::leash::{Leash, Order};
pub use self::register::{Entry, Register, Registered};

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

/// A view of the phases.
pub type Phases = watch::Receiver<Phase>;

/// Waits until connections are to be cut. Never ends when the process has no such moment any more.
pub async fn cut(phases: &mut Phases) {
    if phases.wait_for(|phase| *phase == Phase::Cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}
