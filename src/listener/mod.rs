//! Listening sockets: TCP, unix, and those that systemd passes.
//!
//! This module binds sockets for the workers. It knows addresses and sockets, not connections.

mod bind;
pub mod preflight;
mod socket;
mod socket_file;
mod systemd;
mod taken;
pub mod unix;

pub use bind::{ProbePolicy, bind, cannot_listen};
pub use socket::{BindError, BoundSocket, Listens};
pub use taken::take;
