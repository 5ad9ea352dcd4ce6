//! Listening sockets: TCP, unix, and those that systemd passes.
//!
//! This module binds sockets for the workers. It knows addresses and sockets, not connections.

mod bind;
pub mod preflight;
mod socket_file;
pub mod unix;

pub use bind::{BindError, BoundSocket, ProbePolicy, bind, cannot_listen};
