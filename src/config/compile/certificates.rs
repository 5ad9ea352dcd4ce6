//! The certificates of an endpoint.

use std::collections::HashMap;
use std::sync::Arc;

use super::compiler::{Compiler, Files};
use super::context::EndpointCertificates;
use super::materials::ServedCertificates;
use super::pairs::PairPlaces;
use super::reuse::unchanged;
use crate::acme::{Identifier, Managed};
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::problem::{Span, quoted};
use crate::config::reader::read::Located;
use crate::config::spec::{self, CertificatePair, OcspFetch, OcspSource};
use crate::hostname::HostPattern;
use crate::snapshot::PendingCertificate;
use crate::tls::certificates::{Certificate, Certificates};
use crate::tls::pair::{Pair, stem};
use crate::tls::pair_files::{PairFiles, StapleFile};
use crate::tls::usage::Presented;

/// Marks that a problem was reported.
struct Reported;

/// A certificate to be read.
struct CertificateSource {
    places: PairPlaces,
    name: String,
    files: PairFiles,
    names: Option<Vec<HostPattern>>,
    /// Whether it was found in a directory instead of named by the configuration.
    found: bool,
    /// The certificate of an issuer that it is.
    managed: Option<Arc<Managed>>,
    /// How its OCSP response is fetched.
    staple: Option<(Span, OcspFetch)>,
}

