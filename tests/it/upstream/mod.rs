//! Origins: balancing, health, names, connecting.

mod balance;
mod connect;
mod health;
mod names;
mod origins;
