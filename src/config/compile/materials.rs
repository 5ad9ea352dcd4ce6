//! The files that a configuration names. Each is read once, however often it is named, and its content
//! is kept in case that a later read fails.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use super::reuse::unchanged;
use super::{Compiler, Files};
use crate::config::file_stamps::FileStamps;
use crate::config::reader::problem::{Problem, Problems, Span};
use crate::config::reader::read::Located;
use crate::config::reader::values;
use crate::config::spec::{KeyPermissions, Trust};
use crate::observe::format::unix_timestamp;
use crate::snapshot::admin::Token;
use crate::tls::certificates::{Certificate, Certificates};
use crate::tls::material;
use crate::tls::material::directory;
use crate::tls::material::file::{Exposed, FileReader, MaterialError};
use crate::tls::pair::{self, Pair, PairContents, PairFiles};
use crate::tls::sessions::TicketSecret;
use crate::tls::unix_now;
use crate::tls::validity::Validity;
use crate::tls::verify::authorities::Authorities;
use crate::tls::verify::crl::{RevocationList, RevocationLists};

/// The public CAs that are built in.
static WEBPKI: LazyLock<Arc<Authorities>> = LazyLock::new(|| {
    let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
    Arc::new(Authorities::of_anchors(roots.collect()))
});

/// Contents by path.
type Cache<K, V> = HashMap<K, Content<V>>;

/// What is known of a file, or of files that are read together.
#[derive(Clone, Debug)]
struct Content<V> {
    /// What is used of it; `None` if its error was reported.
    found: Option<V>,
    /// Whether that is what the files hold, and not their previous content.
    is_current: bool,
    /// What was reported about it.
    problems: Vec<Problem>,
}

impl<V> Content<V> {
    /// Previous content that stays in use.
    const fn kept(found: V) -> Self {
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
    roots: Cache<Vec<PathBuf>, Arc<Authorities>>,
    lists: Cache<Vec<PathBuf>, Arc<RevocationLists>>,
    pairs: Cache<PairFiles, Arc<Pair>>,
    secrets: Cache<PathBuf, TicketSecret>,
    directories: Cache<PathBuf, Vec<directory::Named>>,
    tokens: Cache<PathBuf, Token>,
    system: Option<Option<Arc<Authorities>>>,
    /// The certificates of each endpoint.
    served: HashMap<String, ServedCertificates>,
    /// The certificate of each endpoint's default route, by its name.
    defaults: HashMap<String, String>,
    /// Why files could not be used, so that their previous content stays.
    stale: Vec<String>,
    stamps: FileStamps,
}

/// The certificates of one endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct ServedCertificates {
    /// In file order.
    pub(super) all: Vec<Arc<Certificate>>,
    /// By the server names that they cover.
    pub(super) by_name: Arc<Certificates>,
}

/// The key of a material: one path or several.
trait Key: Hash + Eq + Clone {
    fn paths(&self) -> impl Iterator<Item = &Path>;
}

impl Key for Vec<PathBuf> {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        self.iter().map(PathBuf::as_path)
    }
}

/// How many damaged files of the system's CA store are named.
const SYSTEM_ERRORS_MAX: usize = 10;

impl Key for PathBuf {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.as_path())
    }
}

impl Key for PairFiles {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        Self::paths(self)
    }
}

/// Why a material could not be read, with the span of the failing file if that differs from the whole.
struct ReadError {
    at: Option<Span>,
    error: MaterialError,
}

/// The spans of the files of a pair.
#[derive(Clone, Copy)]
pub(super) struct PairPlaces {
    pub(super) cert: Span,
    pub(super) key: Span,
    pub(super) ocsp: Span,
}

impl PairPlaces {
    /// One span for all of them.
    pub(super) const fn all(at: Span) -> Self {
        Self {
            cert: at,
            key: at,
            ocsp: at,
        }
    }

    /// The span of one of the files.
    fn of(&self, files: &PairFiles, path: &Path) -> Span {
        if path == files.cert {
            self.cert
        } else if path == files.key {
            self.key
        } else {
            self.ocsp
        }
    }

    fn read_error(&self, files: &PairFiles, error: MaterialError) -> ReadError {
        let at = Some(self.of(files, &error.path));
        ReadError { at, error }
    }
}

/// An error about one of these files, at its own span in the list.
fn read_error_of(
    files: &[Located<values::Path>],
    paths: &[PathBuf],
    error: MaterialError,
) -> ReadError {
    let named = files
        .iter()
        .zip(paths)
        .find(|(_, path)| **path == error.path);
    let at = named.map(|(file, _)| file.at);
    ReadError { at, error }
}

