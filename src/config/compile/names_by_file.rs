//! What the files of routes have: server names and the upstream of each.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::spec;
use crate::hostname::HostTable;

/// What a file has, all of which is good for its route.
#[derive(Debug)]
pub(super) struct RoutesFile {
    /// The number of the upstream of each name.
    pub(super) names: Arc<HostTable<u32>>,
    /// The names of the upstreams, by their numbers.
    pub(super) upstreams: Vec<Box<str>>,
}

/// A file, and the route that it is for: whether a line is good depends on that.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RoutesFileKey {
    pub(super) path: PathBuf,
    pub(super) endpoint: String,
    pub(super) route: String,
}

/// What was read for the routes of a configuration.
#[derive(Debug, Default)]
pub(super) struct RoutesFiles(pub(super) HashMap<*const spec::Route, Arc<RoutesFile>>);

impl RoutesFiles {
    /// The file of a route; `None` if it has none, or none that could be read.
    pub(super) fn of(&self, route: &spec::Route) -> Option<&Arc<RoutesFile>> {
        self.0.get(&std::ptr::from_ref(route))
    }

    /// The names of the upstreams that a route leads to.
    pub(super) fn upstreams<'a>(&'a self, route: &'a spec::Route) -> impl Iterator<Item = &'a str> {
        let of_file = self.of(route).into_iter();
        let of_file = of_file.flat_map(|file| file.upstreams.iter().map(|name| &**name));
        route.upstream_name().into_iter().chain(of_file)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
