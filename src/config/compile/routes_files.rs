//! Files of server names and the upstream that each leads to.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::compiler::Compiler;
use super::cycles;
use super::names_by_file::{RoutesFile, RoutesFileKey, RoutesFiles};
use super::negotiate::negotiation;
use super::origins::is_made;
use super::reading::{ReadError, cached};
use super::upstreams;
use crate::config::reader::problem::{Problems, Severity, Span, quoted};
use crate::config::reader::read::{Leaf, Located, nearest};
use crate::config::spec;
use crate::hostname::{HostPattern, HostTable};
use crate::tls::material::file::{Contents, FileReader, MaterialError};

/// The form of a line.
const ONE: &str =
    "one `NAME,UPSTREAM` in each line, where NAME is as in `match.sni`; `#` begins a comment";

/// The first line that tables are often written with.
const HEADER: &str = "name,upstream";

/// An upstream in a file: the first line that names it, and the first that leads an exact name there.
struct Named {
    name: Box<str>,
    line: usize,
    exact: Option<usize>,
}

impl Compiler<'_> {
    /// Reads the files of all routes.
    pub(super) fn read_routes_files(&mut self) {
        let spec = self.spec;
        let mut files = RoutesFiles::default();
        for (index, endpoint) in spec.endpoints.iter().enumerate() {
            for route in endpoint.routes.iter() {
                if let Some(file) = &route.routes_file
                    && let Some(found) = self.routes_file(index, endpoint, route, file)
                {
                    files.0.insert(std::ptr::from_ref(&**route), found);
                }
            }
        }
        self.routes_files = Rc::new(files);
    }

    fn routes_file(
        &mut self,
        index: usize,
        endpoint: &spec::Endpoint,
        route: &Located<spec::Route>,
        file: &Located<spec::RoutesFile>,
    ) -> Option<Arc<RoutesFile>> {
        let (spec, path) = (self.spec, self.resolve(&file.file));
        let key = RoutesFileKey {
            path: path.clone(),
            endpoint: endpoint.name.as_str().to_owned(),
            route: route.name.as_str().to_owned(),
        };
        // What was rejected may be the upstream that a line names.
        let may_lack = self.problems.is_incomplete(spec.upstreams.at);
        let read = |reader: &mut FileReader, _: &mut Problems| {
            let contents = reader.read(&path).map_err(|e| e.help(ONE))?;
            let (names, upstreams) = table(&contents)?;
            let known = spec.upstreams.0.iter();
            let known: HashMap<_, _> = known.map(|(name, found)| (name.as_str(), found)).collect();
            let files = RoutesFiles::default();
            let uses = upstreams::uses(spec, &files);
            for upstream in &upstreams {
                let used = uses.get(&*upstream.name).copied().unwrap_or_default();
                let good = match known.get(&*upstream.name) {
                    None if may_lack => Ok(()),
                    None => Err((upstream.line, unknown(spec, &upstream.name))),
                    Some(_) if upstreams::conflicts(used, route) => Err((
                        upstream.line,
                        format!(
                            "the upstream {} is used with TLS and without: this route is `{}`",
                            quoted(&upstream.name),
                            route.mode.value
                        ),
                    )),
                    Some(found) => suits(spec, index, route, upstream, found),
                };
                good.map_err(|(line, what)| MaterialError::at_line(&path, line, what))?;
            }
            let upstreams = upstreams.into_iter().map(|upstream| upstream.name);
            Ok::<_, ReadError>(Arc::new(RoutesFile {
                names: Arc::new(names),
                upstreams: upstreams.collect(),
            }))
        };
        self.material(file.file.at, cached!(routes), key, read)
    }
}

/// What is said of an upstream that is not there.
fn unknown(spec: &spec::Spec, name: &str) -> String {
    let known = spec.upstreams.0.iter().map(|(name, _)| name.as_str());
    match nearest(name, known) {
        Some(near) => format!(
            "there is no upstream {}; did you mean {}?",
            quoted(name),
            quoted(near)
        ),
        None => format!("there is no upstream {}", quoted(name)),
    }
}

