//! End-to-end tests of Reseal: the real binary, real sockets, real programs.
//!
//! One binary with a module for each capability. The harness creates everything that a test needs,
//! certificates and ports included, so that tests run in parallel and leave nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are all of one crate"
)]

mod harness;

mod acme;
mod admin;
mod cli;
mod config;
mod docs;
mod fleet;
mod house;
mod house_files;
mod interop;
mod packaging;
mod policy;
mod promises;
mod proxy_protocol;
mod relay;
mod reload;
mod sandbox;
mod tls;
mod upstream;
