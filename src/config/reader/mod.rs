//! The machinery of the configuration: from text to typed values with spans, all problems at once; a
//! schema and a printed form come from the same declarations. Knows no key.
//!
//! [`yaml`] is the tree of located nodes, [`read`] and the macros in [`fields`] and [`words`] turn nodes
//! into declared types, and [`problem`] collects errors.

pub mod address;
mod address_advice;
pub mod admin_address;
mod brackets;
pub mod byte_rate;
pub mod compose;
pub mod definitions;
pub mod delay;
mod expand;
pub mod fields;
pub mod generic;
mod indentation;
pub mod invalid;
pub mod ip;
pub mod listen;
mod loose_quantities;
mod mistake;
pub mod networks;
pub mod print;
mod printable;
pub mod problem;
mod quantities;
pub mod rate;
pub mod read;
pub mod redact;
pub mod reference;
pub mod rendered;
pub mod schema;
mod snippet;
mod syntax;
pub mod values;
pub mod words;
pub mod yaml;
