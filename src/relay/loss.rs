//! Whether a cut may have cost a peer anything, which decides if it is a fault. Pure.
//!
//! A cut is a reset, or the end of a TLS stream without close_notify. Most clients and servers end good
//! connections by one. What the relay knows is how much each side has sent, in which order, and what of
//! it was delivered; it knows no protocol, so it cannot tell a whole message from half of one. In doubt
//! it says that something may be lost.

use super::Side;

/// What a side may say last, without an answer: MQTT's DISCONNECT, PostgreSQL's Terminate, GOAWAY and
/// WINDOW_UPDATE of h2, or on a passthrough close_notify, are below 100 bytes each, while what is cut in
/// the middle of an upload is mostly above the 16 KiB of a TLS record.
const LAST_WORDS: u64 = 1024;

/// What a receiver that has everything may not have acknowledged: it delays no more than every second
/// segment (RFC 9293 section 3.8.6.3), and loopback and offloading make segments of 64 KiB. A reset
/// acknowledges nothing.
const UNACKNOWLEDGED: usize = 128 * 1024;

/// Whether somebody may have lost something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All that was said was delivered, and nobody waited for more, as far as can be known.
    None,
    /// Bytes were lost, or a side was cut off in the middle of what it said or waited for.
    Possible,
}

/// One side of the relay at the moment of a cut.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// Its stream had ended before: by close_notify or FIN.
    pub(super) ended: bool,
    /// Bytes of the other side that we had for it and the kernel had not taken.
    pub(super) held: usize,
    /// Bytes of the other side that had come, but were not read before the cut.
    pub(super) late: usize,
    /// Bytes that the kernel had sent to it and it had not acknowledged.
    pub(super) unacknowledged: usize,
}

/// A relay at the moment of a cut. Bytes are those of the application.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Exchange {
    pub(super) client: Peer,
    pub(super) origin: Peer,
    /// Bytes from the client.
    pub(super) up: u64,
    /// Bytes from the origin.
    pub(super) down: u64,
    /// Bytes that the client has sent since the last of the origin.
    pub(super) up_since_down: u64,
    /// Bytes that the origin has sent since the client ended.
    pub(super) down_since_end: u64,
}

impl Exchange {
    /// What may be lost when this side is cut.
    pub(super) const fn cut_by(&self, side: Side) -> Loss {
        let lost = match side {
            Side::Client => is_short_of_bytes(&self.client) || self.client_left_in_the_middle(),
            Side::Origin => is_short_of_bytes(&self.origin) || self.origin_left_in_the_middle(),
        };
        if lost { Loss::Possible } else { Loss::None }
    }

    /// A client may leave when it likes, unless it was sending, or has asked and nobody has answered.
    const fn client_left_in_the_middle(&self) -> bool {
        if self.down == 0 {
            self.up > 0 && !self.origin.ended
        } else {
            !self.client.ended && self.up_since_down > LAST_WORDS
        }
    }

    /// An origin that leaves a client who is still there may have been in the middle of an answer, or
    /// somebody else has cut it off. After the client's end it is done, unless it has not answered at
    /// all, or was answering. After its own end its answer is whole, and a client who sends more than a
    /// last word is in the middle.
    const fn origin_left_in_the_middle(&self) -> bool {
        if self.origin.ended {
            !self.client.ended && self.up_since_down > LAST_WORDS
        } else {
            !self.client.ended
                || (self.down == 0 && self.up > 0)
                || self.down_since_end > LAST_WORDS
        }
    }
}

