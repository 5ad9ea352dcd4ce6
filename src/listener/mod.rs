//! Listening sockets and the accept loop.
//!
//! Knows addresses and sockets, not what happens on a connection: accepted sockets are handed on.
//! The accept loop never waits for a peer.

mod bind;
mod socket_file;
pub mod unix;

pub use bind::{BindError, BoundSocket, ProbePolicy, bind, cannot_listen};
