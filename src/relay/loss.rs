//! Whether an abort may have lost data, which decides if it is a fault. Pure.
//!
//! An abort is a reset, or the end of a TLS stream without close_notify. Many clients and servers end good
//! connections with one. The relay knows how much each side has sent, in which order, and what was
//! delivered; it knows no protocol, so it cannot tell a whole message from half of one. In doubt it reports
//! a possible loss.

use super::side::Side;

/// The longest final message that needs no answer, in bytes: MQTT's DISCONNECT, PostgreSQL's Terminate, h2's
/// GOAWAY and WINDOW_UPDATE, or close_notify in passthrough, are below 100 bytes each, while an upload that
/// is aborted has mostly sent more than the 16 KiB of a TLS record.
const FINAL_MESSAGE_MAX: u64 = 1024;

/// How many bytes a receiver that has received everything may not have acknowledged: it delays the
/// acknowledgement of at most every second segment (RFC 9293 section 3.8.6.3), and loopback and offloading
/// make segments of 64 KiB. A reset acknowledges nothing.
const UNACKNOWLEDGED: usize = 128 * 1024;

/// Whether an abort may have lost data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// As far as the relay can know, all data was delivered and neither side expected more.
    None,
    /// Bytes were lost, or a side was interrupted while it sent or expected data.
    Possible,
}

/// One side of the relay at the moment of an abort.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// Whether its stream had ended before, by close_notify or FIN.
    pub(super) ended: bool,
    /// Bytes for it that were in our buffers and not in the kernel's.
    pub(super) buffered: usize,
    /// Bytes for it that its peer had sent and that we had not read or not decrypted.
    pub(super) late: usize,
    /// Bytes that the kernel had sent and it had not acknowledged.
    pub(super) unacknowledged: usize,
}

/// A relay at the moment of an abort. Counts are in application bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    pub(super) client: Peer,
    pub(super) origin: Peer,
    /// Bytes from the client.
    pub(super) up: u64,
    /// Bytes from the origin.
    pub(super) down: u64,
    /// Bytes from the client since the origin last sent something, with those of a record that is incomplete.
    pub(super) up_since_down: u64,
    /// Bytes from the origin since the client ended its direction, with those of a record that is incomplete.
    pub(super) down_since_end: u64,
}

impl Exchange {
    /// What may be lost when this side aborts.
    pub(super) const fn loss_by(&self, side: Side) -> Loss {
        let lost = match side {
            Side::Client => is_short_of_bytes(&self.client) || self.client_interrupts(),
            Side::Origin => is_short_of_bytes(&self.origin) || self.origin_interrupts(),
        };
        if lost { Loss::Possible } else { Loss::None }
    }

    /// Whether the origin's abort is a loss only because the client has not ended: it may be the answer to a
    /// final message, and overtake the client's end.
    pub(super) const fn depends_on_client_end(&self) -> bool {
        let ended = Self {
            client: Peer {
                ended: true,
                ..self.client
            },
            ..*self
        };
        !self.client.ended
            && self.up_since_down <= FINAL_MESSAGE_MAX
            && matches!(ended.loss_by(Side::Origin), Loss::None)
    }

    /// Whether a client's abort interrupts something: it was sending, or its request is unanswered.
    const fn client_interrupts(&self) -> bool {
        if self.down == 0 {
            self.up > 0 && !self.origin.ended
        } else {
            !self.client.ended && self.up_since_down > FINAL_MESSAGE_MAX
        }
    }

    /// Whether an origin's abort interrupts something. While the client is open it may interrupt an answer.
    /// After the client's end the origin is done, unless it has not answered at all or was still answering.
    /// After the origin's own end its answer is complete, so only a client that sends more than a final
    /// message is interrupted.
    const fn origin_interrupts(&self) -> bool {
        if self.origin.ended {
            !self.client.ended && self.up_since_down > FINAL_MESSAGE_MAX
        } else {
            !self.client.ended
                || (self.down == 0 && self.up > 0)
                || self.down_since_end > FINAL_MESSAGE_MAX
        }
    }
}

