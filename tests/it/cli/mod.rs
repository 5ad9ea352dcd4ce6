//! Commands that need no running process, and `forward`; and how commands find the configuration.

mod convert;
mod files;
mod forward;
mod init;
mod man;
