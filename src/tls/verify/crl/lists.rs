//! The revocation lists of a policy, with a cache of their signature checks.

use std::collections::{HashMap, HashSet};

use rustls::pki_types::{SubjectPublicKeyInfoDer, TrustAnchor};

use super::list::RevocationList;
use crate::sync::Mutex;
use crate::tls::der;
use crate::tls::digest::{self, sha256};
use crate::tls::verify::names::ComparableName;

/// Lists, newest first: of those in force the newest of each issuer, key and distribution point, and
/// all whose `thisUpdate` is in the future.
#[derive(Debug)]
pub struct RevocationLists {
    lists: Vec<RevocationList>,
    /// Whether a list, by its index, is signed by a key, by its SHA-256: each pair is checked once.
    signatures: Mutex<HashMap<(usize, [u8; 32]), bool>>,
    /// Of the lists in this order, with their files.
    digest: [u8; 32],
}

impl PartialEq for RevocationLists {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for RevocationLists {}

/// How many signature checks [`RevocationLists`] caches. There are few: one for each CA key on verified
/// paths.
const SIGNATURES: usize = 4096;

impl RevocationLists {
    /// Keeps the newest list of each series that is in force at `now`, in seconds of unix time, and all
    /// that are not in force yet. Returns the replaced ones, too. Lists that do not identify their key
    /// replace none: they may be of several CAs with one name.
    pub fn newest(mut lists: Vec<RevocationList>, now: i64) -> (Self, Vec<RevocationList>) {
        // A full list and one of a distribution point may cover the same certificate: the newest is used.
        lists.sort_by(|a, b| (b.newness(), &a.series).cmp(&(a.newness(), &b.series)));
        let mut series = HashSet::new();
        let (lists, older) = lists.into_iter().partition(|list| {
            let is_replaceable = list.is_in_force(now) && list.names_key();
            !is_replaceable || series.insert(list.series.clone())
        });
        let lists: Vec<RevocationList> = lists;
        let parts = lists.iter().flat_map(RevocationList::parts);
        let new = Self {
            digest: digest::parts(parts),
            lists,
            signatures: Mutex::default(),
        };
        (new, older)
    }

    /// The lists that are in force or will be.
    pub fn iter(&self) -> impl Iterator<Item = &RevocationList> {
        self.lists.iter()
    }

    /// Verifies the signatures of these CAs' lists ahead of handshakes.
    pub(in crate::tls) fn check_signatures(&self, anchors: &[TrustAnchor<'_>]) {
        for anchor in anchors {
            let name = ComparableName::of(&anchor.subject);
            let key = der::sequence(&anchor.subject_public_key_info).into();
            for (n, list) in self.lists.iter().enumerate() {
                if list.series.issuer == name {
                    self.is_signed_by(n, list, &key);
                }
            }
        }
    }

    /// The lists whose issuer's name none of these CAs has, and the lists that have a CA's name but no
    /// valid signature of it.
    pub fn not_issued_by(
        &self,
        anchors: &[TrustAnchor<'_>],
    ) -> (Vec<&RevocationList>, Vec<&RevocationList>) {
        self.check_signatures(anchors);
        let names: HashSet<_> = anchors
            .iter()
            .map(|anchor| ComparableName::of(&anchor.subject))
            .collect();
        let (named, unknown): (Vec<_>, Vec<_>) = self
            .lists
            .iter()
            .enumerate()
            .partition(|(_, list)| names.contains(&list.series.issuer));
        let unsigned = named.into_iter().filter(|(n, _)| !self.has_signer(*n));
        (
            unknown.into_iter().map(|(_, list)| list).collect(),
            unsigned.map(|(_, list)| list).collect(),
        )
    }

    pub(super) fn is_signed_by(
        &self,
        n: usize,
        list: &RevocationList,
        key: &SubjectPublicKeyInfoDer<'_>,
    ) -> bool {
        let pair = (n, sha256(key));
        let cache = || self.signatures.lock();
        if let Some(is_signed) = cache().get(&pair) {
            return *is_signed;
        }
        let is_signed = list.is_signed_by(key);
        let mut cache = cache();
        if cache.len() < SIGNATURES {
            cache.insert(pair, is_signed);
        }
        is_signed
    }

    /// Whether some key is known to have signed this list.
    pub(super) fn has_signer(&self, n: usize) -> bool {
        let cache = self.signatures.lock();
        cache
            .iter()
            .any(|((of, _), is_signed)| *of == n && *is_signed)
    }
}