impl From<MaterialError> for ReadError {
    fn from(error: MaterialError) -> Self {
        Self { at: None, error }
    }
}

impl Materials {
    /// The files and directories that were read; of a directory, not the files in it.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.stamps.paths()
    }

    /// Whether any CA file was changed since it was read.
    pub(super) fn has_changed_authorities(&self) -> bool {
        let mut files = self.roots.keys().flatten();
        files.any(|file| {
            !self
                .stamps
                .agree_on(&FileStamps::of([file.as_path()]), file)
        })
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

/// One of the caches of [`Materials`].
struct Cached<K: 'static, V: 'static> {
    cache: fn(&Materials) -> &Cache<K, V>,
    cache_mut: fn(&mut Materials) -> &mut Cache<K, V>,
    /// Whether a renewal may use unchanged files without reading them.
    may_stay: fn(&Compiler<'_>) -> bool,
}

impl<K, V> Clone for Cached<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Cached<K, V> {}

/// The cache in this field.
macro_rules! cached {
    ($field:ident) => {
        Cached {
            cache: |materials| &materials.$field,
            cache_mut: |materials| &mut materials.$field,
            may_stay: |_| true,
        }
    };
}

impl<'a> Compiler<'a> {
    /// The content of `key` in a cache, read on first use. On a renewal, files that have not changed are
    /// not read again, and a failed read keeps the previous content.
    fn material<K: Key, V: Clone>(
        &mut self,
        at: Span,
        of: Cached<K, V>,
        key: K,
        read: impl FnOnce(&mut FileReader, &mut Problems) -> Result<V, ReadError>,
    ) -> Option<V> {
        if self.files == Files::Skip {
            return None;
        }
        if let Some(known) = (of.cache)(&self.materials).get(&key) {
            return known.found.clone();
        }
        for path in key.paths() {
            if !self.materials.stamps.is_covered(path) {
                self.materials.stamps.at(path);
            }
        }
        let content = match self.unchanged_content(of, &key) {
            Some(content) => {
                for problem in &content.problems {
                    self.problems.push(problem.clone());
                }
                content
            }
            None => self.read_content(at, of, &key, read),
        };
        let found = content.found.clone();
        (of.cache_mut)(&mut self.materials).insert(key, content);
        found
    }

    /// On a renewal, the content of files that have not changed since they were read.
    fn unchanged_content<K: Key, V: Clone>(&self, of: Cached<K, V>, key: &K) -> Option<Content<V>> {
        let previous = self.previous?;
        let content = (of.cache)(previous).get(key)?;
        if !(of.may_stay)(self) {
            return None;
        }
        let (before, now) = (&previous.stamps, &self.materials.stamps);
        let is_unchanged = content.is_current
            && content.found.is_some()
            && key.paths().all(|path| before.agree_on(now, path));
        is_unchanged.then(|| content.clone())
    }

    fn read_content<K: Key, V: Clone>(
        &mut self,
        at: Span,
        of: Cached<K, V>,
        key: &K,
        read: impl FnOnce(&mut FileReader, &mut Problems) -> Result<V, ReadError>,
    ) -> Content<V> {
        let before = std::mem::take(self.problems);
        let mut reader = FileReader::default();
        let read = read(&mut reader, self.problems).and_then(|found| {
            self.check_permissions(at, key.paths(), &reader)?;
            Ok(found)
        });
        let problems = std::mem::replace(self.problems, before).into_vec();
        for problem in &problems {
            self.problems.push(problem.clone());
        }
        match read {
            Ok(found) => Content {
                found: Some(found),
                is_current: true,
                problems,
            },
            Err(ReadError { at: own, error }) => {
                let at = own.unwrap_or(at);
                let previous = self
                    .previous
                    .and_then(|previous| (of.cache)(previous).get(key));
                let found = previous.and_then(|previous| previous.found.clone());
                let problem = if found.is_some() {
                    self.warn_kept(at, error.message)
                } else {
                    self.problems.error(at, error.message)
                };
                if let Some(help) = error.help {
                    problem.help(help);
                }
                Content {
                    found,
                    is_current: false,
                    problems: Vec::new(),
                }
            }
        }
    }

    /// Warns that a file cannot be used and that its previous content stays.
    pub(super) fn warn_kept(&mut self, at: Span, why: String) -> &mut Problem {
        let message = format!("{why}; its previous content stays in use");
        self.materials.stale.push(why);
        self.problems.warning(at, message)
    }

    fn paths(&self, files: &[Located<values::Path>]) -> Vec<PathBuf> {
        files.iter().map(|file| self.resolve(file)).collect()
    }

    /// The trust anchors of CA files.
    pub(super) fn bundle(
        &mut self,
        at: Span,
        files: &[Located<values::Path>],
    ) -> Option<Arc<Authorities>> {
        if files.is_empty() {
            self.problems
                .error(at, "an empty list of CA files trusts no certificate")
                .help("name at least one file");
            return None;
        }
        let paths = self.paths(files);
        let before = self
            .running
            .and_then(|r| r.materials.roots.get(&paths)?.found.clone());
        self.material(at, cached!(roots), paths.clone(), |reader, problems| {
            let (roots, doubts) = material::roots(reader, &paths, unix_now())
                .map_err(|e| read_error_of(files, &paths, e))?;
            for doubt in doubts {
                let ReadError { at: own, error } = read_error_of(files, &paths, doubt);
                let problem = problems.warning(own.unwrap_or(at), error.message);
                problem.help(error.help.unwrap_or_default());
            }
            Ok(unchanged(roots, before.as_ref()))
        })
    }

    /// The previous trust anchors of CA files, on a renewal.
    pub(super) fn previous_bundle(
        &self,
        files: &[Located<values::Path>],
    ) -> Option<Arc<Authorities>> {
        let content = self.previous?.roots.get(&self.paths(files))?;
        content.found.clone()
    }

    /// Keeps the previous content of CA files: the new one is not usable.
    pub(super) fn keep_previous_bundle(&mut self, files: &[Located<values::Path>]) {
        if let Some(before) = self.previous_bundle(files) {
            let kept = Content::kept(before);
            self.materials.roots.insert(self.paths(files), kept);
        }
    }

    /// The CAs that an upstream trusts.
    pub(super) fn authorities(&mut self, trust: &Located<Trust>) -> Option<Arc<Authorities>> {
        match &trust.value {
            Trust::Files(files) => self.bundle(trust.at, files),
            Trust::Webpki => Some(Arc::clone(&WEBPKI)),
            Trust::System => self.system(trust.at),
        }
    }

    fn system(&mut self, at: Span) -> Option<Arc<Authorities>> {
        if self.files == Files::Skip {
            return None;
        }
        if let Some(known) = &self.materials.system {
            return known.clone();
        }
        let before = self
            .running
            .and_then(|running| running.materials.system.clone());
        let before = before.flatten();
        // It is not watched: a renewal of other files leaves it as it is.
        let kept = before.clone().filter(|_| self.previous.is_some());
        let found = kept.or_else(|| {
            let store = self.read_system(at)?;
            Some(unchanged(store, before.as_ref()))
        });
        if found.is_none() {
            self.problems
                .error(at, "no CA could be read from this machine's CA store")
                .help("install its package (ca-certificates), check SSL_CERT_FILE and SSL_CERT_DIR if they are set, or use `webpki` or a file");
        }
        self.materials.system = Some(found.clone());
        found
    }

    /// The CA store of the machine, if any CA is in it. What could not be read is reported.
    fn read_system(&mut self, at: Span) -> Option<Authorities> {
        let (store, errors) = material::system::authorities();
        let count = errors.len();
        for error in errors.into_iter().take(SYSTEM_ERRORS_MAX) {
            let message = format!("{}; it is left out of the system's CA store", error.message);
            let problem = self.problems.warning(at, message);
            problem.help(error.help.unwrap_or_default());
        }
        if let Some(more @ 1..) = count.checked_sub(SYSTEM_ERRORS_MAX) {
            let message = format!("{more} more files are left out of the system's CA store");
            self.problems.warning(at, message);
        }
        (!store.is_empty()).then(|| Authorities::of_anchors(store))
    }

    /// The token of the admin socket.
    pub(super) fn token(
        &mut self,
        file: &Located<values::Path>,
        read: fn(&mut FileReader, &Path) -> Result<Token, MaterialError>,
    ) -> Option<Token> {
        let path = self.resolve(file);
        self.material(file.at, cached!(tokens), path.clone(), |reader, _| {
            Ok(read(reader, &path)?)
        })
    }

    /// The previous content of a pair of files, on a renewal.
    pub(super) fn previous_pair(&self, files: &PairFiles) -> Option<Arc<Pair>> {
        self.previous?.pairs.get(files)?.found.clone()
    }

    /// Keeps the previous content of a pair of files: the new one is not usable.
    pub(super) fn keep_previous_pair(&mut self, files: &PairFiles, before: &Arc<Pair>) {
        let kept = Content::kept(Arc::clone(before));
        self.materials.pairs.insert(files.clone(), kept);
    }

    /// The previous certificates of an endpoint, on a renewal.
    pub(super) fn previous_served(&self, endpoint: &str) -> &'a [Arc<Certificate>] {
        let served = self
            .previous
            .and_then(|previous| previous.served.get(endpoint));
        served.map_or(&[], |served| served.all.as_slice())
    }

    /// The certificates of an endpoint in the running configuration.
    pub(super) fn running_served(&self, endpoint: &str) -> Option<&'a ServedCertificates> {
        self.running?.materials.served.get(endpoint)
    }

    /// The previous certificate of an endpoint's default route, on a renewal.
    pub(super) fn previous_default(&self, endpoint: &str) -> Option<String> {
        self.previous?.defaults.get(endpoint).cloned()
    }

    /// Records the certificate of an endpoint's default route.
    pub(super) fn defaults_to(&mut self, endpoint: &str, certificate: &str) {
        let defaults = &mut self.materials.defaults;
        defaults.insert(endpoint.to_owned(), certificate.to_owned());
    }

    /// Records the certificates of an endpoint.
    pub(super) fn serves(&mut self, endpoint: &str, certificates: ServedCertificates) {
        let served = &mut self.materials.served;
        served.insert(endpoint.to_owned(), certificates);
    }

    /// The revocation lists of files, the newest of each issuer.
    pub(super) fn revocation_lists(
        &mut self,
        at: Span,
        files: &[Located<values::Path>],
    ) -> Option<Arc<RevocationLists>> {
        let paths = self.paths(files);
        let cached = Cached {
            // A list remembers which CAs have signed it: with other CAs it starts anew.
            may_stay: |compiler| !compiler.has_changed_authorities,
            ..cached!(lists)
        };
        self.material(at, cached, paths.clone(), |reader, problems| {
            let lists =
                material::revocation_lists(reader, &paths).map_err(|e| read_error_of(files, &paths, e))?;
            let (lists, older) = RevocationLists::newest(lists, unix_now());
            for list in older {
                problems.warning(
                    at,
                    format!(
                        "{}: the revocation list of {} is not used: there is a newer one of the same issuer",
                        list.source, list.issuer
                    ),
                );
            }
            for list in lists.iter() {
                list_age(list, at, problems);
            }
            Ok(Arc::new(lists))
        })
    }

    /// A chain with its key and its OCSP response.
    pub(super) fn certified(&mut self, places: PairPlaces, files: PairFiles) -> Option<Arc<Pair>> {
        let at = places.cert;
        let policy = self.spec.process.key_permissions.value;
        let before = self
            .running
            .and_then(|r| r.materials.pairs.get(&files)?.found.clone());
        self.material(at, cached!(pairs), files.clone(), |reader, problems| {
            let contents =
                PairContents::read(reader, &files).map_err(|e| places.read_error(&files, e))?;
            if let Some(exposed) = contents.exposed() {
                let at = places.of(&files, &exposed.0.path);
                secrecy(policy, at, Some(exposed), problems)?;
            }
            let (pair, weaknesses) =
                pair::pair(&files, &contents).map_err(|e| places.read_error(&files, e))?;
            for weakness in weaknesses {
                problems.warning(at, weakness);
            }
            if let (Some(stapled), Some(path)) = (&pair.stapled, &files.ocsp)
                && !stapled.is_valid_at(unix_now())
            {
                let (from, until) = (stapled.from, stapled.until);
                let path = path.display();
                let message = if from > unix_now() {
                    let date = unix_timestamp(from);
                    format!(
                        "{path}: the OCSP response is valid from {date}, and is not stapled before"
                    )
                } else {
                    let date = unix_timestamp(until);
                    format!("{path}: the OCSP response expired on {date}, and is not stapled")
                };
                problems.warning(at, message);
            }
            Ok(unchanged(pair, before.as_ref()))
        })
    }

    /// Whether a pair that was added to a directory is unusable. A renewal skips it alone and renews the
    /// other pairs.
    pub(super) fn is_new_and_useless(
        &mut self,
        at: Span,
        files: &PairFiles,
        taken: bool,
        needs_name: bool,
    ) -> bool {
        let Some(previous) = self.previous else {
            return false;
        };
        if previous.pairs.contains_key(files) {
            return false;
        }
        let place = files.cert.display();
        let refuses = self.spec.process.key_permissions.value == KeyPermissions::Refuse;
        let mut reader = FileReader::default();
        let found = PairContents::read(&mut reader, files)
            .and_then(|contents| {
                self.check_permissions(at, files.paths(), &reader)?;
                Ok(contents)
            })
            .and_then(|contents| {
                let exposed = contents.exposed().filter(|_| refuses);
                Ok((pair::pair(files, &contents)?, exposed))
            });
        let why = match found {
            Err(error) | Ok((_, Some(Exposed(error)))) => error.message,
            Ok(((pair, _), None)) if pair.names.is_empty() && needs_name => {
                format!("{place}: the certificate names no host")
            }
            Ok(_) if taken => format!("{place}: there is a certificate of that name"),
            Ok(_) => return false,
        };
        self.problems.warning(at, format!("{why}; it is left out"));
        self.materials.stale.push(why);
        true
    }

    /// The pairs in a directory, by name. An incomplete pair is reported and skipped; on a renewal, one
    /// that was complete before keeps its previous content.
    pub(super) fn directory(&mut self, at: Span, dir: PathBuf) -> Option<Vec<directory::Named>> {
        let previous = self.previous;
        let is_known =
            |files: &PairFiles| previous.is_some_and(|previous| previous.pairs.contains_key(files));
        self.material(at, cached!(directories), dir.clone(), |_, problems| {
            let directory::Directory {
                mut pairs,
                halves,
                others,
            } = directory::read(&dir)?;
            let mut unknown = Vec::new();
            for (named, why) in halves {
                if is_known(&named.1) {
                    pairs.push(named);
                } else {
                    unknown.push(why);
                }
            }
            pairs.sort_by(|(_, a), (_, b)| a.cert.cmp(&b.cert));
            if pairs.is_empty() && !unknown.is_empty() {
                return Err(unknown.remove(0).into());
            }
            for why in unknown {
                let message = format!("{}; it is left out", why.message);
                let problem = problems.warning(at, message);
                problem.help(why.help.unwrap_or_default());
            }
            for other in others {
                let problem = problems.notice(at, other.message);
                problem.help(other.help.unwrap_or_default());
            }
            Ok(pairs)
        })
    }

    /// The secrets for ticket keys; empty if none are configured.
    pub(super) fn ticket_secrets(&mut self) -> Option<Vec<TicketSecret>> {
        let Some(files) = &self.spec.process.ticket_secret else {
            return Some(Vec::new());
        };
        if files.is_empty() {
            self.problems
                .error(files.at, "an empty list of secrets")
                .help("leave `ticket_secret` out to use keys of this process alone");
            return None;
        }
        let mut secrets = Vec::new();
        for file in files.iter() {
            let path = self.resolve(file);
            let policy = self.spec.process.key_permissions.value;
            let read = |reader: &mut FileReader, problems: &mut Problems| {
                let secret = reader.read(&path)?;
                secrecy(policy, file.at, secret.exposed("ticket secret"), problems)?;
                Ok(material::ticket_secret(&secret)?)
            };
            secrets.push(self.material(file.at, cached!(secrets), path.clone(), read));
        }
        secrets.into_iter().collect()
    }
}

