//! Revocation lists, of files and of the files that keep what was fetched from URLs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Uri;

use super::compiler::{Compiler, Files};
use super::reading::{Cached, ReadError, cached};
use crate::config::reader::problem::{Problems, Span};
use crate::config::reader::read::Located;
use crate::config::reader::values;
use crate::config::spec::{HttpUrl, ListSource, ListUrl, ListsOfCertificates};
use crate::hostname::{HostName, HostTable};
use crate::observe::escape;
use crate::observe::format::unix_timestamp;
use crate::revocation::{Lists, Reach, Source, Wanted};
use crate::state;
use crate::tls::material::file::MaterialError;
use crate::tls::material::{self, lists_in};
use crate::tls::unix_now;
use crate::tls::verify::authorities::Authorities;
use crate::tls::verify::crl::{RevocationList, RevocationLists};

/// The largest file that is read.
const FILE_MAX: usize = 16 * 1024 * 1024;

/// A file with lists, and where it is named.
struct ListFile {
    path: PathBuf,
    at: Span,
    /// The URL from which it is fetched, if it is.
    url: Option<String>,
}

impl Compiler<'_> {
    /// The revocation lists of these sources, the newest of each issuer. `roots` are the CAs whose lists may
    /// be fetched.
    pub(super) fn revocation_lists(
        &mut self,
        at: Span,
        sources: &[Located<ListSource>],
        roots: Option<&Arc<Authorities>>,
    ) -> Option<Arc<RevocationLists>> {
        let mut files = Vec::new();
        for source in sources {
            self.list_files(source, roots, &mut files)?;
        }
        let cached = Cached {
            // A list remembers which CAs have signed it: with other CAs it starts anew.
            may_stay: |compiler| !compiler.has_changed_authorities,
            ..cached!(lists)
        };
        let is_renewal = self.previous.is_some();
        let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
        self.material(at, cached, paths, |reader, problems| {
            let mut lists = Vec::new();
            for file in &files {
                let place = |error| ReadError {
                    at: Some(file.at),
                    error,
                };
                lists.extend(match &file.url {
                    None => material::revocation_lists(reader, std::slice::from_ref(&file.path)).map_err(place)?,
                    Some(url) => kept(url, file, is_renewal, problems).map_err(place)?,
                });
            }
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

    /// Adds the files of a source; `None` if an error was reported.
    fn list_files(
        &mut self,
        source: &Located<ListSource>,
        roots: Option<&Arc<Authorities>>,
        files: &mut Vec<ListFile>,
    ) -> Option<()> {
        let at = source.at;
        match &source.value {
            ListSource::File(path) => files.push(ListFile {
                path: self.resolve(path),
                at,
                url: None,
            }),
            ListSource::Url(spec) => {
                let path = self.fetched_from(spec, roots)?;
                let url = Some(spec.url.0.to_string());
                files.push(ListFile { path, at, url });
            }
            ListSource::Certificates(spec) => {
                for HttpUrl(url) in self.distribution_points(at, spec, roots?) {
                    let path = self.list_file(&spec.state, &url);
                    let signers = roots.cloned();
                    self.fetch(Source {
                        url: url.to_string(),
                        reach: Reach::Public,
                        every: spec.every.0,
                        file: path.clone(),
                        wanted: Wanted::Lists(Lists {
                            signers: signers.into_iter().collect(),
                            servers: None,
                        }),
                    });
                    let url = Some(url.to_string());
                    files.push(ListFile { path, at, url });
                }
            }
        }
        Some(())
    }

    /// Has the lists of a URL fetched from now on. Returns their file.
    fn fetched_from(
        &mut self,
        spec: &ListUrl,
        roots: Option<&Arc<Authorities>>,
    ) -> Option<PathBuf> {
        let own = spec.issuer.as_ref();
        let own = own.map(|files| self.bundle(files.at, files));
        let servers = spec.ca.as_ref();
        let servers = servers.map(|trust| self.authorities(trust));
        let url = &spec.url.0;
        let file = self.list_file(&spec.state, url);
        if self.files == Files::Skip {
            return Some(file);
        }
        let signers = match own {
            Some(own) => Some(own?),
            None => roots.cloned(),
        };
        let servers = match servers {
            Some(servers) => Some(servers?),
            None => None,
        };
        // Without CAs nothing is verified, and no list has an effect.
        if let Some(signers) = signers {
            self.fetch(Source {
                url: url.to_string(),
                reach: Reach::Any,
                every: spec.every.0,
                file: file.clone(),
                wanted: Wanted::Lists(Lists {
                    signers: vec![signers],
                    servers,
                }),
            });
        }
        Some(file)
    }

    /// The file that keeps the lists of a URL.
    fn list_file(&self, state: &values::Path, url: &Uri) -> PathBuf {
        let host = url.host().unwrap_or_default();
        Source::file_in(
            &self.resolve(state),
            host,
            url.to_string().as_bytes(),
            "crl",
        )
    }

    /// The distribution points in the certificates of CAs whose hosts may be asked.
    fn distribution_points(
        &mut self,
        at: Span,
        spec: &ListsOfCertificates,
        roots: &Authorities,
    ) -> Vec<HttpUrl> {
        let mut hosts = HostTable::default();
        for host in spec.hosts.iter() {
            *hosts.entry(host.value.clone()) = ();
        }
        let may_ask = |url: &HttpUrl| {
            let name = HostName::from_wire(url.0.host().unwrap_or_default());
            name.is_ok_and(|name| hosts.owner(&name).is_some())
        };
        let mut found = Vec::new();
        for text in roots.distribution_points() {
            match HttpUrl::of(text) {
                Some(url) if may_ask(&url) => found.push(url),
                _ => {
                    let message = format!(
                        "the revocation list at {} is not fetched: it is no URL of `http` or `https` at one of `hosts`",
                        escape::text(text)
                    );
                    self.problems.notice(at, message);
                }
            }
        }
        if found.is_empty() {
            self.problems
                .warning(at, "no certificate of `ca` names a revocation list at one of `hosts`")
                .help("a CA's own certificate names the list of its issuer alone; name others: `{ url: URL }`");
        }
        found
    }

    /// Has something fetched from now on. What policies share is fetched once, as often as one of them wants
    /// it.
    pub(super) fn fetch(&mut self, source: Source) {
        let Some(known) = self
            .fetched
            .iter_mut()
            .find(|known| known.file == source.file)
        else {
            self.fetched.push(source);
            return;
        };
        known.every = known.every.min(source.every);
        // A certificate must not open a way that an operator has not.
        if source.reach == Reach::Any {
            known.reach = Reach::Any;
        }
        if let (Wanted::Lists(known), Wanted::Lists(new)) = (&mut known.wanted, source.wanted) {
            for signers in new.signers {
                if !known.signers.contains(&signers) {
                    known.signers.push(signers);
                }
            }
            known.servers = known.servers.take().or(new.servers);
        }
    }
}

/// The lists that were fetched from a URL; none if there are none yet. A file that cannot be used is fetched
/// again, and keeps its previous content until then.
fn kept(
    url: &str,
    file: &ListFile,
    is_renewal: bool,
    problems: &mut Problems,
) -> Result<Vec<RevocationList>, MaterialError> {
    let ListFile { path, at, .. } = file;
    let why = match read_kept(path) {
        Ok(Some(lists)) => return Ok(lists),
        Ok(None) => {
            let message = format!(
                "the revocation list at {} was not fetched yet",
                escape::text(url)
            );
            let problem = problems.notice(*at, message);
            problem.help("until it is there, `crl_unknown` decides about certificates of its CA");
            return Ok(Vec::new());
        }
        Err(why) => why,
    };
    let error = MaterialError::new(path, why);
    if is_renewal {
        return Err(error);
    }
    problems
        .warning(*at, format!("{}; it is fetched again", error.message))
        .help("until it is there, `crl_unknown` decides about certificates of its CA");
    Ok(Vec::new())
}

fn read_kept(path: &Path) -> Result<Option<Vec<RevocationList>>, String> {
    let source: Arc<str> = path.display().to_string().into();
    let bytes = state::read(path, FILE_MAX).map_err(|error| error.to_string())?;
    bytes.map(|bytes| lists_in(&bytes, &source)).transpose()
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
        problems
            .warning(at, message)
            .help("fetch the next one before that: afterwards it denies every certificate");
    }
}
