//! The printed form of a value as data.

/// The printed form of a value, in order of declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// A single value.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// A map.
    Map(Vec<(String, Self)>),
}
