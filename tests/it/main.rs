//! Reseal as its users meet it: the real binary, real sockets, real programs.
//!
//! One binary with a module for each capability. The harness makes what a test needs, certificates
//! and ports included, so that tests run beside each other and leave nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking, and its modules are all of one crate"
)]

mod harness;

mod admin;
mod admission;
mod alerts;
mod allow;
mod bad_files;
mod balance;
mod bytes;
mod chain_bombs;
mod chains;
mod client_auth;
mod client_auth_resumption;
mod commands;
mod config_errors;
mod config_meaning;
mod config_review;
mod config_upstreams;
mod connect;
mod control;
mod ctl;
mod cut_faults;
mod cuts;
mod descriptors;
mod directories;
mod early_data;
mod ends;
mod explain;
mod half_close;
mod health;
mod hello;
mod hello_corpus;
mod house;
mod leaks;
mod log;
mod matrix;
mod metrics;
mod modes;
mod modes_alpn;
mod modes_names;
mod names;
mod origin_policy;
mod origin_sessions;
mod origin_tls;
mod origins;
mod overlaps;
mod own_files;
mod pairs;
mod pem_corpus;
mod presented;
mod promises;
mod proxy_protocol_config;
mod proxy_protocol_corpus;
mod proxy_protocol_in;
mod proxy_protocol_out;
mod proxy_protocol_real;
mod real;
mod real_ends;
mod real_etcd;
mod real_services;
mod real_web;
mod reload;
mod reload_identity;
mod reload_load;
mod revocation;
mod rotation;
mod schedules;
mod sessions;
mod slow_peers;
mod staple;
mod stop;
mod stubborn;
mod suites;
mod trust_files;
mod turns;
mod version_1;
mod wire_limits;
