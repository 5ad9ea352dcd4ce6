//! The printed form of a value as data.

/// The printed form of a value, in order of declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered {
    /// A single value.
    Text(String),
    /// A single value that the file gives by variables.
    Variable {
        /// The value.
        value: String,
        /// The text of the file, which is printed.
        written: String,
    },
    /// A list.
    List(Vec<Self>),
    /// A map.
    Map(Vec<(String, Self)>),
}

impl Rendered {
    /// The same with the values of variables.
    #[must_use]
    pub fn expanded(self) -> Self {
        match self {
            Self::Variable { value, .. } => Self::Text(value),
            Self::List(items) => Self::List(items.into_iter().map(Self::expanded).collect()),
            Self::Map(entries) => {
                let entries = entries.into_iter();
                Self::Map(entries.map(|(k, v)| (k, v.expanded())).collect())
            }
            Self::Text(_) => self,
        }
    }
}