/// Whether bytes on their way to the aborting side did not reach it. Bytes that come after it has ended, or
/// that we had not read, may be the remaining side's final message.
const fn is_short_of_bytes(gone: &Peer) -> bool {
    let (due, trailing) = match gone.ended {
        true => (0, gone.buffered + gone.late),
        false => (gone.buffered, gone.late),
    };
    due > 0 || trailing as u64 > FINAL_MESSAGE_MAX || gone.unacknowledged > UNACKNOWLEDGED
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: Peer = Peer {
        ended: true,
        buffered: 0,
        late: 0,
        unacknowledged: 0,
    };

    /// A request that was answered.
    const ANSWERED: Exchange = Exchange {
        client: Peer {
            ended: false,
            ..ENDED
        },
        origin: Peer {
            ended: false,
            ..ENDED
        },
        up: 100,
        down: 5000,
        up_since_down: 0,
        down_since_end: 0,
    };

    fn buffering(buffered: usize) -> Peer {
        Peer {
            buffered,
            ..Peer::default()
        }
    }

    fn late(late: usize) -> Peer {
        Peer {
            late,
            ..Peer::default()
        }
    }

    fn unacknowledged(unacknowledged: usize) -> Peer {
        Peer {
            unacknowledged,
            ..Peer::default()
        }
    }

    #[track_caller]
    fn loses(side: Side, cases: &[(&str, Exchange, Loss)]) {
        for (what, exchange, loss) in cases {
            assert_eq!(exchange.loss_by(side), *loss, "{what}: {exchange:?}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_client_abort_is_a_fault_while_it_sends_or_awaits_an_answer_or_the_rest_of_one() {
        let answered = ANSWERED;
        loses(Side::Client, &[
            ("it has its answer (urllib, curl h2, gRPC)", answered, Loss::None),
            ("it sends a final message and aborts (MQTT, PostgreSQL)",
             Exchange { up_since_down: 40, ..answered }, Loss::None),
            ("its final message has the maximum length",
             Exchange { up_since_down: FINAL_MESSAGE_MAX, ..answered }, Loss::None),
            ("it was uploading",
             Exchange { up_since_down: FINAL_MESSAGE_MAX + 1, ..answered }, Loss::Possible),
            ("it was uploading to an origin that has ended",
             Exchange { up_since_down: 1 << 20, origin: ENDED, ..answered }, Loss::Possible),
            ("it had uploaded, ended, and declines the answer",
             Exchange { up_since_down: 1 << 20, client: ENDED, ..answered }, Loss::None),
            ("it sent nothing (a probe)", Exchange::default(), Loss::None),
            ("the origin sent a greeting and it sent nothing (a probe)",
             Exchange { down: 80, ..Exchange::default() }, Loss::None),
            ("it gave up waiting for its first answer",
             Exchange { up: 1, up_since_down: 1, ..Exchange::default() }, Loss::Possible),
            ("the origin had ended without an answer",
             Exchange { up: 1, up_since_down: 1, origin: ENDED, ..Exchange::default() }, Loss::None),
            ("the origin had ended after its answer", Exchange { origin: ENDED, ..answered }, Loss::None),
            ("a byte for it was in our buffer",
             Exchange { client: buffering(1), ..answered }, Loss::Possible),
            ("a final message came too late for it", Exchange { client: late(24), ..answered }, Loss::None),
            ("more of the answer came too late for it",
             Exchange { client: late(16 << 10), ..answered }, Loss::Possible),
            ("it had ended, and declines a final message",
             Exchange { client: Peer { buffered: 24, ..ENDED }, ..answered }, Loss::None),
            ("it had ended, and breaks off a download",
             Exchange { client: Peer { buffered: 64 << 10, ..ENDED }, ..answered }, Loss::Possible),
            ("its last acknowledgement was delayed",
             Exchange { client: unacknowledged(UNACKNOWLEDGED), ..answered }, Loss::None),
            ("more was on its way to it than that",
             Exchange { client: unacknowledged(UNACKNOWLEDGED + 1), ..answered }, Loss::Possible),
        ]);
    }

    #[test]
    fn an_origin_abort_may_overtake_the_end_of_a_client_that_has_sent_a_final_message_at_most() {
        let answered = ANSWERED;
        for (what, exchange, may) in [
            ("the client is idle", answered, true),
            (
                "it has sent a final message",
                Exchange {
                    up_since_down: FINAL_MESSAGE_MAX,
                    ..answered
                },
                true,
            ),
            (
                "it was uploading",
                Exchange {
                    up_since_down: FINAL_MESSAGE_MAX + 1,
                    ..answered
                },
                false,
            ),
            (
                "it has ended",
                Exchange {
                    client: ENDED,
                    ..answered
                },
                false,
            ),
            (
                "its first request was not answered",
                Exchange {
                    down: 0,
                    up_since_down: 100,
                    ..answered
                },
                false,
            ),
            (
                "a byte of it was in our buffer",
                Exchange {
                    origin: buffering(1),
                    ..answered
                },
                false,
            ),
        ] {
            assert_eq!(
                exchange.depends_on_client_end(),
                may,
                "{what}: {exchange:?}"
            );
        }
    }

    #[test]
    #[rustfmt::skip]
    fn an_origin_abort_is_a_fault_unless_the_client_had_ended_and_had_its_answer() {
        let answered = Exchange { client: ENDED, ..ANSWERED };
        loses(Side::Origin, &[
            ("the client is open", ANSWERED, Loss::Possible),
            ("the client is open, and no data was sent", Exchange::default(), Loss::Possible),
            ("the client had ended (nginx, mosquitto, PostgreSQL)", answered, Loss::None),
            ("the client had ended after a final message",
             Exchange { up_since_down: 40, ..answered }, Loss::None),
            ("it has sent a final message since",
             Exchange { down_since_end: FINAL_MESSAGE_MAX, ..answered }, Loss::None),
            ("it was answering",
             Exchange { down_since_end: FINAL_MESSAGE_MAX + 1, ..answered }, Loss::Possible),
            ("it has never answered", Exchange { down: 0, up_since_down: 100, ..answered }, Loss::Possible),
            ("neither side has sent data", Exchange { up: 0, down: 0, ..answered }, Loss::None),
            ("a byte for it was in our buffer",
             Exchange { origin: buffering(1), ..answered }, Loss::Possible),
            ("an upload was still coming for it",
             Exchange { origin: late(16 << 10), ..answered }, Loss::Possible),
            ("it had ended before, and the client sent a final message",
             Exchange { origin: ENDED, up_since_down: 31, ..ANSWERED }, Loss::None),
            ("it had ended before, in the middle of an upload that we have sent",
             Exchange { origin: ENDED, up_since_down: 64 << 10, ..ANSWERED }, Loss::Possible),
            ("both had ended", Exchange { origin: ENDED, up_since_down: 64 << 10, ..answered }, Loss::None),
            ("it had ended before, and declines a final message",
             Exchange { origin: Peer { buffered: 24, ..ENDED }, ..answered }, Loss::None),
            ("it had ended before, in the middle of an upload",
             Exchange { origin: Peer { buffered: 64 << 10, ..ENDED }, ..answered }, Loss::Possible),
            ("much of an upload has not reached it",
             Exchange { origin: unacknowledged(UNACKNOWLEDGED + 1), ..answered }, Loss::Possible),
        ]);
    }
}
