//! Commands that need no running process: `init`, `man`; and how commands find the configuration.

mod convert;
mod files;
mod init;
mod man;
