//! The certificates of an endpoint.

use std::collections::HashSet;
use std::sync::Arc;

use super::Compiler;
use super::materials::PairPlaces;
use super::overlaps::opens_tls;
use crate::config::reader::problem::{Span, quoted};
use crate::config::reader::read::Located;
use crate::config::reader::shapes::OneOrMany;
use crate::config::reader::values;
use crate::config::spec::{self, CertificatePair};
use crate::name::Pattern;
use crate::observe::format::unix_timestamp;
use crate::tls::certificates::{Certificate, Certificates, ENDS_SOON};
use crate::tls::material::{Pair, PairFiles, stem};
use crate::tls::unix_now;

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
    places: PairPlaces,
    name: String,
    files: PairFiles,
    names: Option<Vec<Pattern>>,
    /// Whether it was found in a directory, and not named by the configuration.
    found: bool,
}

impl Compiler<'_> {
    pub(super) fn certificates(&mut self, endpoint: &spec::Endpoint) -> Store {
        let specs = &endpoint.tls.certificates;
        let mut complete = true;
        let mut all = Vec::new();
        let mut names = HashSet::new();
        for source in self.sources(specs, &mut complete) {
            let taken = names.contains(&source.name);
            if source.found && self.is_new_and_useless(source.places.cert, &source.files, taken) {
                continue;
            }
            if !names.insert(source.name.clone()) {
                let message = format!("two certificates are called {}", quoted(&source.name));
                self.problems
                    .error(source.places.cert, message)
                    .help("give one of them a `name`");
            }
            match self.certificate(source) {
                Some(certificate) => all.push(Arc::new(certificate)),
                None => complete = false,
            }
        }
        self.keep_needed(endpoint, &mut all);
        self.serves(endpoint.name.as_str(), &all);
        Store {
            complete,
            by_name: Arc::new(by_name(&all)),
            all,
        }
    }

    /// When materials are renewed, what a route needs and no certificate has any more stays as it was:
    /// a renewal that went wrong takes down neither its own name nor the other renewals.
    fn keep_needed(&mut self, endpoint: &spec::Endpoint, all: &mut Vec<Arc<Certificate>>) {
        let before = self.served_before(endpoint.name.as_str()).to_vec();
        let routes = endpoint.routes.iter().filter(|route| opens_tls(route));
        let names = routes.flat_map(|route| route.matches.sni.iter().flat_map(|sni| sni.iter()));
        let needed = names.filter_map(|name| Some((name.at, Pattern::parse(&name.value.0).ok()?)));
        for (at, pattern) in needed {
            if by_name(all).cover(&pattern) {
                continue;
            }
            let covers =
                |old: &&Arc<Certificate>| by_name(std::slice::from_ref(*old)).cover(&pattern);
            if let Some(old) = before.iter().find(covers) {
                self.keep(at, &format!("`{pattern}`"), old, all);
            }
        }
        let Some(default) = &endpoint.default_route else {
            return;
        };
        let name = match (&default.certificate, all.as_slice()) {
            (Some(name), _) => Some(name.as_str().to_owned()),
            // There is one to take.
            (None, [_]) => None,
            (None, _) => self.default_before(endpoint.name.as_str()),
        };
        if let Some(name) = name
            && !all.iter().any(|certificate| certificate.name == name)
            && let Some(old) = before.iter().find(|old| old.name == name)
        {
            self.keep(default.at, "the default route", old, all);
        }
    }

    fn keep(
        &mut self,
        at: Span,
        what: &str,
        old: &Arc<Certificate>,
        all: &mut Vec<Arc<Certificate>>,
    ) {
        let source = &old.pair.source;
        self.kept(
            at,
            format!("{source}: no certificate for {what} is there any more"),
        );
        match all
            .iter_mut()
            .find(|certificate| certificate.name == old.name)
        {
            Some(new) => *new = Arc::clone(old),
            None => all.push(Arc::clone(old)),
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
                    let at = directory.dir.at;
                    let dir = self.resolve(&directory.dir);
                    let found = self.directory(at, dir);
                    *complete &= found.is_some();
                    let found = found.into_iter().flatten();
                    sources.extend(found.map(|(name, files)| Source {
                        places: PairPlaces::all(at),
                        name,
                        files,
                        names: None,
                        found: true,
                    }));
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
            places: PairPlaces {
                cert: pair.cert.at,
                key: pair.key.as_ref().map_or(pair.cert.at, |key| key.at),
                ocsp: pair.ocsp.as_ref().map_or(pair.cert.at, |ocsp| ocsp.at),
            },
            name: pair
                .name
                .as_ref()
                .map_or_else(|| stem(&cert), |name| name.as_str().to_owned()),
            files: PairFiles {
                key: key.unwrap_or_else(|| cert.clone()),
                ocsp: pair.ocsp.as_ref().map(|ocsp| self.resolve(ocsp)),
                cert,
            },
            names,
            found: false,
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

    /// The certificate of a source; `None` after its problem was told.
    fn certificate(&mut self, source: Source) -> Option<Certificate> {
        let at = source.places.cert;
        let mut pair = self.certified(source.places, source.files.clone())?;
        let named = source.names.is_some();
        if pair.names.is_empty() && !named {
            let why = format!("{}: the certificate names no host", pair.source);
            let before = self.pair_before(&source.files);
            let Some(before) = before.filter(|before| !before.names.is_empty()) else {
                self.problems
                    .error(at, why)
                    .help("give the names it is for: names: [host.example.com]");
                return None;
            };
            self.kept(at, why);
            pair = before;
        }
        let names = source.names.unwrap_or_else(|| pair.names.clone());
        for name in names.iter().filter(|name| !pair.covers(name)) {
            self.problems.warning(
                at,
                format!(
                    "{}: the certificate is not for `{name}`: clients will refuse it",
                    pair.source
                ),
            );
        }
        self.validity(at, &pair);
        Some(Certificate {
            name: source.name,
            pair,
            names,
        })
    }

    fn validity(&mut self, at: Span, pair: &Pair) {
        let now = unix_now();
        let (start, end) = (pair.not_before, pair.not_after);
        let path = &pair.source;
        if end < now {
            let message = format!("{path}: the certificate expired on {}", unix_timestamp(end));
            self.problems.warning(at, message);
        } else if start > now {
            let message = format!(
                "{path}: the certificate is not valid before {}",
                unix_timestamp(start)
            );
            self.problems.warning(at, message);
        } else if end - now < ENDS_SOON {
            let message = format!(
                "{path}: the certificate expires soon, on {}",
                unix_timestamp(end)
            );
            self.problems.warning(at, message);
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

fn by_name(all: &[Arc<Certificate>]) -> Certificates {
    let mut certificates = Certificates::default();
    for certificate in all {
        certificates.add(certificate);
    }
    certificates
}
