//! Skips early data (RFC 8446 section 4.2.10). It is never accepted, but a client may send it with a
//! ticket of another server, for example after a migration.
//!
//! rustls 0.23.46 skips early data by trial decryption, up to a number of bytes. With its unbuffered
//! interface, a record that fails the trial is not discarded unless another follows it in the same call:
//! `process_tls_records` reports nothing, and the next call tries and counts the record again. So early
//! data in few segments is skipped, and in many segments refused. Here rustls gets each record once and
//! alone, with a bound that it never reaches, and this module counts and discards the records.

use rustls::Error;

use super::wrapped_suites::decrypted_records;
use crate::transport::{Budget, Decrypted, OutBuf, TlsEnd, TlsState};

/// How many bytes of early data are skipped: the limit of RFC 8446 for a server that does not know the
/// ticket's, and that of OpenSSL, GnuTLS and BoringSSL.
pub(super) const SKIPPED_MAX: usize = 16 * 1024;

/// The bytes of a record besides header and data: the AEAD tag and the content type.
const OVERHEAD: usize = 16 + 1;

/// The bound given to rustls, in bytes of ciphertext. It is never reached: not even by records that
/// carry one byte each.
pub(super) const CIPHERTEXT_MAX: u32 = (SKIPPED_MAX * (OVERHEAD + 1)) as u32;

/// The length of a record's header: its type, two bytes of version, two of length.
pub(super) const HEADER: usize = 5;

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// The length of the record at the start of `bytes`, header included, if it is complete.
pub(super) fn record_len(bytes: &[u8]) -> Option<usize> {
    let [_, _, _, high, low, ..] = *bytes else {
        return None;
    };
    let len = HEADER + usize::from(u16::from_be_bytes([high, low]));
    (bytes.len() >= len).then_some(len)
}

/// How much early data a client may still send.
#[derive(Debug)]
pub(super) struct EarlyData {
    left: Option<usize>,
}

impl EarlyData {
    /// The state after a hello that announced early data, or did not.
    pub(super) const fn announced(is: bool) -> Self {
        Self {
            left: if is { Some(SKIPPED_MAX) } else { None },
        }
    }

    /// Whether early data may still arrive.
    pub(super) const fn is_expected(&self) -> bool {
        self.left.is_some()
    }

    /// Counts a record of this length, header included, as skipped, or fails over the limit. A record
    /// without data counts as one byte, which bounds their number.
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

    /// Like [`TlsState::decrypt`], but skips early data.
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
            let before = decrypted_records();
            let result = tls.decrypt(record, &mut plain, out, &mut Budget::unbounded());
            if result.end.is_some() {
                return result;
            }
            if is_data && decrypted_records() == before {
                tls.discard_retained();
                if let Err(error) = self.skip(len) {
                    return refuse(tls, error, out);
                }
                at += len;
                continue;
            }
            if is_data {
                // The first record under the handshake keys: all that follow use them, too.
                self.left = None;
            }
            // rustls retains the beginning of a message, which must be passed in again.
            let used = len - tls.retained().min(len);
            at += used;
            if used == 0 {
                break;
            }
        }
        tls.decrypt(&mut input[at..], plain, out, &mut Budget::unbounded())
    }
}

/// Ends the handshake with `unexpected_message` (RFC 8446 section 4.2.10). Only rustls can encrypt an
/// alert under the handshake keys, and it does so for a malformed ChangeCipherSpec.
fn refuse(tls: &mut TlsState, error: Error, out: &mut OutBuf) -> Decrypted {
    let mut broken = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 2];
    tls.decrypt(&mut broken, |_| {}, out, &mut Budget::unbounded());
    Decrypted {
        ready: false,
        end: Some(TlsEnd::Failed(error)),
    }
}
