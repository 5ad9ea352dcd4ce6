//! Reseal: a TLS-terminating and re-encrypting TCP proxy.
//!
//! # Overview
//!
//! A client connects to an **endpoint**. Its ClientHello selects a **route**. The route is one immutable
//! object that holds everything else: whether TLS ends here, with which certificate and which policy on the
//! client's certificate, and to which **upstream** the bytes go, with or without TLS. Every connection ends
//! in exactly one **outcome**: the stage that it reached, whose fault the end was, and a stable reason code.
//!
//! Data flows one way:
//!
//! ```text
//! file --config--> Snapshot --control--> listeners --worker--> accepted sockets
//!      --connection: hello, route, client TLS, dial, origin TLS, relay--> Outcome --observe--> log
//! ```
//!
//! [`connection`] is the straight line of stages of one connection. There are two planes: [`worker`] accepts
//! and serves, each worker a thread with its own runtime, accept sockets and buffers; [`control`] runs beside
//! them and handles reloads, drains, signals, the [`admin`] API and the state of origins ([`upstream`],
//! [`health`]). [`server::run`] runs both.
//!
//! A reload first prepares a new snapshot and binds new sockets, which can fail, and then swaps one pointer.
//! Connections keep the route that they were accepted with. Commands through their handle
//! (`relay::ConnHandle`) drain those whose endpoint, route or origin left the configuration, and close those
//! whose client certificate today's policy does not admit.
//!
//! docs/architecture.md follows the data through these modules on four paths, and describes where a new key,
//! reason, metric or mode goes. CONTRIBUTING.md describes how to build, test, bench and fuzz.
//!
//! # Invariants
//!
//! - Below [`config`], nothing knows YAML, the text of the file or defaults. A [`snapshot`] holds no number
//!   that changes and no text that still has to be parsed.
//! - The stages ([`admission`], [`tls`], [`negotiate`], [`route`], [`upstream`], [`proxy_protocol`],
//!   [`relay`]) do not import each other, do not log and do not count. They return values; [`connection`]
//!   joins them, and records and counts once.
//! - The origin is not dialled before the client has passed TLS and client auth.
//! - Every await before the relay is under an absolute deadline; every await in it is under idle,
//!   half-close, lifetime or drain.
//! - A connection holds no buffer while it waits: [`transport`] lends the worker's.
//! - What must happen at the end of a connection is in a `Drop` or in `connection::run`.
//! - Only `worker` spawns tasks for connections, and `admin` for its own; tasks of `upstream`, `health`, `acme`,
//!   `vault` and `revocation` outlive connections. `server` starts the threads of both planes, `observe` one for each log.
//! - `unsafe` is in `sys` alone.
//!
//! The modules are private: `cargo doc --document-private-items` shows them. In the order in which to read
//! them:

mod outcome;

mod hostname;

mod phase;

mod snapshot;

mod connection;

mod admission;

mod bandwidth;

mod revoked;

mod transport;

mod tls;

mod route;

mod upstream;

mod fleet;

mod health;

mod state;

mod fetch;

mod revocation;

mod vault;

mod acme;

mod proxy_protocol;

mod negotiate;

mod relay;

mod observe;

mod takeover;

mod listener;

mod worker;

mod control;

mod admin;

mod server;

mod config;

mod cli;

#[doc(hidden)]
pub mod internals;

mod sandbox;

mod sync;
mod sys;

pub use cli::main;
