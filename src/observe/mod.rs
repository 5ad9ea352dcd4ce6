//! What operators see: the access log, the process's own log and its metrics.
//!
//! Renders and writes the values that other modules pass in; makes no decisions. No worker thread ever
//! waits for a disk or a terminal here.

pub mod access_log;
mod digits;
pub mod escape;
pub mod export;
pub mod failures;
pub mod format;
mod log_file;
pub mod logging;
pub mod metrics;
mod queue;
pub mod sink;
pub mod trace;
