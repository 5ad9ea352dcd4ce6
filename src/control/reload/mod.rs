//! ReloadQueue: noticing that files changed, queueing, preparing, and committing what was prepared.

pub(crate) mod plan;
pub(crate) mod prepare;
pub(crate) mod queue;
pub(crate) mod watch;
