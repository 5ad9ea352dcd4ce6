//! What operators see: the access log, the process's own log and its metrics.
//!
//! Renders and writes values that others hand over; decides nothing. Nothing here waits for a disk
//! or a terminal on a worker thread.

pub mod access_log;
pub mod escape;
pub mod format;
mod log_file;
pub mod logging;
pub mod metrics;
pub mod sink;
