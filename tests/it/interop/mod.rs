//! Real programs from Debian, each with its own client.

mod ends;
mod etcd;
mod programs;
mod services;
mod tour;
mod web;
