//! Certificates with their keys: of named files, and of directories.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compiler::Compiler;
use super::materials::{Content, ServedCertificates};
use super::reading::{ReadError, cached};
use super::reuse::unchanged;
use super::secrets::secrecy;
use crate::config::reader::problem::Span;
use crate::config::spec::KeyPermissions;
use crate::observe::format::unix_timestamp;
use crate::tls::certificates::Certificate;
use crate::tls::material::carried::CarriedFiles;
use crate::tls::material::directory;
use crate::tls::material::file::{Exposed, MaterialError};
use crate::tls::pair::{self, Pair};
use crate::tls::pair_files::{PairContents, PairFiles, StapleFile};
use crate::tls::unix_now;

/// The spans of the files of a pair.
#[derive(Clone, Copy)]
pub(super) struct PairPlaces {
    pub(super) cert: Span,
    pub(super) key: Span,
    pub(super) ocsp: Span,
    pub(super) password: Span,
    /// Whether a directory of pairs may stand in place of the files.
    pub(super) or_directory: bool,
}

impl PairPlaces {
    /// One span for all of them.
    pub(super) const fn all(at: Span) -> Self {
        Self {
            cert: at,
            key: at,
            ocsp: at,
            password: at,
            or_directory: false,
        }
    }

    /// The span of one of the files.
    fn of(&self, files: &PairFiles, path: &Path) -> Span {
        if path == files.cert {
            self.cert
        } else if path == files.key {
            self.key
        } else if Some(path) == files.password.as_deref() {
            self.password
        } else {
            self.ocsp
        }
    }

    fn read_error(&self, files: &PairFiles, mut error: MaterialError) -> ReadError {
        if self.or_directory && error.path == files.cert && files.cert.is_dir() {
            let help = "name a file; `dir: DIRECTORY`, in place of `cert` and `key`, is for every pair in it";
            error.help = Some(help.to_owned());
        }
        let at = Some(self.of(files, &error.path));
        ReadError { at, error }
    }
}

impl<'a> Compiler<'a> {
    /// The previous content of a pair of files, on a renewal.
    pub(super) fn previous_pair(&self, files: &PairFiles) -> Option<Arc<Pair>> {
        self.previous?.pairs.get(files)?.found.clone()
    }

    /// Keeps the previous content of a pair of files: the new one is not usable.
    pub(super) fn keep_previous_pair(&mut self, files: &PairFiles, before: &Arc<Pair>) {
        let kept = Content::kept(Arc::clone(before));
        self.materials.pairs.insert(files.clone(), kept);
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
            let (pair, weaknesses) = pair::pair(&files, &contents).map_err(|error| {
                let mut found = places.read_error(&files, error);
                if files.key == files.cert && contents.has_chain() {
                    found.at = Some(places.key);
                }
                found
            })?;
            for weakness in weaknesses {
                problems.warning(at, weakness);
            }
            if let (Some(stapled), Some(StapleFile::Named(path))) = (&pair.stapled, &files.ocsp)
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
        let mut reader = self.reader();
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
        self.stamp(&dir);
        let carried = self.in_document;
        let previous = self.previous;
        let unchanged = self.unchanged_pairs();
        let is_known =
            |files: &PairFiles| previous.is_some_and(|previous| previous.pairs.contains_key(files));
        self.material(at, cached!(directories), dir.clone(), |_, problems| {
            if let Some(files) = carried {
                return Ok(of_document(files, &dir));
            }
            let directory::Directory {
                mut pairs,
                halves,
                others,
            } = directory::read(&dir, |cert| unchanged.contains(cert))?;
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

    /// On a renewal, the certificates of pairs that have not changed.
    fn unchanged_pairs(&self) -> HashSet<&'a Path> {
        let pairs = self
            .previous
            .into_iter()
            .flat_map(|previous| &previous.pairs);
        let unchanged =
            pairs.filter(|(files, _)| self.unchanged_content(cached!(pairs), *files).is_some());
        unchanged.map(|(files, _)| files.cert.as_path()).collect()
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
}

/// The pairs in a directory that the document of a fleet carries.
fn of_document(files: &CarriedFiles, directory: &Path) -> Vec<directory::Named> {
    let pairs = files.pairs_in(directory).into_iter();
    let named = pairs.map(|(name, cert, key)| {
        let files = PairFiles {
            cert,
            key,
            ocsp: None,
            password: None,
        };
        (name, files)
    });
    named.collect()
}