impl Compiler<'_> {
    pub(super) fn certificates(&mut self, endpoint: &spec::Endpoint) -> EndpointCertificates {
        let specs = &endpoint.tls.certificates;
        let mut complete = true;
        let mut all = Vec::new();
        let mut pending = Vec::new();
        let mut names = HashMap::new();
        let served = self.running_served(endpoint.name.as_str());
        let running = served.iter().flat_map(|served| &served.all);
        let running: HashMap<_, _> = running.map(|c| (c.name.as_str(), c)).collect();
        let sources = self.sources(specs, &mut complete);
        let count = sources.len();
        for source in sources {
            let taken = names.contains_key(&source.name);
            let by_default = is_default(endpoint, &source.name, count);
            if source.found
                && self.is_new_and_useless(source.places.cert, &source.files, taken, !by_default)
            {
                continue;
            }
            if let Some(first) = names.insert(source.name.clone(), source.places.cert) {
                let message = format!("two certificates are named {}", quoted(&source.name));
                self.problems
                    .error(source.places.cert, message)
                    .help("give one of them a `name`")
                    .also(first, "the first one");
            }
            let made = match source.managed.clone() {
                Some(managed) => self.kept_certificate(source, &managed, by_default, &mut pending),
                None => self.certificate(endpoint, source, by_default),
            };
            match made {
                Ok(Some(certificate)) => {
                    let running = running.get(certificate.name.as_str()).copied();
                    all.push(unchanged(certificate, running));
                }
                Ok(None) => {}
                Err(Reported) => complete = false,
            }
        }
        let mut by_name = match served {
            Some(served) if served.all == all && served.pending == pending => {
                Arc::clone(&served.by_name)
            }
            _ => Arc::new(by_name(&all, &pending)),
        };
        self.keep_needed(endpoint, &mut all, &pending, &mut by_name);
        let served = ServedCertificates {
            all: all.clone(),
            by_name: Arc::clone(&by_name),
            pending: pending.clone(),
        };
        self.serves(endpoint.name.as_str(), served);
        EndpointCertificates {
            complete,
            by_name,
            all,
            pending,
        }
    }

    /// On a renewal, keeps the previous certificate where a route needs it and no new one replaces it,
    /// so that a failed renewal breaks neither its own name nor other renewals.
    fn keep_needed(
        &mut self,
        endpoint: &spec::Endpoint,
        all: &mut Vec<Arc<Certificate>>,
        pending: &[PendingCertificate],
        table: &mut Arc<Certificates>,
    ) {
        let before = self.previous_served(endpoint.name.as_str());
        if before.is_empty() {
            return;
        }
        let routes = endpoint
            .routes
            .iter()
            .filter(|route| route.mode.value.terminates_tls());
        let names = routes.flat_map(|route| route.matches.sni.iter().flat_map(|sni| sni.iter()));
        for name in names {
            let pattern = &name.value;
            if table.cover(pattern) {
                continue;
            }
            let covers =
                |old: &&Arc<Certificate>| by_name(std::slice::from_ref(*old), &[]).cover(pattern);
            if let Some(old) = before.iter().find(covers) {
                self.keep(name.at, &format!("`{pattern}`"), old, all);
                *table = Arc::new(by_name(all, pending));
            }
        }
        let Some(default) = &endpoint.default_route else {
            return;
        };
        let name = match (&default.certificate, all.as_slice()) {
            (Some(name), _) => Some(name.as_str().to_owned()),
            // The only certificate is the default.
            (None, [_]) => None,
            (None, _) => self.previous_default(endpoint.name.as_str()),
        };
        if let Some(name) = name
            && !all.iter().any(|certificate| certificate.name == name)
            && !pending.iter().any(|certificate| certificate.name == name)
            && let Some(old) = before.iter().find(|old| old.name == name)
        {
            self.keep(default.at, "the default route", old, all);
            *table = Arc::new(by_name(all, pending));
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
        self.warn_kept(
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
    ) -> Vec<CertificateSource> {
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
                    sources.extend(found.map(|(name, files)| CertificateSource {
                        places: PairPlaces::all(at),
                        name,
                        files,
                        names: None,
                        found: true,
                        managed: None,
                        staple: None,
                    }));
                }
                spec::Certificate::Acme(kept) => match self.kept_source(spec.at, kept) {
                    Some(source) => sources.push(source),
                    None => *complete = false,
                },
            }
        }
        sources
    }

    fn pair(&mut self, pair: &CertificatePair) -> Option<CertificateSource> {
        let cert = self.resolve(&pair.cert);
        let key = pair.key.as_ref().map(|key| self.resolve(key));
        let names = match &pair.names {
            Some(names) => Some(self.names(names)?),
            None => None,
        };
        Some(CertificateSource {
            places: PairPlaces {
                cert: pair.cert.at,
                key: pair.key.as_ref().map_or(pair.cert.at, |key| key.at),
                ocsp: pair.ocsp.as_ref().map_or(pair.cert.at, |ocsp| ocsp.at),
                password: pair
                    .password_file
                    .as_ref()
                    .map_or(pair.cert.at, |file| file.at),
                or_directory: true,
            },
            name: pair
                .name
                .as_ref()
                .map_or_else(|| stem(&cert), |name| name.as_str().to_owned()),
            files: PairFiles {
                key: key.unwrap_or_else(|| cert.clone()),
                ocsp: pair.ocsp.as_ref().map(|ocsp| self.staple_file(ocsp, &cert)),
                password: pair.password_file.as_ref().map(|file| self.resolve(file)),
                cert,
            },
            names,
            found: false,
            managed: None,
            staple: pair.ocsp.as_ref().and_then(|ocsp| match &ocsp.value {
                OcspSource::File(_) => None,
                OcspSource::Fetch(fetch) => Some((ocsp.at, OcspFetch::clone(fetch))),
            }),
        })
    }

    /// The certificate that an issuer keeps.
    fn kept_source(&mut self, at: Span, spec: &spec::AcmeCertificate) -> Option<CertificateSource> {
        let managed = self.managed(&spec.acme, &spec.names)?;
        let hosts = managed.names.iter().filter_map(Identifier::host);
        let first = spec.names.first().map(|name| name.value.to_string());
        let name = spec.name.as_ref().map(|name| name.as_str().to_owned());
        Some(CertificateSource {
            places: PairPlaces::all(at),
            name: name.or(first)?,
            files: PairFiles {
                cert: managed.file.clone(),
                key: managed.file.clone(),
                ocsp: None,
                password: None,
            },
            names: Some(hosts.collect()),
            found: false,
            managed: Some(managed),
            staple: None,
        })
    }

    /// The certificate that an issuer keeps; one that is not there yet is added to `pending`.
    fn kept_certificate(
        &mut self,
        source: CertificateSource,
        managed: &Arc<Managed>,
        by_default: bool,
        pending: &mut Vec<PendingCertificate>,
    ) -> Result<Option<Certificate>, Reported> {
        let at = source.places.cert;
        let names = source.names.unwrap_or_default();
        if names.is_empty() && !by_default {
            let message =
                "this certificate names addresses and no host, and no default route presents it";
            self.problems.error(at, message).help(format!(
                "clients that connect by address send no server name: default_route: {{ route: ROUTE, \
                 certificate: {} }}",
                source.name
            ));
            return Err(Reported);
        }
        match self.managed_pair(at, managed) {
            Some(pair) => {
                self.presented(at, &pair, Presented::ToClients);
                Ok(Some(Certificate {
                    name: source.name,
                    pair,
                    names,
                }))
            }
            None if self.files == Files::Skip => Err(Reported),
            None => {
                pending.push(PendingCertificate {
                    name: source.name,
                    names,
                    managed: Arc::clone(managed),
                });
                Ok(None)
            }
        }
    }

    fn names(&mut self, names: &Located<OneOrMany<HostPattern>>) -> Option<Vec<HostPattern>> {
        if names.is_empty() {
            self.problems
                .error(
                    names.at,
                    "an empty list of names: no client would be presented the certificate",
                )
                .help("leave `names` out to take them from the certificate");
            return None;
        }
        Some(names.iter().map(|name| name.value.clone()).collect())
    }

    /// The certificate of a source; `None` if it is from a directory and covers no host name.
    fn certificate(
        &mut self,
        endpoint: &spec::Endpoint,
        source: CertificateSource,
        by_default: bool,
    ) -> Result<Option<Certificate>, Reported> {
        let at = source.places.cert;
        let pair = self.certified(source.places, source.files.clone());
        let mut pair = pair.ok_or(Reported)?;
        let has_names = !pair.names.is_empty() || source.names.is_some();
        // Clients that connect by address send no server name: the default route presents it to them.
        if !has_names && !by_default {
            let before = self.previous_pair(&source.files);
            match before.filter(|before| !before.names.is_empty()) {
                Some(before) => {
                    self.warn_kept(
                        at,
                        format!("{}: the certificate names no host", pair.source),
                    );
                    self.keep_previous_pair(&source.files, &before);
                    pair = before;
                }
                None => {
                    self.has_no_host_name(&source, &pair);
                    return if source.found {
                        Ok(None)
                    } else {
                        Err(Reported)
                    };
                }
            }
        }
        let names = source.names.unwrap_or_else(|| pair.names.clone());
        for name in names.iter().filter(|name| !pair.covers(name)) {
            if by_default && !is_routed(endpoint, name) {
                continue;
            }
            self.does_not_cover(at, &pair, name);
        }
        self.presented(at, &pair, Presented::ToClients);
        if let Some((at, fetch)) = &source.staple
            && let Some(StapleFile::Fetched { response, .. }) = &source.files.ocsp
        {
            self.fetch_staple(*at, fetch, response, &pair);
        }
        Ok(Some(Certificate {
            name: source.name,
            pair,
            names,
        }))
    }

    /// Reports a certificate without a host name that no default route presents.
    fn has_no_host_name(&mut self, source: &CertificateSource, pair: &Pair) {
        let (path, name) = (&pair.source, &source.name);
        let what = if pair.addresses.is_empty() {
            "the certificate names no host"
        } else {
            "the certificate names addresses and no host"
        };
        let by_default = format!(
            "a default route presents it to clients without a name: default_route: {{ route: ROUTE, \
             certificate: {name} }}"
        );
        if source.found {
            self.problems
                .warning(
                    source.places.cert,
                    format!("{path}: {what}, and no default route presents it; it is left out"),
                )
                .help(format!("{by_default}; else take it out of the directory"));
        } else {
            self.problems
                .error(source.places.cert, format!("{path}: {what}"))
                .help(format!(
                    "give the names it is for: names: [host.example.com]; or {by_default}"
                ));
        }
    }

    /// Warns about a configured name that the certificate does not have.
    fn does_not_cover(&mut self, at: Span, pair: &Pair, name: &HostPattern) {
        let path = &pair.source;
        let common_name = pair.common_name.as_deref().map(HostPattern::parse);
        if pair.names.is_empty() && common_name == Some(Ok(name.clone())) {
            // OpenSSL falls back to the common name; browsers, Go and rustls do not.
            let message = format!(
                "{path}: the certificate has `{name}` only as its common name: many clients will reject it"
            );
            self.problems
                .warning(at, message)
                .help(format!("have it issued with subjectAltName = DNS:{name}"));
        } else {
            let message =
                format!("{path}: the certificate is not for `{name}`: clients will reject it");
            self.problems.warning(at, message);
        }
    }
}

