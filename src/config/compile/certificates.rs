//! The certificates of an endpoint.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{Compiler, Files};
use crate::config::reader::problem::{Span, quoted};
use crate::config::reader::read::Located;
use crate::config::reader::shapes::OneOrMany;
use crate::config::reader::values;
use crate::config::spec::{self, CertificatePair};
use crate::name::Pattern;
use crate::observe::format::timestamp;
use crate::tls::certificates::{Certificate, Certificates};
use crate::tls::material;

/// A certificate that ends within so many seconds is warned about.
const SOON: i64 = 14 * 24 * 3600;

/// The certificates of one endpoint: for routes by the name that a client sends, for the default
/// route by their own.
pub(super) struct Store {
    /// Whether all of them were read: only then can it be said that one is missing.
    pub(super) complete: bool,
    /// By the names they cover.
    pub(super) by_name: Arc<Certificates>,
    /// In file order.
    pub(super) all: Vec<Arc<Certificate>>,
}

/// One certificate to read.
struct Source {
    at: Span,
    key_at: Span,
    name: String,
    cert: PathBuf,
    key: PathBuf,
    names: Option<Vec<Pattern>>,
}

impl Compiler<'_> {
    pub(super) fn certificates(&mut self, specs: &[Located<spec::Certificate>]) -> Store {
        let mut complete = true;
        let mut all = Vec::new();
        let mut names = HashSet::new();
        for source in self.sources(specs, &mut complete) {
            if !names.insert(source.name.clone()) {
                let message = format!("two certificates are called {}", quoted(&source.name));
                self.problems
                    .error(source.at, message)
                    .help("give one of them a `name`");
            }
            match self.certificate(source) {
                Some(certificate) => all.push(Arc::new(certificate)),
                None => complete = false,
            }
        }
        let mut by_name = Certificates::default();
        for certificate in &all {
            by_name.add(certificate);
        }
        Store {
            complete,
            by_name: Arc::new(by_name),
            all,
        }
    }

    fn sources(
        &mut self,
        specs: &[Located<spec::Certificate>],
        complete: &mut bool,
    ) -> Vec<Source> {
        let mut sources = Vec::new();
        for spec in specs {
            match &spec.value {
                spec::Certificate::Pair(pair) => match self.pair(pair) {
                    Some(source) => sources.push(source),
                    None => *complete = false,
                },
                spec::Certificate::Directory(directory) => {
                    let dir = self.resolve(&directory.dir);
                    match self.directory(directory.dir.at, &dir) {
                        Some(found) => sources.extend(found),
                        None => *complete = false,
                    }
                }
            }
        }
        sources
    }

    fn pair(&mut self, pair: &CertificatePair) -> Option<Source> {
        let cert = self.resolve(&pair.cert);
        let key = pair.key.as_ref().map(|key| self.resolve(key));
        let names = match &pair.names {
            Some(names) => Some(self.names(names)?),
            None => None,
        };
        Some(Source {
            at: pair.cert.at,
            key_at: pair.key.as_ref().map_or(pair.cert.at, |key| key.at),
            name: pair
                .name
                .as_ref()
                .map_or_else(|| stem(&cert), |name| name.as_str().to_owned()),
            key: key.unwrap_or_else(|| cert.clone()),
            cert,
            names,
        })
    }

    fn names(&mut self, names: &Located<OneOrMany<values::Text>>) -> Option<Vec<Pattern>> {
        if names.is_empty() {
            self.problems
                .error(
                    names.at,
                    "an empty list of names: the certificate would serve nobody",
                )
                .help("leave `names` out to take them from the certificate");
            return None;
        }
        names.iter().map(|name| self.pattern(name)).collect()
    }

    /// Every pair in a directory: NAME.pem with NAME.key, and NAME/fullchain.pem with
    /// NAME/privkey.pem.
    fn directory(&mut self, at: Span, dir: &Path) -> Option<Vec<Source>> {
        if self.files == Files::Skip {
            return None;
        }
        let mut entries: Vec<_> = match fs::read_dir(dir) {
            Ok(entries) => entries.filter_map(Result::ok).map(|e| e.path()).collect(),
            Err(error) => {
                self.problems
                    .error(at, format!("{}: cannot be read: {error}", dir.display()));
                return None;
            }
        };
        entries.sort();
        let found: Vec<_> = entries
            .iter()
            .filter_map(|path| {
                let (cert, key) = if path.is_dir() {
                    (path.join("fullchain.pem"), path.join("privkey.pem"))
                } else if path.extension().is_some_and(|extension| extension == "pem") {
                    (path.clone(), path.with_extension("key"))
                } else {
                    return None;
                };
                let name = stem(path);
                (cert.exists() && key.exists()).then_some(Source {
                    at,
                    key_at: at,
                    name,
                    cert,
                    key,
                    names: None,
                })
            })
            .collect();
        if found.is_empty() {
            self.problems
                .error(
                    at,
                    format!("{}: holds no pair of certificate and key", dir.display()),
                )
                .help(
                    "a pair is NAME.pem with NAME.key, or NAME/fullchain.pem with NAME/privkey.pem",
                );
            return None;
        }
        Some(found)
    }

    fn certificate(&mut self, source: Source) -> Option<Certificate> {
        if self.files == Files::Skip {
            return None;
        }
        let Source {
            at,
            key_at,
            name,
            cert,
            key,
            names,
        } = source;
        self.key_permissions(key_at, &key);
        let (certificate, weaknesses) =
            self.read(at, material::certificate(name, &cert, &key, names))?;
        for weakness in weaknesses {
            self.problems
                .warning(at, format!("{}: {weakness}", cert.display()));
        }
        self.validity(at, &cert, &certificate);
        Some(certificate)
    }

    fn validity(&mut self, at: Span, path: &Path, certificate: &Certificate) {
        let now = unix_now();
        let date = |seconds: i64| {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            timestamp(UNIX_EPOCH + std::time::Duration::from_secs(seconds))
        };
        let (start, end) = (certificate.not_before, certificate.not_after);
        let path = path.display();
        if end < now {
            self.problems.warning(
                at,
                format!("{path}: the certificate expired on {}", date(end)),
            );
        } else if start > now {
            self.problems.warning(
                at,
                format!(
                    "{path}: the certificate is not valid before {}",
                    date(start)
                ),
            );
        } else if end - now < SOON {
            self.problems.warning(
                at,
                format!("{path}: the certificate expires soon, on {}", date(end)),
            );
        }
    }

    /// A name or wildcard; `None` after its problem was told.
    pub(super) fn pattern(&mut self, text: &Located<values::Text>) -> Option<Pattern> {
        match Pattern::parse(&text.value.0) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                let star = text.value.0.contains('*');
                let problem = self.problems.error(text.at, format!("this is {error}"));
                if star {
                    problem
                        .help("a wildcard is `*.` before a name, and stands for exactly one label");
                }
                None
            }
        }
    }
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default()
}

fn unix_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}
