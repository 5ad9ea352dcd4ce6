//! Listening sockets and the accept loop.
//!
//! Knows addresses and sockets, not what happens on a connection: accepted sockets are handed on.
//! The accept loop never waits for a peer.

mod accept;
mod bind;
mod socket_file;
pub mod unix;

pub use accept::{DoorState, Intake, accept_loop};
pub use bind::{Beside, BindError, Bound, bind, cannot_listen};
