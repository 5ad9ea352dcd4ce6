//! Ending both sockets of a relay as honestly as the end was.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Relay, RelayEnd, Side};
use crate::leg::Leg;

/// How long what was already read may take to be sent before a reset that we decide.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// A reset that is passed on waits for `half_close`; without that limit, for this long.
const UNLIMITED: Duration = Duration::from_secs(24 * 3600);

/// Ends the sockets: after a clean end there is nothing left to say; after any other, what was
/// already read is delivered, then both are reset.
pub(super) async fn end(relay: Relay, end: &RelayEnd) {
    let (to_client, to_origin) = match end {
        RelayEnd::Clean => return,
        RelayEnd::Reset(side, _) | RelayEnd::Truncated(side) | RelayEnd::Failed(side, _) => {
            let patient = relay.limits.half_close.unwrap_or(UNLIMITED);
            match side {
                Side::Client => (LAST_BYTES, patient),
                Side::Origin => (patient, LAST_BYTES),
            }
        }
        _ => (LAST_BYTES, LAST_BYTES),
    };
    let Relay {
        client,
        origin,
        up,
        down,
        ..
    } = relay;
    tokio::join!(
        cut(client, down.into_pending(), to_client),
        cut(origin, up.into_pending(), to_origin),
    );
}

async fn cut(mut leg: Leg, pending: Vec<u8>, patience: Duration) {
    let now = Instant::now();
    let deadline = now.checked_add(patience).unwrap_or(now + UNLIMITED);
    let _ = timeout_at(deadline, leg.socket.write_all(&pending)).await;
    leg.socket.delivered(deadline).await;
    leg.socket.reset();
}
