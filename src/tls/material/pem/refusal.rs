//! The refusal of a file: what is wrong with it, and the remedy.

/// Why bytes are refused, with a remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The line with the error, counted from 1, if it is in one line.
    pub line: Option<usize>,
    /// What is wrong. Of the file's bytes it contains only labels of blocks.
    pub reason: String,
    /// How to fix it.
    pub help: String,
}

impl Refusal {
    pub(in crate::tls::material) fn new(
        line: impl Into<Option<usize>>,
        reason: impl Into<String>,
        help: &str,
    ) -> Self {
        Self {
            line: line.into(),
            reason: reason.into(),
            help: help.to_owned(),
        }
    }
}

/// The remedy for a damaged file.
pub(super) const DAMAGED: &str =
    "take the file once more from where it comes, or take the damaged block out";
