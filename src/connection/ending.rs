//! What the record says of an end in the relay.

use crate::outcome::Reason;
use crate::relay::{Loss, RelayEnd, Side};
use crate::tls::{classify, words};

pub(super) fn describe(end: &RelayEnd) -> (Reason, Option<String>) {
    match end {
        RelayEnd::Clean => (Reason::Ok, None),
        RelayEnd::EndedAlone(Side::Client) => (Reason::ClientClosed, None),
        RelayEnd::EndedAlone(Side::Origin) => (Reason::OriginClosed, None),
        RelayEnd::Undelivered => (Reason::HalfCloseTimeout, None),
        RelayEnd::Idle => (Reason::IdleTimeout, None),
        RelayEnd::Lifetime => (Reason::Lifetime, None),
        RelayEnd::Commanded(reason) => (*reason, None),
        RelayEnd::Reset(Side::Client, error, _) => (Reason::ClientReset, Some(error.to_string())),
        RelayEnd::Reset(Side::Origin, error, _) => (Reason::OriginReset, Some(error.to_string())),
        RelayEnd::Truncated(Side::Client, _) => (Reason::ClientTruncated, None),
        RelayEnd::Truncated(Side::Origin, _) => (Reason::OriginTruncated, None),
        RelayEnd::Failed(Side::Client, error) => (classify::client(error), Some(words::tls(error))),
        RelayEnd::Failed(Side::Origin, error) => (classify::origin(error), Some(words::tls(error))),
    }
}

/// Whether an end that was not clean is no fault: an abort that lost no data.
pub(super) const fn is_harmless(end: &RelayEnd) -> bool {
    matches!(
        end,
        RelayEnd::Reset(_, _, Loss::None) | RelayEnd::Truncated(_, Loss::None)
    )
}
