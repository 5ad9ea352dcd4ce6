//! The exit codes of all commands.

use std::process::ExitCode;

/// Exit codes. The numbers are part of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Success; a server has drained.
    Good = 0,
    /// `check` found problems, or connections were aborted at the drain deadline.
    Bad = 1,
    /// The configuration is invalid or cannot be read.
    Refused = 2,
    /// An address cannot be bound.
    CannotBind = 3,
    /// The machine or Reseal itself failed.
    Internal = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
