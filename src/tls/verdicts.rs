//! Verdicts on chains, remembered: webpki checks the signature of a revocation list at every
//! verification, which for a large list takes milliseconds.
//!
//! The proof that the peer holds the key is no part of a verdict; rustls asks for it each time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertificateError, Error, OtherError};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::digest;

/// How many chains are remembered; when there are more, all are forgotten.
const CHAINS: usize = 4096;

/// A chain with more intermediates than these is refused without a look. webpki follows no more, but
/// tries every order of those that all have one name, which for 9 takes it a tenth of a second.
const INTERMEDIATES_MAX: usize = 6;

/// The chain has more than [`INTERMEDIATES_MAX`] intermediates.
#[derive(Debug)]
struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the chain has more than {INTERMEDIATES_MAX} intermediates"
        )
    }
}

impl std::error::Error for TooLong {}

/// The verdicts of one verifier. A new policy has a new verifier, which remembers nothing.
#[derive(Debug)]
pub(super) struct Verdicts {
    known: Mutex<HashMap<[u8; 32], Known>>,
    /// In seconds of unix time.
    until: Option<i64>,
}

#[derive(Debug)]
struct Known {
    verdict: Result<(), Error>,
    from: i64,
    until: i64,
}

impl Verdicts {
    /// No verdict is to be used after `until`, in seconds of unix time.
    pub(super) fn new(until: Option<i64>) -> Self {
        Self {
            known: Mutex::default(),
            until,
        }
    }

    /// What `verify` says of a chain, or has said. `about` is what else it depends on.
    pub(super) fn on(
        &self,
        chain: (&CertificateDer<'_>, &[CertificateDer<'_>]),
        about: &[u8],
        now: UnixTime,
        verify: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (leaf, intermediates) = chain;
        if intermediates.len() > INTERMEDIATES_MAX {
            return Err(CertificateError::Other(OtherError(Arc::new(TooLong))).into());
        }
        let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let key = key(leaf, intermediates, about);
        if let Some(verdict) = self.recall(&key, seconds) {
            return verdict;
        }
        let verdict = verify();
        // A revocation is final, other refusals may be a matter of time.
        let lasting = matches!(
            verdict,
            Ok(()) | Err(Error::InvalidCertificate(CertificateError::Revoked))
        );
        if lasting && let Some(end) = end(std::iter::once(leaf).chain(intermediates)) {
            let until = self.until.map_or(end, |until| until.min(end));
            self.remember(
                key,
                Known {
                    verdict: verdict.clone(),
                    from: seconds,
                    until,
                },
            );
        }
        verdict
    }

    fn recall(&self, key: &[u8; 32], now: i64) -> Option<Result<(), Error>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get(key)?;
        // A clock that was set back makes what was valid doubtful again.
        (known.from..known.until)
            .contains(&now)
            .then(|| known.verdict.clone())
    }

    fn remember(&self, key: [u8; 32], verdict: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CHAINS {
            known.clear();
        }
        known.insert(key, verdict);
    }
}

fn key(leaf: &[u8], intermediates: &[CertificateDer<'_>], about: &[u8]) -> [u8; 32] {
    let rest = intermediates.iter().map(|der| der.as_ref());
    digest::parts([about, leaf].into_iter().chain(rest))
}

/// The first end of validity among certificates, if all can be read.
fn end<'a>(chain: impl Iterator<Item = &'a CertificateDer<'a>>) -> Option<i64> {
    let mut first = i64::MAX;
    for certificate in chain {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        first = first.min(parsed.validity().not_after.timestamp());
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
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

    #[test]
    fn a_verdict_is_remembered_until_the_chain_or_the_lists_end() {
        let leaf = certificate(2_000_000_000);
        let asked = Cell::new(0);
        let ask = |verdicts: &Verdicts, now| {
            let verify = || {
                asked.set(asked.get() + 1);
                Ok(())
            };
            verdicts.on((&leaf, &[]), b"", at(now), verify).unwrap();
            asked.take()
        };
        let verdicts = Verdicts::new(None);
        assert_eq!(ask(&verdicts, 1_900_000_000), 1);
        assert_eq!(ask(&verdicts, 1_999_999_999), 0);
        assert_eq!(ask(&verdicts, 2_000_000_000), 1);
        let listed = Verdicts::new(Some(1_950_000_000));
        assert_eq!(ask(&listed, 1_900_000_000), 1);
        assert_eq!(ask(&listed, 1_899_999_999), 1, "the clock was set back");
        assert_eq!(ask(&listed, 1_950_000_000), 1);
    }

    #[test]
    fn a_refusal_that_time_may_heal_is_not_remembered_and_a_revocation_is() {
        let leaf = certificate(2_000_000_000);
        for (error, lasts) in [
            (CertificateError::Revoked, true),
            (CertificateError::NotValidYet, false),
            (CertificateError::UnknownIssuer, false),
        ] {
            let verdicts = Verdicts::new(None);
            let refuse = || Err(Error::from(error.clone()));
            let now = at(1_900_000_000);
            assert!(verdicts.on((&leaf, &[]), b"", now, refuse).is_err());
            let later = verdicts.on((&leaf, &[]), b"", now, || Ok(()));
            assert_eq!(later.is_err(), lasts);
        }
    }

    #[test]
    fn a_verdict_is_on_one_chain_and_one_name() {
        let leaf = certificate(2_000_000_000);
        let other = certificate(2_000_000_000);
        let verdicts = Verdicts::new(None);
        let now = at(1_900_000_000);
        let refuse = || Err(Error::from(CertificateError::UnknownIssuer));
        verdicts.on((&leaf, &[]), b"a", now, || Ok(())).unwrap();
        assert!(verdicts.on((&leaf, &[]), b"a", now, refuse).is_ok());
        assert!(verdicts.on((&leaf, &[]), b"b", now, refuse).is_err());
        assert!(verdicts.on((&other, &[]), b"a", now, refuse).is_err());
        let longer = [other.clone()];
        assert!(verdicts.on((&leaf, &longer), b"a", now, refuse).is_err());
    }

    #[test]
    fn a_chain_without_end_is_refused_without_a_look() {
        let leaf = certificate(2_000_000_000);
        let chain = vec![leaf.clone(); INTERMEDIATES_MAX + 1];
        let verdicts = Verdicts::new(None);
        let looked = verdicts.on((&leaf, &chain), b"", at(0), || panic!("looked"));
        assert!(looked.is_err());
    }
}
