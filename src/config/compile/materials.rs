//! The contents of the files that a configuration names, kept in case that a later read fails.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::names_by_file::{RoutesFile, RoutesFileKey};
use crate::admission::Networks;
use crate::config::file_stamps::FileStamps;
use crate::config::reader::problem::Problem;
use crate::fleet::SealKey;
use crate::negotiate::Authorization;
use crate::observe::export::Headers;
use crate::snapshot::PendingCertificate;
use crate::snapshot::admin::Tokens;
use crate::tls::certificates::{Certificate, Certificates};
use crate::tls::material::directory;
use crate::tls::pair::Pair;
use crate::tls::pair_files::PairFiles;
use crate::tls::sessions::TicketSecret;
use crate::tls::validity::Validity;
use crate::tls::verify::authorities::Authorities;
use crate::tls::verify::crl::{RevocationList, RevocationLists};
use crate::vault::Secret;

/// Contents by path.
pub(super) type Cache<K, V> = HashMap<K, Content<V>>;

/// What is known of a file, or of files that are read together.
#[derive(Clone, Debug)]
pub(super) struct Content<V> {
    /// What is used of it; `None` if its error was reported.
    pub(super) found: Option<V>,
    /// Whether that is what the files hold, and not their previous content.
    pub(super) is_current: bool,
    /// What was reported about it.
    pub(super) problems: Vec<Problem>,
}

impl<V> Content<V> {
    /// Previous content that stays in use.
    pub(super) const fn kept(found: V) -> Self {
        Self {
            found: Some(found),
            is_current: false,
            problems: Vec::new(),
        }
    }
}

/// The contents of all files of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Materials {
    pub(super) roots: Cache<Vec<PathBuf>, Arc<Authorities>>,
    pub(super) lists: Cache<Vec<PathBuf>, Arc<RevocationLists>>,
    pub(super) pairs: Cache<PairFiles, Arc<Pair>>,
    pub(super) secrets: Cache<PathBuf, TicketSecret>,
    pub(super) external_keys: Cache<PathBuf, Zeroizing<Vec<u8>>>,
    pub(super) zone_keys: Cache<PathBuf, Zeroizing<Vec<u8>>>,
    pub(super) vault_secrets: Cache<PathBuf, Secret>,
    /// The certificates that issuers keep, where they are there.
    pub(super) managed: Cache<PathBuf, Option<Arc<Pair>>>,
    pub(super) directories: Cache<PathBuf, Vec<directory::Named>>,
    pub(super) tokens: Cache<PathBuf, Arc<Tokens>>,
    pub(super) headers: Cache<PathBuf, Headers>,
    pub(super) authorizations: Cache<PathBuf, Authorization>,
    pub(super) seal_keys: Cache<PathBuf, SealKey>,
    pub(super) passwords: Cache<PathBuf, Arc<Zeroizing<String>>>,
    pub(super) networks: Cache<NetworkFileKey, Arc<Networks>>,
    pub(super) routes: Cache<RoutesFileKey, Arc<RoutesFile>>,
    pub(super) system: Option<Option<Arc<Authorities>>>,
    /// The certificates of each endpoint.
    pub(super) served: HashMap<String, ServedCertificates>,
    /// The certificate of each endpoint's default route, by its name.
    pub(super) defaults: HashMap<String, String>,
    /// Why files could not be used, so that their previous content stays.
    pub(super) stale: Vec<String>,
    pub(super) stamps: FileStamps,
}

/// The certificates of one endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct ServedCertificates {
    /// In file order.
    pub(super) all: Vec<Arc<Certificate>>,
    /// By the server names that they cover.
    pub(super) by_name: Arc<Certificates>,
    /// Those that are not there yet.
    pub(super) pending: Vec<PendingCertificate>,
}

/// What a list does to the addresses in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ListUse {
    Allow,
    Deny,
}

/// A file of networks and what it is for: an empty one denies nobody, but must not be all that is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct NetworkFileKey {
    pub(super) path: PathBuf,
    pub(super) list: ListUse,
}

/// The key of a material: one path or several.
pub(super) trait Key: Hash + Eq + Clone {
    fn paths(&self) -> impl Iterator<Item = &Path>;
}

impl Key for Vec<PathBuf> {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.iter().map(PathBuf::as_path)
    }
}

impl Key for PathBuf {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.as_path())
    }
}

impl Key for NetworkFileKey {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path.as_path())
    }
}

impl Key for RoutesFileKey {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.path.as_path())
    }
}

impl Key for PairFiles {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        Self::paths(self)
    }
}

impl Materials {
    /// Whether any CA file was changed since it was read.
    pub(super) fn has_changed_authorities(&self) -> bool {
        let mut files = self.roots.keys().flatten();
        files.any(|file| {
            !self
                .stamps
                .agree_on(&FileStamps::of([file.as_path()]), file)
        })
    }

    /// The files that the configuration is made of, those of directories included.
    pub fn files(&self) -> BTreeSet<&Path> {
        let directories = |path: &&Path| !self.directories.contains_key(*path);
        let stamped = self.stamps.paths().filter(directories);
        stamped
            .chain(self.pairs.keys().flat_map(PairFiles::paths))
            .collect()
    }

    /// The stamps of these, taken just before they were read.
    pub const fn stamps(&self) -> &FileStamps {
        &self.stamps
    }

    /// Why previous contents stay in use, one sentence each.
    pub fn stale(&self) -> &[String] {
        &self.stale
    }

    /// The validity of the CAs in files, in seconds of unix time, by file and subject; the earliest of
    /// several.
    pub fn authority_ends(&self) -> BTreeMap<(String, String), Validity> {
        let authorities = self.roots.values().filter_map(|roots| roots.found.as_ref());
        let mut ends = BTreeMap::new();
        for (file, validity) in authorities.flat_map(|authorities| authorities.validities()) {
            let key = (file.to_string(), validity.subject.clone());
            let first: &mut Validity = ends.entry(key).or_insert_with(|| validity.clone());
            if validity.not_after < first.not_after {
                first.clone_from(validity);
            }
        }
        ends
    }

    /// The next update of the revocation lists in use, in seconds of unix time, by file and issuer; the
    /// earliest of several.
    pub fn list_ends(&self) -> BTreeMap<(String, String), i64> {
        let lists = self.lists.values().filter_map(|lists| lists.found.as_ref());
        let lists = lists.flat_map(|lists| lists.iter());
        let mut ends = BTreeMap::new();
        for list in lists {
            if let Some(end) = list.next_update {
                let key = (list.source.to_string(), list.issuer.clone());
                let first = ends.entry(key).or_insert(end);
                *first = end.min(*first);
            }
        }
        ends
    }

    /// The revocation lists in use.
    pub fn revocation_lists(&self) -> impl Iterator<Item = &RevocationList> {
        let lists = self.lists.values().filter_map(|lists| lists.found.as_ref());
        lists.flat_map(|lists| lists.iter())
    }
}
