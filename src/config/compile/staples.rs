//! OCSP responses that are fetched for the certificates of endpoints.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::compiler::Compiler;
use crate::config::reader::problem::Span;
use crate::config::spec::{HttpUrl, OcspFetch, OcspSource};
use crate::revocation::{Reach, Source, Staple, Wanted};
use crate::tls::ocsp;
use crate::tls::pair::{Pair, stem};
use crate::tls::pair_files::StapleFile;

impl Compiler<'_> {
    /// The file of the response for the certificate in this file.
    pub(super) fn staple_file(&self, source: &OcspSource, cert: &Path) -> StapleFile {
        match source {
            OcspSource::File(path) => StapleFile::Named(self.resolve(path)),
            OcspSource::Fetch(fetch) => StapleFile::Fetched {
                response: Source::file_in(
                    &self.resolve(&fetch.state),
                    &stem(cert),
                    cert.as_os_str().as_bytes(),
                    "ocsp",
                ),
                issuer: fetch.issuer.as_ref().map(|issuer| self.resolve(issuer)),
            },
        }
    }

    /// Has the response for a certificate fetched from now on.
    pub(super) fn fetch_staple(
        &mut self,
        at: Span,
        spec: &OcspFetch,
        response: &Path,
        pair: &Pair,
    ) {
        let source = &pair.source;
        let (Some(leaf), Some(issuer)) = (pair.key.cert.first(), &pair.issuer) else {
            let message = format!(
                "{source}: no OCSP response is fetched: the file does not hold the certificate of its issuer"
            );
            self.problems
                .warning(at, message)
                .help("add it behind the certificate, or name its file: ocsp: { issuer: FILE }");
            return;
        };
        let named = || {
            ocsp::responders(leaf)
                .iter()
                .find_map(|url| HttpUrl::of(url))
        };
        let (url, reach) = match &spec.url {
            Some(url) => (Some(url.value.clone()), Reach::Any),
            None => (named(), Reach::Public),
        };
        let Some(HttpUrl(url)) = url else {
            let message = format!(
                "{source}: no OCSP response is fetched: the certificate names no responder"
            );
            self.problems
                .warning(at, message)
                .help("leave `ocsp` out; or name one: ocsp: { url: URL }");
            return;
        };
        self.fetch(Source {
            url: url.to_string(),
            reach,
            every: spec.every.0,
            file: response.to_owned(),
            wanted: Wanted::Staple(Staple {
                leaf: leaf.clone(),
                issuer: issuer.clone(),
            }),
        });
    }
}
