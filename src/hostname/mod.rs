//! Host names in normal form, patterns of host names, and a table from patterns to values.
//!
//! Pure. Routes and certificates are looked up in the same type of table, so both interpret a name in
//! the same way.

mod name;
mod pattern;
mod table;
mod template;
#[cfg(test)]
mod tests;

pub use self::name::{HostName, HostNameError, is_typographic};
pub use self::pattern::HostPattern;
pub use self::table::HostTable;
pub use self::template::{HostTemplate, HostTemplateError};
