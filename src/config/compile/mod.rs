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
mod reuse;
mod routes;
mod rules;
mod security_lints;
mod serving;
mod upstreams;
mod wire;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::reuse::Parts;
use crate::config::reader::problem::Problems;
use crate::config::reader::values;
use crate::config::spec::{self, Spec};
use crate::snapshot::Snapshot;
use crate::tls::sessions::{Sessions, TicketSecret};
use crate::tls::verify::client::ClientVerifier;

pub use self::materials::Materials;
pub use self::reuse::{Reread, Running};

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
    /// The configuration that is running, if any: parts that have not changed are taken from it.
    pub running: Option<Running<'a>>,
    /// The TLS sessions of the process.
    pub sessions: &'a Sessions,
}

impl<'a> LoadOptions<'a> {
    /// The options of a start: no configuration is running.
    pub const fn first(files: Files, purpose: Purpose, sessions: &'a Sessions) -> Self {
        Self {
            files,
            purpose,
            running: None,
            sessions,
        }
    }
}

/// Reports what the values of `spec` say about each other, whatever files hold.
pub fn lint(spec: &Spec, problems: &mut Problems) {
    cycles::find(spec, problems);
    security_lints::origins(spec, problems);
    security_lints::vaults(spec, problems);
    no_effect_lints::settings(spec, problems);
    alpn::unregistered(spec, problems);
    alpn::unforwarded(spec, problems);
}

/// Compiles `spec`, whose relative paths are relative to `dir`. Returns a snapshot unless `problems` has
/// an error afterwards or files were skipped.
pub fn compile(
    spec: &Spec,
    dir: &Path,
    options: LoadOptions<'_>,
    problems: &mut Problems,
) -> Option<(Snapshot, Materials)> {
    let renewal = |running: &Running<'_>| running.reread == Reread::Changed;
    let previous = options
        .running
        .filter(renewal)
        .map(|running| running.materials);
    let mut compiler = Compiler {
        spec,
        dir,
        files: options.files,
        purpose: options.purpose,
        seen_directories: HashSet::new(),
        sessions: options.sessions,
        ticket_secrets: Vec::new(),
        has_changed_authorities: previous.is_some_and(Materials::has_changed_authorities),
        running: options.running,
        previous,
        parts: options
            .running
            .map(|running| Parts::of(running.snapshot))
            .unwrap_or_default(),
        client_verifiers: HashMap::new(),
        materials: Materials::default(),
        problems,
    };
    compiler.ticket_secrets = compiler.ticket_secrets().unwrap_or_default();
    compiler.socket_directories();
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
    let uses = upstreams::uses(spec);
    let used = spec.upstreams.0.iter().map(|(name, _)| name.as_str());
    let used = used.filter(|name| uses.contains_key(name));
    let used = used.filter_map(|name| upstreams.get(name)?.clone());
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
    running: Option<Running<'a>>,
    /// On a renewal, the previous contents of files, for those that cannot be used any more.
    previous: Option<&'a Materials>,
    has_changed_authorities: bool,
    parts: Parts<'a>,
    /// The verifiers of the blocks of the spec that were compiled already.
    client_verifiers: HashMap<*const spec::ClientAuth, Option<ClientVerifier>>,
    materials: Materials,
    problems: &'a mut Problems,
}

impl Compiler<'_> {
    fn resolve(&self, path: &values::Path) -> PathBuf {
        self.dir.join(&**path)
    }
}
