//! The rules on clients' addresses, with the files of networks that they name.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use super::compiler::{Compiler, Files};
use super::matches::canonical;
use super::materials::{ListUse, NetworkFileKey};
use super::reading::{ReadError, cached};
use super::reuse::unchanged;
use crate::admission::{Networks, SourceRules};
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::ip::Cidr;
use crate::config::reader::listen::Listen;
use crate::config::reader::networks::CidrOr;
use crate::config::reader::problem::{Problems, Span, quoted};
use crate::config::reader::read::{Leaf, Located};
use crate::config::spec::{self, NetworkFile};
use crate::snapshot::Sources;
use crate::tls::material::file::{Contents, FileReader, MaterialError};

/// How many repeated networks of a file are named.
const TWICE_MAX: usize = 3;

impl Compiler<'_> {
    /// The rules of an endpoint or route. The outer `None` follows errors that were reported.
    pub(super) fn source_rules(
        &mut self,
        endpoint: &spec::Endpoint,
        sources: Option<&Located<spec::Sources>>,
    ) -> Option<Option<Arc<Sources>>> {
        let Some(spec) = sources else {
            return Some(None);
        };
        if spec.allow.is_none() && spec.deny.is_none() {
            // The list may be under the key that was rejected.
            if self.problems.is_incomplete(spec.at) {
                return None;
            }
            self.problems
                .warning(
                    spec.at,
                    "`sources` without `allow` and `deny` denies nobody",
                )
                .help("write `sources: { allow: [10.0.0.0/8] }`, or leave it out");
            return Some(None);
        }
        let is_unix = |listen: &Located<Listen>| matches!(listen.value, Listen::Unix(_));
        if !endpoint.listen.is_empty() && endpoint.listen.iter().all(is_unix) {
            self.problems.warning(
                spec.at,
                "`sources` has no effect: this endpoint listens only on unix sockets, whose peers have no \
                 address",
            );
        }
        let allow = match &spec.allow {
            Some(list) => self.networks(list, ListUse::Allow).map(Some),
            None => Some(None),
        };
        let deny = match &spec.deny {
            Some(list) => self.networks(list, ListUse::Deny),
            None => Some(Vec::new()),
        };
        let rules = SourceRules {
            allow: allow?,
            deny: deny?,
        };
        if rules.admits_nobody() {
            self.problems
                .warning(
                    spec.at,
                    "nobody can connect: `deny` has every network of `allow`",
                )
                .help("`deny` wins over `allow`");
        }
        let recheck = spec.recheck.value;
        Some(Some(Arc::new(Sources { rules, recheck })))
    }

    /// The networks of a list: those in the configuration itself, and those of each file.
    fn networks(
        &mut self,
        list: &Located<OneOrMany<CidrOr<NetworkFile>>>,
        used_as: ListUse,
    ) -> Option<Vec<Arc<Networks>>> {
        if list.is_empty() {
            let (message, help) = match used_as {
                ListUse::Allow => (
                    "an empty `allow` would let nobody in",
                    "leave it out to allow every address",
                ),
                ListUse::Deny => (
                    "an empty `deny` denies nobody",
                    "leave it out; an empty file is fine",
                ),
            };
            self.problems.error(list.at, message).help(help);
            return None;
        }
        let inline = list.iter().filter_map(|item| item.cidr());
        let inline: Vec<_> = inline.map(|net| canonical(net.0)).collect();
        let mut all = Vec::new();
        if !inline.is_empty() {
            let name = match used_as {
                ListUse::Allow => "`sources.allow`",
                ListUse::Deny => "`sources.deny`",
            };
            all.push(Some(Arc::new(Networks::new(name, inline))));
        }
        for file in list.iter().filter_map(|item| item.map()) {
            all.push(self.network_file(file, used_as));
        }
        if self.files == Files::Skip {
            return Some(all.into_iter().flatten().collect());
        }
        all.into_iter().collect()
    }

    fn network_file(&mut self, file: &NetworkFile, used_as: ListUse) -> Option<Arc<Networks>> {
        let at = file.file.at;
        let path = self.resolve(&file.file);
        let key = NetworkFileKey {
            path: path.clone(),
            list: used_as,
        };
        let before = self
            .running
            .and_then(|r| r.materials.networks.get(&key)?.found.clone());
        let read = |reader: &mut FileReader, problems: &mut Problems| {
            let help = "name a file with one network or address in each line; paths are relative to the \
                        configuration file";
            let contents = reader.read(&path).map_err(|e| e.help(help))?;
            let lines = lines(&contents)?;
            if lines.is_empty() && used_as == ListUse::Allow {
                let error = contents.error("it has no network, so nobody could connect");
                return Err(ReadError::from(
                    error.help("list the networks that may connect"),
                ));
            }
            repeated(&path, &lines, at, problems);
            let networks = lines.into_iter().map(|(_, net)| net);
            let name = file.file.to_string_lossy();
            let networks = Networks::new(name, networks);
            Ok(unchanged(networks, before.as_ref()))
        };
        self.material(at, cached!(networks), key, read)
    }
}

