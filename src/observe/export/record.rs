//! What is sent to collectors.

use std::time::SystemTime;

/// A record for a collector.
#[derive(Debug)]
pub(in crate::observe) struct Exported {
    /// The moment of its event.
    pub(in crate::observe) at: SystemTime,
    /// `open`, `progress` or `close`.
    pub(in crate::observe) event: &'static str,
    /// Whether the connection has ended by somebody's fault.
    pub(in crate::observe) is_fault: bool,
    /// The record, without an end of line.
    pub(in crate::observe) text: String,
}
