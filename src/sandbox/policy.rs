//! What the configuration says about the sandbox.

use std::path::PathBuf;

/// How much the process gives up, and whether it may run without that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything that it does not need, or it does not run.
    Required,
    /// Writing, executing, listening and other processes, as far as the kernel can.
    BestEffort,
    /// Nothing.
    Off,
}

/// What the configuration says about the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How much is given up.
    pub mode: Mode,
    /// What is kept for later reloads.
    pub also: Room,
}

/// What is kept beyond what the configuration needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Files and directories that may be read.
    pub read: Vec<PathBuf>,
    /// Directories in which log files and sockets may be made, and files that may be written.
    pub write: Vec<PathBuf>,
    /// TCP ports that may be connected to.
    pub connect: Vec<u16>,
    /// TCP ports that may be listened on.
    pub bind: Vec<u16>,
}
