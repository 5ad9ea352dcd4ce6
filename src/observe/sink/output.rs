//! Where log lines can go.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::observe::log_file::{LogFile, append};

/// A destination for log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// No output.
    None,
    /// A file to append to.
    File(PathBuf),
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("standard output"),
            Self::Stderr => f.write_str("standard error"),
            Self::None => f.write_str("nothing"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// An open output.
#[derive(Debug)]
pub(super) enum Destination {
    Stdout,
    Stderr,
    File(PathBuf, LogFile),
}

impl Destination {
    pub(super) fn open(output: &Output) -> io::Result<Self> {
        Ok(match output {
            Output::Stdout | Output::None => Self::Stdout,
            Output::Stderr => Self::Stderr,
            Output::File(path) => Self::File(path.clone(), append(path)?),
        })
    }

    /// Gives a file that was made for this log to a user.
    pub(super) fn give_to(&self, uid: u32) -> io::Result<()> {
        match self {
            Self::File(_, file) => file.give_to(uid),
            Self::Stdout | Self::Stderr => Ok(()),
        }
    }

    /// Opens the file again under its name.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        if let Self::File(path, file) = self {
            // Keep the old file if the new one cannot be opened, so that no line is lost.
            *file = append(path)?;
        }
        Ok(())
    }
}

impl Write for Destination {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().write(buf),
            Self::Stderr => io::stderr().write(buf),
            Self::File(_, log) => log.file.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().flush(),
            Self::Stderr => io::stderr().flush(),
            Self::File(_, log) => log.file.flush(),
        }
    }
}
