//! Bytes in every mode: delivery, ends, half-close, limits, slow and stubborn peers.

mod bytes;
mod cut_faults;
mod descriptors;
mod ends;
mod half_close;
mod leaks;
mod modes;
mod modes_alpn;
mod modes_names;
mod panics;
mod random_schedules;
mod robustness;
mod slow_peers;
mod turns;
