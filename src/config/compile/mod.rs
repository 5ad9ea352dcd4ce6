//! Compiles a [`Spec`] into a [`Snapshot`]: checks that values fit together, loads files, reports every
//! problem.
//!
//! Each step continues after an error as far as possible, so that one run reports all problems. The
//! snapshot holds parsed values only.

mod admin;
mod alpn;
mod certificates;
mod client_auth;
mod client_auth_terms;
mod context;
mod cycles;
mod endpoints;
mod health;
mod matches;
mod materials;
mod no_effect_lints;
pub(super) mod permissions;
mod presented;
mod process;
mod proxy_protocol;
mod routes;
mod security_lints;
mod serving;
mod upstreams;
mod wire;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::reader::problem::Problems;
use crate::config::reader::values;
use crate::config::spec::Spec;
use crate::snapshot::Snapshot;
use crate::tls::sessions::{Sessions, TicketSecret};

pub use self::materials::Materials;

/// Whether certificates, keys, CA bundles and other files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Read them; a snapshot needs them.
    Read,
    /// Skip them: for a check on a machine that lacks them. Yields no snapshot.
    Skip,
}

/// What a configuration is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be checked, perhaps by another user than the one that it will run as.
    Check,
    /// To be run by this process.
    Serve,
}

/// The inputs of a compilation besides the text.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// Whether files are read.
    pub files: Files,
    /// What it is compiled for.
    pub purpose: Purpose,
    /// The previous contents of files, for those that cannot be read any more; without it each of them
    /// is an error.
    pub previous: Option<&'a Materials>,
    /// The TLS sessions of the process.
    pub sessions: &'a Sessions,
}

impl<'a> LoadOptions<'a> {
    /// The options of a start: there are no previous contents.
    pub const fn first(files: Files, purpose: Purpose, sessions: &'a Sessions) -> Self {
        Self {
            files,
            purpose,
            previous: None,
            sessions,
        }
    }
}

/// Compiles `spec`, whose relative paths are relative to `dir`. Returns a snapshot unless `problems` has
/// an error afterwards or files were skipped.
pub fn compile(
    spec: &Spec,
    dir: &Path,
    options: LoadOptions<'_>,
    problems: &mut Problems,
) -> Option<(Snapshot, Materials)> {
    let mut compiler = Compiler {
        spec,
        dir,
        files: options.files,
        purpose: options.purpose,
        seen_directories: HashSet::new(),
        sessions: options.sessions,
        ticket_secrets: Vec::new(),
        previous: options.previous.cloned(),
        materials: Materials::default(),
        problems,
    };
    compiler.ticket_secrets = compiler.ticket_secrets().unwrap_or_default();
    cycles::find(spec, compiler.problems);
    security_lints::origins(spec, compiler.problems);
    security_lints::vaults(spec, compiler.problems);
    no_effect_lints::settings(spec, compiler.problems);
    compiler.socket_directories();
    alpn::unregistered(spec, compiler.problems);
    alpn::unforwarded(spec, compiler.problems);
    let upstreams = compiler.upstreams();
    let endpoints = compiler.endpoints(&upstreams);
    let admin = compiler.admin();
    let process = process::settings(&spec.process);
    let log = process::log(&spec.log, dir);
    let access_log = process::access_log(&spec.access_log, dir);
    if compiler.problems.has_errors() || compiler.files == Files::Skip {
        return None;
    }
    // In file order, and only those that a route leads to.
    let used = spec.upstreams.0.iter().filter_map(|(name, _)| {
        let upstream = upstreams.get(name.as_str())?.as_ref();
        upstream
            .filter(|upstream| upstreams::is_used(spec, upstream))
            .cloned()
    });
    let used = used.collect();
    let names = upstreams.values().flatten().map(|upstream| {
        let members = upstream.definition.origins.iter();
        let names = members.map(|origin| Arc::clone(&origin.name)).collect();
        (Arc::clone(&upstream.definition.name), names)
    });
    let snapshot = Snapshot::new(
        process,
        log,
        access_log,
        admin?,
        endpoints?,
        used,
        names.collect(),
    );
    Some((snapshot, compiler.materials))
}

struct Compiler<'a> {
    spec: &'a Spec,
    dir: &'a Path,
    files: Files,
    purpose: Purpose,
    /// Directories of materials that were checked already.
    seen_directories: HashSet<PathBuf>,
    sessions: &'a Sessions,
    ticket_secrets: Vec<TicketSecret>,
    previous: Option<Materials>,
    materials: Materials,
    problems: &'a mut Problems,
}

impl Compiler<'_> {
    fn resolve(&self, path: &values::Path) -> PathBuf {
        self.dir.join(&**path)
    }
}
