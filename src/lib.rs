//! Reseal: a TLS-terminating and re-encrypting TCP proxy.
//!
//! # From above
//!
//! A client's stream comes in at an **endpoint**. What the client says first (its ClientHello)
//! chooses a **route**, and the route is one immutable object that says everything else: whether TLS
//! ends here, with which certificate and which demands on the client's own, and to which **upstream**
//! the bytes go, plain or sealed again. Every connection ends in exactly one **outcome**: the stage
//! it reached, whose fault the end was, and a stable reason code.
//!
//! Data flows one way:
//!
//! ```text
//! file --config--> Snapshot --server--> workers --endpoint--> accepted sockets
//!      --connection: hello, route, client TLS, dial, origin TLS, relay--> Outcome --observe--> log
//! ```
//!
//! The journey of one connection is [`connection`]'s to tell, in one function. Each worker thread has
//! a runtime, accept sockets and buffers of its own; names are looked up and origins are checked
//! ([`health`]) on the control runtime, where [`admin`] answers, too.
//!
//! A reload goes the same way again: [`config`] prepares a new snapshot, in which all that can fail has
//! failed, and [`server`] swaps one pointer. Connections keep the snapshot that they were born with and
//! are led by a leash ([`lifecycle`]): what left the configuration drains, and whom the policy of today
//! does not admit is closed.
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
//! - Only `server` starts tasks and threads for connections, and `admin` for those of its own;
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