/// Whether a route may lead to an upstream; if not, the line that is bad, and why.
fn suits(
    spec: &spec::Spec,
    index: usize,
    route: &Located<spec::Route>,
    named: &Named,
    upstream: &spec::Upstream,
) -> Result<(), (usize, String)> {
    let name = quoted(&named.name);
    if let (Some(line), true) = (named.exact, upstream.origins.iter().any(|o| is_made(o))) {
        let why = format!(
            "the origins of {name} are made of what a wildcard stood for, and this name has none"
        );
        return Err((line, why));
    }
    if cycles::leads_back(spec, index, upstream) {
        let why = format!("the upstream {name} leads back to the endpoint of this route");
        return Err((named.line, why));
    }
    let mut trial = Problems::default();
    if let Some(endpoint) = spec.endpoints.get(index) {
        negotiation(endpoint, route, upstream, &mut trial);
    }
    let refused = trial.sorted().into_iter();
    let mut refused = refused.filter(|problem| problem.severity == Severity::Error);
    match refused.next() {
        None => Ok(()),
        Some(problem) => Err((
            named.line,
            format!("the upstream {name}: {}", problem.message),
        )),
    }
}

/// The names of a file with the numbers of their upstreams, and these.
fn table(contents: &Contents) -> Result<(HostTable<u32>, Vec<Named>), MaterialError> {
    let path = &contents.path;
    let bytes = contents.bytes.strip_prefix(b"\xef\xbb\xbf");
    let bytes = bytes.unwrap_or(&contents.bytes);
    let mut names = HostTable::default();
    let mut upstreams: Vec<Named> = Vec::new();
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut is_first = true;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let bad = |what: String| MaterialError::at_line(path, index + 1, what).help(ONE);
        let Some((name, upstream)) = fields(line, is_first).map_err(bad)? else {
            continue;
        };
        is_first = false;
        let Some(upstream) = upstream else { continue };
        let pattern = HostPattern::parse_deep(name).map_err(|_| bad(malformed(name)))?;
        let number = match numbers.get(upstream) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(upstreams.len()).unwrap_or(u32::MAX);
                numbers.insert(upstream, number);
                upstreams.push(Named {
                    name: upstream.into(),
                    line: index + 1,
                    exact: None,
                });
                number
            }
        };
        if let (HostPattern::Exact(_), Some(named)) = (&pattern, upstreams.get_mut(number as usize))
        {
            named.exact.get_or_insert(index + 1);
        }
        if names.insert(pattern, number).is_some() {
            return Err(bad(format!("{} is in this file already", quoted(name))));
        }
    }
    if upstreams.is_empty() {
        let error = contents.error("it has no server name, so no client could reach this route");
        return Err(error.help(ONE));
    }
    Ok((names, upstreams))
}

/// The name and the upstream of a line, if it has any; the header has no upstream. An error is what is wrong.
fn fields(line: &[u8], is_first: bool) -> Result<Option<(&str, Option<&str>)>, String> {
    let line = match line.iter().position(|byte| *byte == b'#') {
        Some(comment) => line.split_at(comment).0,
        None => line,
    };
    let text = std::str::from_utf8(line).map_err(|_| "it is not text".to_owned())?;
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if is_first && text.eq_ignore_ascii_case(HEADER) {
        return Ok(Some((text, None)));
    }
    let parts = text.split_once(',');
    let parts = parts.map(|(name, upstream)| (name.trim(), upstream.trim()));
    match parts {
        Some((name, upstream))
            if !name.is_empty() && !upstream.is_empty() && !upstream.contains(',') =>
        {
            Ok(Some((name, Some(upstream))))
        }
        _ => Err(format!("{} is not `NAME,UPSTREAM`", quoted(text))),
    }
}

/// Why a text is no pattern of names, in the words of `match.sni`.
fn malformed(name: &str) -> String {
    match <HostPattern as Leaf>::parse(name) {
        Ok(_) => format!("{} is not a host name", quoted(name)),
        Err(invalid) => invalid.into_problem(Span::default(), name, false).message,
    }
}
