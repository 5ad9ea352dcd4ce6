//! Why the store did not do something.

use std::fmt;

use crate::fleet::settings::StoreEndpoint;

/// The gRPC code of a revision that was compacted.
const OUT_OF_RANGE: u64 = 11;

/// Why the store did not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdError {
    /// A member cannot be reached, or cannot serve.
    Unreachable {
        /// The member.
        endpoint: String,
        /// Why.
        why: String,
    },
    /// It refuses.
    Refused {
        /// The gRPC code.
        code: u64,
        /// Its message.
        message: String,
    },
    /// It answers what is not its protocol.
    Malformed(&'static str),
}

impl EtcdError {
    pub(super) fn unreachable(endpoint: &StoreEndpoint, why: impl Into<String>) -> Self {
        Self::Unreachable {
            endpoint: endpoint.to_string(),
            why: why.into(),
        }
    }

    /// Whether the revision that was asked for is gone.
    pub fn is_compacted(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == OUT_OF_RANGE)
    }
}

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { endpoint, why } => write!(f, "{endpoint}: {why}"),
            Self::Refused { message, .. } => f.write_str(message),
            Self::Malformed(what) => write!(f, "the answer has {what}"),
        }
    }
}
