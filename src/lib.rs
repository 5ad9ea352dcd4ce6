//! Reseal: a TLS-terminating and re-encrypting TCP proxy.
#![warn(missing_docs)]

pub mod admission;
pub mod cli;
pub mod config;
pub mod connection;
pub mod endpoint;
pub mod leg;
pub mod lifecycle;
pub mod name;
pub mod observe;
pub mod outcome;
pub mod relay;
pub mod route;
pub mod server;
pub mod snapshot;
mod sys;
pub mod tls;
pub mod upstream;