fn by_name(all: &[Arc<Certificate>], pending: &[PendingCertificate]) -> Certificates {
    let mut certificates = Certificates::default();
    for certificate in all {
        certificates.add(certificate);
    }
    for name in pending.iter().flat_map(|pending| &pending.names) {
        certificates.expect(name);
    }
    certificates
}

/// Whether an endpoint's default route presents the certificate `name`, one of `count`.
fn is_default(endpoint: &spec::Endpoint, name: &str, count: usize) -> bool {
    endpoint.default_route.as_ref().is_some_and(|default| {
        let mut routes = endpoint.routes.iter();
        let opens = routes.any(|route| {
            route.name.as_str() == default.route.as_str() && route.mode.value.terminates_tls()
        });
        let chosen = match &default.certificate {
            Some(chosen) => chosen.as_str() == name,
            None => count == 1,
        };
        opens && chosen
    })
}

/// Whether a route of an endpoint presents a certificate to clients whose server name matches.
fn is_routed(endpoint: &spec::Endpoint, name: &HostPattern) -> bool {
    let mut routes = endpoint
        .routes
        .iter()
        .filter(|route| route.mode.value.terminates_tls());
    // What a file has is not compared: it may change.
    routes.any(|route| {
        route.routes_file.is_some() || route.server_names().any(|served| served.overlaps(name))
    })
}
