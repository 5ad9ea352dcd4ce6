//! A revoked certificate is refused, whatever other CRLs are beside the one that revokes it. Shared by the
//! fuzz target and the test of its corpus.
//!
//! `material/` has a CA, two certificates that it issued, and its newest CRL, which lists both. The CA's
//! key no longer exists: the corpus has older CRLs of it, and CRLs of others.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reseal::internals::{
    AtExpiry, Authorities, ClientAuth, ClientAuthority, ClientVerifier, Depth, OnUnknown, Recheck,
    Revocation, RevocationList, RevocationLists,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};

/// In January 2026, in seconds of unix time.
const NOW: i64 = 1_768_000_000;

const LEAVES: [&[u8]; 2] = [
    include_bytes!("material/leaf.der"),
    include_bytes!("material/leaf-with-point.der"),
];

static AUTHORITIES: LazyLock<Arc<Authorities>> = LazyLock::new(|| {
    let mut authorities = Authorities::of_anchors(RootCertStore::empty());
    let der: &[u8] = include_bytes!("material/ca.der");
    authorities.add(CertificateDer::from(der)).unwrap();
    Arc::new(authorities)
});

static REVOKING: LazyLock<RevocationList> =
    LazyLock::new(|| list(include_bytes!("material/revoking.crl")).unwrap());

fn list(der: &[u8]) -> Option<RevocationList> {
    RevocationList::read(der.to_vec().into(), &"fuzz".into()).ok()
}

/// Splits bytes into DER elements; a rest that is not an element comes last.
fn elements(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let length = match bytes {
            [_, length @ ..=0x7f, ..] => 2 + usize::from(*length),
            [_, 0x81, length, ..] => 3 + usize::from(*length),
            [_, 0x82, high, low, ..] => 4 + (usize::from(*high) << 8 | usize::from(*low)),
            _ => bytes.len(),
        };
        let (element, rest) = bytes.split_at(length.min(bytes.len()));
        found.push(element);
        bytes = rest;
    }
    found
}

/// Reads the CRLs in these bytes and adds them to the one that revokes; returns how many were readable.
pub fn must_refuse_the_revoked(bytes: &[u8]) -> usize {
    let others: Vec<_> = elements(bytes)
        .into_iter()
        .filter_map(list)
        .take(8)
        .collect();
    let count = others.len();
    let mut first = others.clone();
    first.insert(0, REVOKING.clone());
    let mut last = others;
    last.push(REVOKING.clone());
    for all in [first, last] {
        let (lists, older) = RevocationLists::newest(all, NOW);
        assert_eq!(
            lists.iter().count() + older.len(),
            count + 1,
            "a list was lost"
        );
        let _ = lists.not_issued_by(AUTHORITIES.anchors());
        for depth in [Depth::Chain, Depth::Leaf] {
            must_refuse(
                Arc::new(RevocationLists::newest(lists.iter().cloned().collect(), NOW).0),
                depth,
            );
        }
    }
    count
}

/// Verifies under the most lenient policy.
fn must_refuse(lists: Arc<RevocationLists>, depth: Depth) {
    let verifier = ClientVerifier::new(ClientAuth::Required(ClientAuthority {
        roots: Arc::clone(&AUTHORITIES),
        send_ca_names: false,
        revocation: Some(Revocation {
            lists,
            depth,
            unknown: OnUnknown::Allow,
            expired: OnUnknown::Allow,
        }),
        rules: None,
        recheck: Recheck::Close,
        at_expiry: AtExpiry::Log,
    }));
    let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW as u64));
    for leaf in LEAVES {
        let chain = [CertificateDer::from(leaf)];
        let admitted = verifier.admit(Some(&chain), now);
        assert!(admitted.is_err(), "a revoked certificate is {admitted:?}");
    }
}
