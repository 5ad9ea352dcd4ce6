//! What all orders share.

use std::sync::Arc;

use super::challenges::Challenges;
use super::responder::Tokens;
use crate::upstream::Lookup;

/// Where validations are answered, and how CAs are found.
#[derive(Clone, Debug, Default)]
pub struct Means {
    /// Where validations are answered.
    pub challenges: Arc<Challenges>,
    /// What is answered by HTTP.
    pub tokens: Arc<Tokens>,
    /// Resolves the names of CAs.
    pub lookup: Lookup,
}
