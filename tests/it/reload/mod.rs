//! Reloads, drains and signals of a running process.

mod control;
mod identity;
mod notifications;
mod queues;
mod reloads;
mod renewals;
mod stop;
mod takeover;
mod under_load;
mod upstreams;
