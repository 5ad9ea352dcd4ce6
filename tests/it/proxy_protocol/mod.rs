//! The PROXY protocol, received and sent.

mod configuration;
mod corpus;
mod inbound;
mod outbound;
mod real_peers;
