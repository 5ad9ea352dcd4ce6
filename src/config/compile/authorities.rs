//! CAs, of files, of the system and built in.

use std::sync::Arc;

use super::compiler::{Compiler, Files};
use super::materials::Content;
use super::reading::{ReadError, cached, read_error_of};
use super::reuse::unchanged;
use crate::config::reader::problem::Span;
use crate::config::reader::read::Located;
use crate::config::reader::values;
use crate::config::spec::Trust;
use crate::tls::verify::authorities::Authorities;
use crate::tls::{https, material, unix_now};

/// How many damaged files of the system's CA store are named.
const SYSTEM_ERRORS_MAX: usize = 10;

impl Compiler<'_> {
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
                let ReadError { at: own, error } = read_error_of(files, &paths, doubt.about);
                let at = own.unwrap_or(at);
                let problem = match doubt.is_notice {
                    true => problems.notice(at, error.message),
                    false => problems.warning(at, error.message),
                };
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
            Trust::Webpki => Some(https::public()),
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
                .help("install its package (ca-certificates), check SSL_CERT_FILE and SSL_CERT_DIR if they \
                    are set, or use `webpki` or a file");
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
}
