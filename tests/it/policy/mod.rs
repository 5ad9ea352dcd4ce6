//! Access policy: client certificates, allow rules, revocation, admission, and resumption across policies.

mod admission;
mod allow;
mod chain_bombs;
mod chains;
mod client_auth;
mod limits;
mod matrix;
mod overlaps;
mod overload;
mod revocation;
mod sources;
