//! The relay: copies bytes between two transports in both directions until both have ended or a limit is
//! reached.
//!
//! What the relay promises:
//! - it passes an end on as what it was: a clean end (close_notify or FIN) as a clean end, an abort (reset,
//!   or TLS without close_notify) as a reset, and only after it has sent everything it read;
//! - one direction may end while the other continues, as long as there is progress within `half_close`;
//!   bytes that leave the kernel's send queue count as progress;
//! - a direction may be held back by limits of bandwidth: it is then not read, is not idle, and the ends
//!   that Reseal decides come all the same;
//! - it buffers at most one read for a peer that does not read, and still notices within `half_close` that
//!   the other one has ended or reset its connection.
//!
//! The relay knows no configuration and writes no log; it returns how it ended.

mod deadlines;
mod direction;
mod end;
mod fault;
mod handle;
mod limits;
mod loss;
mod pace;
mod side;
mod state;
mod teardown;
#[cfg(test)]
mod tests;

use std::future::poll_fn;

use tokio::time::{Instant, sleep_until};

pub use self::end::RelayEnd;
pub use self::handle::{Command, ConnHandle};
pub use self::limits::{Limits, OnTruncation};
pub use self::loss::Loss;
pub use self::pace::{Delay, Pace};
pub use self::side::Side;
pub use self::state::Relay;
pub use self::teardown::Teardown;

impl Relay {
    /// Copies bytes until the end and returns how it ended. The [`Teardown`], if any, is what remains to be
    /// done. The relay reports its byte counts to `handle` and takes its commands from it.
    pub async fn run(mut self: Box<Self>, handle: &ConnHandle) -> (RelayEnd, Option<Teardown>) {
        let now = Instant::now();
        // Bytes that came with the handshakes count, too.
        handle.progress(self.up.moved(), self.down.moved(), now);
        self.deadlines.set_command(handle.command());
        let mut timer = std::pin::pin!(sleep_until(self.next_check(now)));
        let end = loop {
            tokio::select! {
                biased;
                end = poll_fn(|cx| self.poll(cx, timer.as_mut(), handle)) => break end,
                () = handle.changed() => {
                    self.deadlines.set_command(handle.command());
                    timer.as_mut().reset(self.next_check(Instant::now()));
                }
            }
        };
        let teardown = Teardown::new(self, &end);
        (end, teardown)
    }
}
