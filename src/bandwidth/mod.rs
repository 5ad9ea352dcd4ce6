//! How many bytes a second a route moves in each direction, and each of its connections. Knows no socket:
//! the relay asks a [`Flow`] before it moves bytes, and tells it afterwards what has moved.
//!
//! A limit is a token bucket that hands out reservations in the order in which they are asked for. Each
//! connection has one at a time, of a few milliseconds' worth, so that connections take turns on whatever
//! worker they are, without a queue: a reservation says when it is due, and its connection sleeps until then.

mod bucket;
mod credit;
mod flow;
mod rate;
mod route;

pub use self::flow::Flow;
pub use self::rate::{ByteRate, Rates};
pub use self::route::{BandwidthUse, DelayedBytes, RouteBandwidth, Way};