/// Whether the side that is gone has not got what was on its way to it. What comes when it is cut, or has
/// ended, may be the other side's last words.
const fn is_short_of_bytes(gone: &Peer) -> bool {
    let (due, last_words) = match gone.ended {
        true => (0, gone.held + gone.late),
        false => (gone.held, gone.late),
    };
    due > 0 || last_words as u64 > LAST_WORDS || gone.unacknowledged > UNACKNOWLEDGED
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: Peer = Peer {
        ended: true,
        held: 0,
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

    fn holding(held: usize) -> Peer {
        Peer {
            held,
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
            assert_eq!(exchange.cut_by(side), *loss, "{what}: {exchange:?}");
        }
    }

    #[test]
    #[rustfmt::skip]
    fn a_cut_client_is_a_fault_where_it_was_sending_or_had_no_answer_or_not_all_of_it() {
        let answered = ANSWERED;
        loses(Side::Client, &[
            ("it has its answer (urllib, curl h2, gRPC)", answered, Loss::None),
            ("it says goodbye and goes (MQTT, PostgreSQL)", Exchange { up_since_down: 40, ..answered }, Loss::None),
            ("it says as much as a goodbye may be", Exchange { up_since_down: LAST_WORDS, ..answered }, Loss::None),
            ("it was uploading", Exchange { up_since_down: LAST_WORDS + 1, ..answered }, Loss::Possible),
            ("it was uploading to an origin that has ended", Exchange { up_since_down: 1 << 20, origin: ENDED, ..answered }, Loss::Possible),
            ("it had uploaded, ended, and declines the answer", Exchange { up_since_down: 1 << 20, client: ENDED, ..answered }, Loss::None),
            ("it came and said nothing (a probe)", Exchange::default(), Loss::None),
            ("it was greeted and said nothing (a probe)", Exchange { down: 80, ..Exchange::default() }, Loss::None),
            ("it gave up waiting for its first answer", Exchange { up: 1, up_since_down: 1, ..Exchange::default() }, Loss::Possible),
            ("the origin had ended without an answer", Exchange { up: 1, up_since_down: 1, origin: ENDED, ..Exchange::default() }, Loss::None),
            ("the origin had ended after its answer", Exchange { origin: ENDED, ..answered }, Loss::None),
            ("a byte for it was still with us", Exchange { client: holding(1), ..answered }, Loss::Possible),
            ("a last word came too late for it", Exchange { client: late(24), ..answered }, Loss::None),
            ("more of the answer came too late for it", Exchange { client: late(16 << 10), ..answered }, Loss::Possible),
            ("it had ended, and declines a last word", Exchange { client: Peer { held: 24, ..ENDED }, ..answered }, Loss::None),
            ("it had ended, and breaks off a download", Exchange { client: Peer { held: 64 << 10, ..ENDED }, ..answered }, Loss::Possible),
            ("its last acknowledgement was delayed", Exchange { client: unacknowledged(UNACKNOWLEDGED), ..answered }, Loss::None),
            ("more was on its way to it than that", Exchange { client: unacknowledged(UNACKNOWLEDGED + 1), ..answered }, Loss::Possible),
        ]);
    }

    #[test]
    #[rustfmt::skip]
    fn a_cut_origin_is_a_fault_unless_the_client_had_ended_and_had_its_answer() {
        let answered = Exchange { client: ENDED, ..ANSWERED };
        loses(Side::Origin, &[
            ("the client is still there", ANSWERED, Loss::Possible),
            ("the client is still there, and nothing was said", Exchange::default(), Loss::Possible),
            ("the client had ended (nginx, mosquitto, PostgreSQL)", answered, Loss::None),
            ("the client had ended after a goodbye", Exchange { up_since_down: 40, ..answered }, Loss::None),
            ("it has said a last word since", Exchange { down_since_end: LAST_WORDS, ..answered }, Loss::None),
            ("it was answering", Exchange { down_since_end: LAST_WORDS + 1, ..answered }, Loss::Possible),
            ("it has never answered", Exchange { down: 0, up_since_down: 100, ..answered }, Loss::Possible),
            ("nobody has said anything", Exchange { up: 0, down: 0, ..answered }, Loss::None),
            ("a byte for it was still with us", Exchange { origin: holding(1), ..answered }, Loss::Possible),
            ("an upload was still coming for it", Exchange { origin: late(16 << 10), ..answered }, Loss::Possible),
            ("it had ended before, and a last word met nobody", Exchange { origin: ENDED, up_since_down: 31, ..ANSWERED }, Loss::None),
            ("it had ended before, in the middle of an upload that we have sent", Exchange { origin: ENDED, up_since_down: 64 << 10, ..ANSWERED }, Loss::Possible),
            ("both had ended", Exchange { origin: ENDED, up_since_down: 64 << 10, ..answered }, Loss::None),
            ("it had ended before, and declines a last word", Exchange { origin: Peer { held: 24, ..ENDED }, ..answered }, Loss::None),
            ("it had ended before, in the middle of an upload", Exchange { origin: Peer { held: 64 << 10, ..ENDED }, ..answered }, Loss::Possible),
            ("much of an upload has not reached it", Exchange { origin: unacknowledged(UNACKNOWLEDGED + 1), ..answered }, Loss::Possible),
        ]);
    }
}
