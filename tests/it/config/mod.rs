//! The configuration: errors, warnings, meaning, `check` and `explain`.

mod bad_files;
mod commands;
mod connect;
mod connect_through;
mod errors;
mod explain;
mod meaning;
mod mistakes;
mod review;
mod routes_files;
mod upstreams;
