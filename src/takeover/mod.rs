//! The hand-over of listening sockets from a running process to its successor, over a unix socket.
//!
//! ```text
//! successor                                      running process
//! {"takeover": 1, "version": "0.1.0"}  ------->
//!                                      <-------  {"takeover": 1, "generation": 7, "sockets": [..]}
//!                                      <-------  the descriptors, 253 with each byte
//! {"ready": [0, 1]}                    ------->  it stops accepting there, and drains
//!                                      <-------  {"released": true}
//! ```
//!
//! A message is its length in four bytes, most significant first, and that much JSON. In place of each of its
//! messages the running process may send `{"refused": "why"}`. A connection that ends, or is silent for
//! [`SILENCE`], ends the takeover, and the running process continues. The first byte is 0, which begins no
//! HTTP request.

mod frame;
mod giving;
mod offer;
mod peer;
mod taking;

pub use self::giving::Giving;
pub use self::offer::{Offered, Role, SILENCE};
pub use self::taking::Taking;

#[cfg(test)]
mod tests;