/// The networks of a file, each with the number of its line.
fn lines(contents: &Contents) -> Result<Vec<(usize, IpNet)>, MaterialError> {
    let path = &contents.path;
    let bytes = contents.bytes.strip_prefix(b"\xef\xbb\xbf");
    let bytes = bytes.unwrap_or(&contents.bytes);
    let mut networks = Vec::new();
    let mut refused: Option<MaterialError> = None;
    let mut others = 0_usize;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        match network(line) {
            Ok(None) => {}
            Ok(Some(net)) => networks.push((index + 1, net)),
            Err(_) if refused.is_some() => others += 1,
            Err((what, help)) => {
                let error = MaterialError::at_line(path, index + 1, what);
                refused = Some(error.help(help));
            }
        }
    }
    match refused {
        None => Ok(networks),
        Some(mut error) => {
            if others > 0 {
                error
                    .message
                    .push_str(&format!("; {others} more lines are bad"));
            }
            Err(error)
        }
    }
}

/// The network of a line, if it has one; or what is wrong with the line, and how to write it.
fn network(line: &[u8]) -> Result<Option<IpNet>, (String, String)> {
    let line = match line.iter().position(|byte| *byte == b'#') {
        Some(comment) => line.split_at(comment).0,
        None => line,
    };
    let text = match std::str::from_utf8(line) {
        Ok(text) => text.trim(),
        Err(_) => return Err(("it is not text".to_owned(), ONE.to_owned())),
    };
    if text.is_empty() {
        return Ok(None);
    }
    match Cidr::parse(text) {
        Ok(net) => Ok(Some(canonical(net.0))),
        Err(_) if text.contains([';', ',', ' ', '\t', '/']) && first_is_network(text) => {
            let message = format!("{} is more than one network", quoted(text));
            Err((message, ONE.to_owned()))
        }
        Err(invalid) => {
            let problem = invalid.into_problem(Span::default(), text, false);
            Err((problem.message, problem.help.unwrap_or_default()))
        }
    }
}

/// The form of a line.
const ONE: &str = "one network or address in each line; `#` begins a comment";

/// Whether a text begins with a network and goes on.
fn first_is_network(text: &str) -> bool {
    let first = text.split([';', ',', ' ', '\t']).next();
    first.is_some_and(|first| first != text && Cidr::parse(first).is_ok())
}

/// Warns about networks that a file has twice.
fn repeated(path: &Path, lines: &[(usize, IpNet)], at: Span, problems: &mut Problems) {
    let mut seen = HashMap::new();
    let mut count = 0_usize;
    for (line, net) in lines {
        let Some(first) = seen.insert(net, line) else {
            continue;
        };
        count += 1;
        if count <= TWICE_MAX {
            let path = path.display();
            problems.warning(
                at,
                format!("{path}:{line}: {net} is in this file already, in line {first}"),
            );
        }
    }
    if let Some(more @ 1..) = count.checked_sub(TWICE_MAX) {
        let path = path.display();
        problems.warning(at, format!("{path}: {more} more networks are there twice"));
    }
}