/// Refuses a secret whose file every user may read.
fn secrecy(
    policy: KeyPermissions,
    at: Span,
    exposed: Option<Exposed>,
    problems: &mut Problems,
) -> Result<(), ReadError> {
    let Some(Exposed(error)) = exposed else {
        return Ok(());
    };
    match policy {
        KeyPermissions::Refuse => Err(ReadError {
            at: Some(at),
            error,
        }),
        KeyPermissions::Warn => {
            let problem = problems.warning(at, error.message);
            if let Some(help) = error.help {
                problem.help(help);
            }
            Ok(())
        }
    }
}

/// Warns about a list that has expired or will within a day.
fn list_age(list: &RevocationList, at: Span, problems: &mut Problems) {
    if !list.is_in_force(unix_now()) {
        let (source, issuer) = (&list.source, &list.issuer);
        let date = unix_timestamp(list.this_update);
        problems
            .warning(
                at,
                format!("{source}: the revocation list of {issuer} is not valid yet: it is used from {date}"),
            )
            .help("an older list is used until then, or none; check the clock");
        return;
    }
    let Some(next) = list.next_update else { return };
    let date = unix_timestamp(next);
    let (source, issuer) = (&list.source, &list.issuer);
    if next <= unix_now() {
        problems
            .warning(
                at,
                format!("{source}: the revocation list of {issuer} expired on {date}"),
            )
            .help("fetch a newer one: unless `crl_expired: allow` is set, it denies every certificate");
    } else if list.renewal_due().is_some_and(|due| due < unix_now()) {
        let message = format!("{source}: the revocation list of {issuer} expires soon, on {date}");
        problems.warning(at, message);
    }
}
