//! CA bundles, each read once however often it is named.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::RootCertStore;

use super::{Compiler, Files};
use crate::config::reader::problem::Span;
use crate::config::reader::read::Located;
use crate::config::reader::values;
use crate::config::spec::Trust;
use crate::tls::material;

#[derive(Default)]
pub(super) struct Authorities {
    files: HashMap<Vec<PathBuf>, Option<Arc<RootCertStore>>>,
    system: Option<Option<Arc<RootCertStore>>>,
}

impl Compiler<'_> {
    /// The trust anchors of CA files; `None` after their problems were told, or when files are
    /// skipped.
    pub(super) fn bundle(
        &mut self,
        at: Span,
        files: &[Located<values::Path>],
    ) -> Option<Arc<RootCertStore>> {
        if files.is_empty() {
            self.problems
                .error(at, "an empty list of CA files trusts nobody")
                .help("name at least one file");
            return None;
        }
        if self.files == Files::Skip {
            return None;
        }
        let paths: Vec<_> = files.iter().map(|file| self.resolve(file)).collect();
        if let Some(known) = self.authorities.files.get(&paths) {
            return known.clone();
        }
        let roots = self.read(at, material::roots(&paths)).map(Arc::new);
        self.authorities.files.insert(paths, roots.clone());
        roots
    }

    /// Whom an upstream trusts.
    pub(super) fn trust(&mut self, trust: &Located<Trust>) -> Option<Arc<RootCertStore>> {
        match &trust.value {
            Trust::Files(files) => self.bundle(trust.at, files),
            Trust::Webpki => {
                let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned();
                Some(Arc::new(roots.collect()))
            }
            Trust::System => self.system(trust.at),
        }
    }

    fn system(&mut self, at: Span) -> Option<Arc<RootCertStore>> {
        if self.files == Files::Skip {
            return None;
        }
        let found = self.authorities.system.get_or_insert_with(|| {
            let mut store = RootCertStore::empty();
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            (!store.is_empty()).then(|| Arc::new(store))
        });
        if found.is_none() {
            self.problems
                .error(at, "this machine's CA store is empty")
                .help("install its package (ca-certificates), or use `webpki` or a file");
        }
        found.clone()
    }
}
