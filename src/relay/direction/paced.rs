//! A direction that is held back: it moves what its pace allows.

use std::task::{Context, Poll, ready};

use super::{Abort, Direction, Discard};
use crate::transport::{Budget, Transport};

impl Direction {
    /// Moves bytes as soon as the pace allows some, and tells it how many.
    pub(super) fn advance_at_pace(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Transport,
        to: &mut Transport,
        back: &mut Self,
        budget: &mut Budget,
    ) -> Poll<()> {
        let Some(pace) = &mut self.pace else {
            return Poll::Ready(());
        };
        let allowed = pace.poll(cx, from);
        if allowed.is_pending() && pace.is_look_due() && self.look_for_resets(from, to, back) {
            return Poll::Ready(());
        }
        budget.allow(ready!(allowed));
        let before = self.moved;
        let advanced = self.advance(cx, from, to, back, budget);
        if let Some(pace) = &mut self.pace {
            pace.settle(self.moved - before);
        }
        advanced
    }

    /// Looks whether a peer has reset, which no event tells while bytes before the reset are not read. They
    /// get until the next look to move; an aborted transfer is not worth more time. Returns whether this ends
    /// the direction.
    fn look_for_resets(&mut self, from: &Transport, to: &Transport, back: &mut Self) -> bool {
        if let Some(error) = to.socket.gone() {
            self.lose_sink(error, Discard::Queued, back);
            return true;
        }
        let Some(pace) = &mut self.pace else {
            return false;
        };
        let error = self.source_error.take().or_else(|| from.socket.gone());
        let had_reset = pace.replace_reset(error.is_some());
        match error {
            Some(error) if had_reset => {
                self.abort(Abort::Reset(error));
                true
            }
            error => {
                self.source_error = error;
                false
            }
        }
    }
}
