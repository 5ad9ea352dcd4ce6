//! Reseal: a TLS-terminating and re-encrypting TCP proxy.
//!
//! # From above
//!
//! A client's stream comes in at an **endpoint**. What the client says first (its ClientHello)
//! chooses a **route**, and the route is one immutable object that says everything else: whether TLS
//! ends here, with which certificate and which demands on the client's own, and to which **upstream**
//! the bytes go, in the clear or over TLS again. Every connection ends in exactly one **outcome**: the stage
//! it reached, whose fault the end was, and a stable reason code.
//!
//! Data flows one way:
//!
//! ```text
//! file --config--> Snapshot --control--> listeners --worker--> accepted sockets
//!      --connection: hello, route, client TLS, dial, origin TLS, relay--> Outcome --observe--> log
//! ```
//!
//! [`connection`] is the straight line of one connection, in one function. There are two planes:
//! [`worker`] accepts and serves, each worker a thread with a runtime, accept sockets and buffers of its
//! own; [`control`] runs beside them, with reloads, drains, the state of origins ([`upstream`],
//! [`health`]), signals and the [`admin`] API. [`server`] starts both.
//!
//! A reload prepares a new snapshot, in which all that can fail has failed, and swaps one pointer.
//! Connections keep the snapshot that they were accepted with; a command through their handle
//! (`relay::ConnHandle`) drains those that left the configuration, and ends those whose certificate
//! today's policy does not admit.
//!
//! # What must stay true
//!
//! - Below [`config`], nothing knows YAML, files' texts or defaults. A [`snapshot`] holds no number
//!   that changes and no text that still has to be understood.
//! - The stages ([`admission`], [`tls`], [`route`], [`upstream`], [`proxy_protocol`], [`relay`]) do not
//!   import each other, log nothing and count nothing. They return values; [`connection`] joins them,
//!   records and counts once.
//! - The origin is not dialled before the client has passed TLS and client auth.
//! - Every await before the relay is under an absolute deadline; every await in it under idle,
//!   half-close, lifetime or drain.
//! - A connection holds no buffer while it waits: [`transport`] lends the worker's.
//! - What must happen at the end of a connection happens in a `Drop` or in `connection::run`.
//! - Only `worker` starts tasks for connections, and `server` threads, and `admin` for those of its own;
//!   `upstream` and `health` start some that outlive connections.
//! - `unsafe` is in `sys` alone.
//!
//! The modules, in the order in which to read them:

pub mod outcome;

pub mod name;

pub mod phase;

pub mod snapshot;

pub mod connection;

pub mod admission;

pub mod transport;

pub mod tls;

pub mod route;

pub mod upstream;

pub mod health;

pub mod proxy_protocol;

pub mod relay;

pub mod observe;

pub mod listener;

pub mod worker;

pub mod control;

pub mod admin;

pub mod server;

pub mod config;

pub mod cli;

mod sys;
