//! Reloads, drains and signals of a running process.

mod control;
mod identity;
mod reloads;
mod renewals;
mod stop;
mod under_load;
mod upstreams;
