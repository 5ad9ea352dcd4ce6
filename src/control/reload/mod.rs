//! Reload: watching files, queueing, preparing all that can fail, and committing.

pub(crate) mod plan;
pub(crate) mod prepare;
pub(crate) mod queue;
pub(crate) mod watch;
