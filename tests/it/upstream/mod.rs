//! Origins: balancing, health, names, connecting.

mod balance;
mod connect;
mod health;
mod made_addresses;
mod names;
mod origins;
mod tunnel;
