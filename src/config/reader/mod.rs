//! From text to typed values with their places, all problems at once, and from the same declarations
//! a schema and a printed form. Knows no key of the configuration and no meaning of any.
//!
//! [`yaml`] makes a tree of located nodes, [`read`] and its macros in [`fields`] and [`words`] turn nodes
//! into declared types, and [`problem`] collects what is wrong on the way.

pub mod address;
pub mod admin_address;
mod compose;
mod expand;
pub mod fields;
pub mod generic;
pub mod print;
pub mod problem;
mod quantities;
pub mod read;
pub mod schema;
mod snippet;
pub mod values;
pub mod words;
pub mod yaml;
