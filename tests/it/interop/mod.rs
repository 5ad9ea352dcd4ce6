//! Real programs, from Debian and PyPI.

mod ends;
mod etcd;
mod mariadb;
mod negotiate;
mod programs;
mod prometheus;
mod pypi;
mod services;
mod systemd;
mod web;

pub use services::{mosquitto, postgres, redis};
