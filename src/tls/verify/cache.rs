//! Cache of verified chains, which saves the signature checks for a returning client or origin.
//!
//! An entry is a certificate and its path to a CA. Other certificates that a peer sends make no
//! difference, but the whole path must be sent. Refusals are not cached: they depend on the other
//! certificates, and anybody can send a copy of a certificate. The proof that the peer holds the key is
//! not part of an entry; rustls requires it in each handshake.

use std::collections::HashMap;

use rustls::pki_types::{CertificateDer, UnixTime};

use crate::sync::Mutex;
use crate::tls::der::Outline;
use crate::tls::digest::sha256;

/// How many certificates are cached; when there are more, the cache is cleared.
const CERTIFICATES: usize = 4096;

/// The cache of one verifier. A new policy has a new verifier with an empty cache.
#[derive(Debug, Default)]
pub(in crate::tls) struct PathCache(Mutex<HashMap<[u8; 32], CachedPath>>);

#[derive(Clone, Debug)]
struct CachedPath {
    /// SHA-256 of the intermediates on the path, the certificate's issuer first.
    intermediates: Box<[[u8; 32]]>,
    /// In seconds of unix time.
    from: i64,
    until: i64,
}

impl PathCache {
    /// The cached path from this certificate to a CA, if the peer sent all of it: indices into
    /// `intermediates`.
    pub(in crate::tls) fn get(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<Vec<usize>> {
        let path = {
            let all = self.0.lock();
            all.get(&sha256(leaf))?.clone()
        };
        // The lower bound is for a clock that was set back: a certificate may then not be valid yet.
        if !(path.from..path.until).contains(&seconds(now)) {
            return None;
        }
        if path.intermediates.is_empty() {
            return Some(Vec::new());
        }
        let sent: Vec<_> = intermediates.iter().map(|der| sha256(der)).collect();
        let index = |wanted| sent.iter().position(|hash| hash == wanted);
        path.intermediates.iter().map(index).collect()
    }

    /// Caches a path that was verified at `now`, for as long as all its certificates are valid, at most
    /// until `until`.
    pub(in crate::tls) fn insert<'a>(
        &self,
        leaf: &CertificateDer<'_>,
        path: impl Iterator<Item = &'a CertificateDer<'a>> + Clone,
        now: UnixTime,
        until: i64,
    ) {
        // `None`, an end that cannot be read, is the minimum: nothing is cached.
        let ends = path.clone().map(|der| end(der)).chain([end(leaf)]);
        let Some(end) = ends.min().flatten() else {
            return;
        };
        let path = CachedPath {
            intermediates: path.map(|der| sha256(der)).collect(),
            from: seconds(now),
            until: end.min(until),
        };
        let mut all = self.0.lock();
        if all.len() >= CERTIFICATES {
            all.clear();
        }
        all.insert(sha256(leaf), path);
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
    fn a_path_is_cached_until_a_certificate_or_a_crl_expires() {
        let leaf = certificate(2_000_000_000);
        let issuer = [certificate(1_990_000_000)];
        for (lists, last) in [(FOREVER, 1_989_999_999), (1_950_000_000, 1_949_999_999)] {
            let cache = PathCache::default();
            cache.insert(&leaf, issuer.iter(), at(1_900_000_000), lists);
            let get = |now| cache.get(&leaf, &issuer, at(now));
            assert_eq!(get(1_900_000_000), Some(vec![0]));
            assert_eq!(get(1_899_999_999), None, "the clock was set back");
            assert_eq!(get(last), Some(vec![0]));
            assert_eq!(get(last + 1), None);
        }
    }

    #[test]
    fn a_cached_path_must_be_sent_in_full_in_any_order() {
        let [leaf, one, two, junk] = [(); 4].map(|()| certificate(2_000_000_000));
        let cache = PathCache::default();
        let now = at(1_900_000_000);
        cache.insert(&leaf, [&one, &two].into_iter(), now, FOREVER);
        let get = |leaf, sent: &[&CertificateDer<'static>]| {
            let sent: Vec<_> = sent.iter().map(|der| (*der).clone()).collect();
            cache.get(leaf, &sent, now)
        };
        assert_eq!(get(&leaf, &[&one, &two]), Some(vec![0, 1]));
        assert_eq!(get(&leaf, &[&junk, &two, &junk, &one]), Some(vec![3, 1]));
        assert_eq!(get(&leaf, &[&one]), None);
        assert_eq!(get(&leaf, &[]), None);
        assert_eq!(get(&junk, &[&one, &two]), None);
    }
}
