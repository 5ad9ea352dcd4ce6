//! Chains that were found good, remembered: a returning client or origin costs no check of signatures.
//!
//! A verdict is on a certificate and the way from it to an authority. What else a peer sends makes no
//! difference, and what is missing of the way does. Refusals are not remembered: they depend on what
//! was sent with a certificate, which anybody can send a copy of. The proof that the peer holds the
//! key is no part of a verdict; rustls asks for it each time.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rustls::pki_types::{CertificateDer, UnixTime};

use crate::tls::der::Outline;
use crate::tls::digest::sha256;

/// How many certificates are remembered; when there are more, all are forgotten.
const CERTIFICATES: usize = 4096;

/// The verdicts of one verifier. A new policy has a new verifier, which remembers nothing.
#[derive(Debug, Default)]
pub(in crate::tls) struct VerdictCache(Mutex<HashMap<[u8; 32], Known>>);

#[derive(Clone, Debug)]
struct Known {
    /// The intermediates on the way, the certificate's issuer first.
    way: Box<[[u8; 32]]>,
    /// In seconds of unix time.
    from: i64,
    until: i64,
}

impl VerdictCache {
    /// The way that leads from this certificate to an authority, as far as one is known that the peer
    /// has sent in full: the places in `intermediates`.
    pub(in crate::tls) fn recall(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<Vec<usize>> {
        let known = {
            let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.get(&sha256(leaf))?.clone()
        };
        // A clock that was set back makes what was valid doubtful again.
        if !(known.from..known.until).contains(&seconds(now)) {
            return None;
        }
        if known.way.is_empty() {
            return Some(Vec::new());
        }
        let sent: Vec<_> = intermediates.iter().map(|der| sha256(der)).collect();
        let place = |wanted| sent.iter().position(|hash| hash == wanted);
        known.way.iter().map(place).collect()
    }

    /// Remembers a way that was found good at `now`, for as long as all on it are valid, but not
    /// after `until`.
    pub(in crate::tls) fn remember<'a>(
        &self,
        leaf: &CertificateDer<'_>,
        way: impl Iterator<Item = &'a CertificateDer<'a>> + Clone,
        now: UnixTime,
        until: i64,
    ) {
        // One whose end cannot be read comes first, and nothing is remembered.
        let ends = way.clone().map(|der| end(der)).chain([end(leaf)]);
        let Some(end) = ends.min().flatten() else {
            return;
        };
        let known = Known {
            way: way.map(|der| sha256(der)).collect(),
            from: seconds(now),
            until: end.min(until),
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CERTIFICATES {
            all.clear();
        }
        all.insert(sha256(leaf), known);
    }
}

fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// The end of a certificate's validity.
fn end(certificate: &[u8]) -> Option<i64> {
    Some(*Outline::of(certificate)?.validity()?.end())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn certificate(until: i64) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_after = time::OffsetDateTime::from_unix_timestamp(until).unwrap();
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    const FOREVER: i64 = i64::MAX;

    #[test]
    fn a_verdict_is_remembered_until_the_way_or_the_lists_end() {
        let leaf = certificate(2_000_000_000);
        let issuer = [certificate(1_990_000_000)];
        for (lists, last) in [(FOREVER, 1_989_999_999), (1_950_000_000, 1_949_999_999)] {
            let verdicts = VerdictCache::default();
            verdicts.remember(&leaf, issuer.iter(), at(1_900_000_000), lists);
            let recall = |now| verdicts.recall(&leaf, &issuer, at(now));
            assert_eq!(recall(1_900_000_000), Some(vec![0]));
            assert_eq!(recall(1_899_999_999), None, "the clock was set back");
            assert_eq!(recall(last), Some(vec![0]));
            assert_eq!(recall(last + 1), None);
        }
    }

    #[test]
    fn what_else_a_peer_sends_makes_no_difference_and_what_is_missing_does() {
        let [leaf, one, two, junk] = [(); 4].map(|()| certificate(2_000_000_000));
        let verdicts = VerdictCache::default();
        let now = at(1_900_000_000);
        verdicts.remember(&leaf, [&one, &two].into_iter(), now, FOREVER);
        let recall = |leaf, sent: &[&CertificateDer<'static>]| {
            let sent: Vec<_> = sent.iter().map(|der| (*der).clone()).collect();
            verdicts.recall(leaf, &sent, now)
        };
        assert_eq!(recall(&leaf, &[&one, &two]), Some(vec![0, 1]));
        assert_eq!(recall(&leaf, &[&junk, &two, &junk, &one]), Some(vec![3, 1]));
        assert_eq!(recall(&leaf, &[&one]), None);
        assert_eq!(recall(&leaf, &[]), None);
        assert_eq!(recall(&junk, &[&one, &two]), None);
    }
}
