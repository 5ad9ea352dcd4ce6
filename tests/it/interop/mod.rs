//! Real programs, from Debian and PyPI.

mod any_protocol;
mod ends;
mod etcd;
mod mail;
mod mariadb;
mod negotiate;
mod openbao;
mod postgresql;
mod programs;
mod prometheus;
mod pypi;
mod services;
mod squid;
mod systemd;
mod vault;
mod web;
mod xmpp;

pub use services::{mosquitto, postgres, redis};
