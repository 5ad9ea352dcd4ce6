//! Verifiers of client and origin certificates: chains, CRLs, allow rules and the cache of verified
//! chains. Knows no socket and no handshake.

pub mod allow;
pub mod authorities;
mod cache;
pub(in crate::tls) mod chain;
pub mod client;
pub mod crl;
pub(in crate::tls) mod errors;
pub(in crate::tls) mod limits;
pub(in crate::tls) mod names;
pub mod origin;
pub mod revoked;
pub(in crate::tls) mod signed;
