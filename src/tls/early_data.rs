//! Early data that nobody has asked for: a client that comes with a ticket of another server, the one
//! before a migration perhaps, may send it, and it is skipped (RFC 8446 section 4.2.10).
//!
//! rustls 0.23.46 skips it by trial decryption, up to a number of bytes. With its unbuffered interface a
//! record that fails the trial is dropped, but not discarded where no other follows it in the same call:
//! `process_tls_records` says nothing of it, and with the next call it is tried, and charged, again. So
//! early data in few segments is skipped, and in many is refused. Here each record is given to it once,
//! alone, with a bound that it never comes to, and is counted and discarded by us.

use rustls::Error;

use super::wrapped_suites::opened;
use crate::transport::{Budget, Decrypted, OutBuf, TlsEnd, TlsState};

/// How many bytes of early data are skipped: what RFC 8446 lets a server assume that does not know what
/// the ticket allows, and what OpenSSL, GnuTLS and BoringSSL skip.
pub(super) const SKIPPED_MAX: usize = 16 * 1024;

/// What a record has beyond the data in it: the tag, and the type of its content.
const OVERHEAD: usize = 16 + 1;

/// rustls' own bound, in bytes of ciphertext, above all that can be skipped: records of one byte each.
pub(super) const CIPHERTEXT_MAX: u32 = (SKIPPED_MAX * (OVERHEAD + 1)) as u32;

/// A record's header: its type, two bytes of version, two of length.
pub(super) const HEADER: usize = 5;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// The length of the record that `bytes` begin with, header included, if it is there as a whole.
pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = *bytes else {
        return None;
    };
    let len = HEADER + usize::from(u16::from_be_bytes([high, low]));
    (bytes.len() >= len).then_some(len)
}

/// What a client may still send of early data, to be skipped.
#[derive(Debug)]
pub(super) struct EarlyData {
    left: Option<usize>,
}

impl EarlyData {
    /// That of a client that announced some in its hello, or did not.
    pub(super) const fn announced(is: bool) -> Self {
        Self {
            left: if is { Some(SKIPPED_MAX) } else { None },
        }
    }

    /// Whether any may come.
    pub(super) const fn is_expected(&self) -> bool {
        self.left.is_some()
    }

    /// Counts a record of this length as skipped, header included; an error when it is too much. A
    /// record of no data is counted, too: else there were no end to them.
    pub(super) fn skip(&mut self, record: usize) -> Result<(), Error> {
        let data = record.saturating_sub(HEADER + OVERHEAD).max(1);
        match self.left.and_then(|left| left.checked_sub(data)) {
            Some(left) => {
                self.left = Some(left);
                Ok(())
            }
            None => Err(Error::General(format!(
                "the client sends more than {SKIPPED_MAX} bytes of early data, which is not accepted"
            ))),
        }
    }

    /// As [`TlsState::open`], with early data skipped.
    pub(super) fn decrypt(
        &mut self,
        tls: &mut TlsState,
        input: &mut [u8],
        mut plain: impl FnMut(&[u8]),
        out: &mut OutBuf,
    ) -> Decrypted {
        let mut at = 0;
        while self.is_expected()
            && let Some(len) = input.get(at..).and_then(record_len)
            && let Some(record) = input.get_mut(at..at + len)
        {
            let is_data = record.first() == Some(&APPLICATION_DATA);
            let before = opened();
            let result = tls.decrypt(record, &mut plain, out, &mut Budget::unbounded());
            if result.end.is_some() {
                return result;
            }
            if is_data && opened() == before {
                tls.discard_retained();
                if let Err(error) = self.skip(len) {
                    return refuse(tls, error, out);
                }
                at += len;
                continue;
            }
            if is_data {
                // The first record under the keys of the handshake: what follows is under them, too.
                self.left = None;
            }
            // What is kept is the beginning of a message, and has to be given again.
            let used = len - tls.retained().min(len);
            at += used;
            if used == 0 {
                break;
            }
        }
        tls.decrypt(&mut input[at..], plain, out, &mut Budget::unbounded())
    }
}

/// Ends the handshake with `unexpected_message`, as RFC 8446 section 4.2.10 has it. Under the keys of the
/// handshake only rustls can say so, and it does at a broken ChangeCipherSpec.
fn refuse(tls: &mut TlsState, error: Error, out: &mut OutBuf) -> Decrypted {
    let mut broken = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 2];
    tls.decrypt(&mut broken, |_| {}, out, &mut Budget::unbounded());
    Decrypted {
        ready: false,
        end: Some(TlsEnd::Failed(error)),
    }
}
