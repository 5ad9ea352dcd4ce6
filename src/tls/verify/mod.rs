//! Verifiers of certificates: the client's and the origin's, with their rules, revocation lists and the
//! cache of their verdicts. Knows no socket and no handshake.

pub mod allow;
pub mod authorities;
mod cache;
pub(in crate::tls) mod chain;
pub mod client;
pub mod crl;
pub(in crate::tls) mod limits;
pub(in crate::tls) mod names;
pub mod origin;
