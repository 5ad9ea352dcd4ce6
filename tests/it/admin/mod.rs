//! The admin API, `ctl`, metrics and logs.

mod alerts;
mod api;
mod ctl;
mod log;
mod metrics;
mod own_files;
