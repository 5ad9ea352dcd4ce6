//! The documentation: its links, and everything in it that can be run.

mod links;
mod moving;
mod page;
mod pieces;
mod run;
