//! The admin API, `ctl`, metrics and logs.

mod alerts;
mod api;
mod audit;
mod ctl;
mod dashboard;
mod dashboard_api;
mod log;
mod log_level;
mod metrics;
mod operator;
mod origin_metrics;
mod otlp;
mod own_files;
mod process_metrics;
mod steps;
mod syslog;
mod tcp;
mod top;
mod trace;
