//! The differences between two configurations, by the names in the file.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::config::Spec;
use crate::connection::ConnInfo;
use crate::connection::table::ConnTable;
use crate::hostname::HostTable;
use crate::snapshot::Snapshot;

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    /// `endpoint`, `route`, `certificate`, `upstream` or `origin`.
    pub(crate) what: &'static str,
    /// Its name; routes, certificates and origins have their endpoint or upstream before it.
    pub(crate) name: String,
    /// Live connections that use it.
    pub(crate) connections: usize,
}

/// The kind of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Added,
    Removed,
    Changed,
    /// An endpoint that was drained on request listens again.
    Reopened,
}

impl Kind {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Reopened => "reopened",
        }
    }
}

impl Change {
    /// What happens to the live connections.
    pub(crate) fn fate(&self) -> &'static str {
        match (self.kind, self.what) {
            (Kind::Added, _) => "",
            (Kind::Removed | Kind::Reopened, _) => "drain",
            (Kind::Changed, "endpoint" | "route") => "stay where client auth admits them",
            (Kind::Changed, _) => "stay",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.what, self.name, self.kind.word())?;
        match self.connections {
            0 => Ok(()),
            n => write!(f, " ({n} connections {})", self.fate()),
        }
    }
}

/// The items of one kind by name, each with the text that it is compared by.
type Items = BTreeMap<String, String>;

/// The endpoints that listen again after they were drained on request.
pub(crate) fn reopened<'a>(
    endpoints: impl Iterator<Item = &'a Arc<str>>,
    table: &ConnTable<ConnInfo>,
) -> Vec<Change> {
    let reopened = |endpoint: &Arc<str>| {
        let mut connections = 0;
        table.each(|c| connections += usize::from(c.info.record.endpoint == *endpoint));
        Change {
            kind: Kind::Reopened,
            what: "endpoint",
            name: endpoint.to_string(),
            connections,
        }
    };
    endpoints.map(reopened).collect()
}

/// The differences between two configurations, with the number of live connections of each. Compares all
/// items and reads the whole table of connections: must not run on the control loop.
pub(crate) fn changes(
    (old_spec, old): (&Spec, &Snapshot),
    (new_spec, new): (&Spec, &Snapshot),
    table: &ConnTable<ConnInfo>,
) -> Vec<Change> {
    let mut changes = Vec::new();
    if !std::ptr::eq(old_spec, new_spec) {
        let (before, after) = (items(old_spec), items(new_spec));
        for ((what, before), (_, after)) in before.iter().zip(&after) {
            compare(what, before, after, &mut changes);
        }
    }
    let mut of_files = Vec::new();
    compare("route", &files(old), &files(new), &mut of_files);
    // A route that came or went, or whose keys have changed, is there already.
    let is_new = |change: &Change| {
        let is_it = |known: &Change| (known.what, &known.name) == (change.what, &change.name);
        change.kind == Kind::Changed && !changes.iter().any(is_it)
    };
    of_files.retain(is_new);
    changes.append(&mut of_files);
    let (before, after) = (certificates(old), certificates(new));
    compare("certificate", &before, &after, &mut changes);
    count(&mut changes, table);
    changes
}

/// Counts the live connections of each change, with one pass over the table.
fn count(changes: &mut [Change], table: &ConnTable<ConnInfo>) {
    let mut counts: HashMap<(&str, String), &mut usize> = HashMap::new();
    for change in changes {
        let key = (change.what, change.name.clone());
        // A connection does not know its certificate.
        if change.what != "certificate" {
            counts.insert(key, &mut change.connections);
        }
    }
    if counts.is_empty() {
        return;
    }
    table.each(|connection| {
        for name in names(&connection.info) {
            if let Some(count) = counts.get_mut(&name) {
                **count += 1;
            }
        }
    });
}

fn compare<T: PartialEq>(
    what: &'static str,
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
    changes: &mut Vec<Change>,
) {
    let mut push = |kind, name: &String| {
        changes.push(Change {
            kind,
            what,
            name: name.clone(),
            connections: 0,
        });
    };
    for (name, old) in before {
        match after.get(name) {
            None => push(Kind::Removed, name),
            Some(new) if new != old => push(Kind::Changed, name),
            Some(_) => {}
        }
    }
    for name in after.keys().filter(|name| !before.contains_key(*name)) {
        push(Kind::Added, name);
    }
}

/// The items that a connection uses.
fn names(info: &ConnInfo) -> Vec<(&'static str, String)> {
    let record = &info.record;
    let mut names = vec![("endpoint", record.endpoint.to_string())];
    if let Some(route) = &record.route {
        names.push(("route", format!("{}/{route}", record.endpoint)));
    }
    if let Some(upstream) = &record.upstream {
        names.push(("upstream", upstream.to_string()));
        if let Some(origin) = &record.origin {
            names.push(("origin", format!("{upstream}/{origin}")));
        }
    }
    names
}

fn items(spec: &Spec) -> [(&'static str, Items); 4] {
    let mut endpoints = Items::new();
    let mut routes = Items::new();
    for endpoint in spec.endpoints.iter() {
        let name = endpoint.name.as_str();
        for route in endpoint.routes.iter() {
            let place = format!("{name}/{}", route.name.as_str());
            routes.insert(place, crate::config::print_part(&route.value));
        }
        let mut alone = endpoint.value.clone();
        alone.routes.value.clear();
        endpoints.insert(name.to_owned(), crate::config::print_part(&alone));
    }
    let mut upstreams = Items::new();
    let mut origins = Items::new();
    for (name, upstream) in &spec.upstreams.0 {
        for origin in upstream.origins.iter() {
            let own = origin.name.as_ref().map(|name| name.as_str().to_owned());
            let own = own.unwrap_or_else(|| origin.address.value.to_string());
            let place = format!("{}/{own}", name.as_str());
            origins.insert(place, crate::config::print_part(&origin.value));
        }
        let mut alone = upstream.value.clone();
        alone.origins.value.clear();
        upstreams.insert(name.as_str().to_owned(), crate::config::print_part(&alone));
    }
    [
        ("endpoint", endpoints),
        ("route", routes),
        ("upstream", upstreams),
        ("origin", origins),
    ]
}

/// The names that a file has, and the upstreams that they lead to.
type NamesOfFile = (Arc<HostTable<u32>>, Vec<Arc<str>>);

/// The routes whose names a file has, each with these and the upstream of each.
fn files(snapshot: &Snapshot) -> BTreeMap<String, NamesOfFile> {
    let mut files = BTreeMap::new();
    for endpoint in &snapshot.endpoints {
        for (names, routes) in endpoint.routes.files() {
            let mut place = None;
            let upstreams = routes.map(|route| {
                place = Some(format!("{}/{}", endpoint.name, route.name));
                Arc::clone(&route.upstream.definition.name)
            });
            let upstreams = upstreams.collect();
            if let Some(place) = place {
                files.insert(place, (Arc::clone(names), upstreams));
            }
        }
    }
    files
}

/// The certificates of endpoints by name, each with its fingerprint.
fn certificates(snapshot: &Snapshot) -> BTreeMap<String, [u8; 32]> {
    let endpoints = snapshot.endpoints.iter();
    let certificates = endpoints.flat_map(|endpoint| {
        let certificates = endpoint.certificates.iter();
        certificates.map(move |c| (format!("{}/{}", endpoint.name, c.name), c.pair.sha256))
    });
    certificates.collect()
}
