//! The relay in every mode: delivery, ends, half-close, limits, slow and misbehaving peers.

mod abort_faults;
mod bandwidth;
mod bytes;
mod delays;
mod descriptors;
mod fairness;
mod half_close;
mod leaks;
mod limits;
mod modes;
mod modes_alpn;
mod modes_names;
mod panics;
mod random_schedules;
mod robustness;
mod slow_peers;
