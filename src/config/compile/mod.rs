//! From a [`Spec`] to a [`Snapshot`]: values that fit together, files loaded, every problem told.
//!
//! Each step goes on after an error as far as it makes sense, so that one run names all that is
//! wrong. What comes out holds no text that still has to be understood.

mod admin;
mod alpn;
mod certificates;
mod client_auth;
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

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::reader::problem::Problems;
use crate::config::reader::values;
use crate::config::spec::Spec;
use crate::snapshot::Snapshot;
use crate::tls::sessions::{Sessions, TicketSecret};

pub use self::materials::Materials;

/// Whether certificates, keys, CA bundles and the like are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// They are; without them nothing can run.
    Read,
    /// They are not: a check on a machine that does not have them. No snapshot comes of it.
    Skip,
}

/// What a configuration is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be looked at, perhaps by another user than the one that it will run as.
    Look,
    /// To be served by this process.
    Serve,
}

/// What a configuration is compiled with, besides its text.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'a> {
    /// Whether files are read.
    pub files: Files,
    /// What it is compiled for.
    pub purpose: Purpose,
    /// What the files held before, for those that cannot be read any more; without it each of them
    /// is an error.
    pub kept: Option<&'a Materials>,
    /// The sessions of the process.
    pub sessions: &'a Sessions,
}

impl<'a> LoadOptions<'a> {
    /// Those of a first reading: nothing was there before.
    pub const fn first(files: Files, purpose: Purpose, sessions: &'a Sessions) -> Self {
        Self {
            files,
            purpose,
            kept: None,
            sessions,
        }
    }
}

/// Compiles `spec`, whose relative paths are relative to `dir`. A snapshot comes out unless there is
/// an error among `problems` afterwards, or files were skipped.
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
        kept: options.kept.cloned(),
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
    // In file order, and without those that no route leads to.
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
    /// Directories of materials that were told of.
    seen_directories: HashSet<PathBuf>,
    sessions: &'a Sessions,
    ticket_secrets: Vec<TicketSecret>,
    kept: Option<Materials>,
    materials: Materials,
    problems: &'a mut Problems,
}

impl Compiler<'_> {
    fn resolve(&self, path: &values::Path) -> PathBuf {
        self.dir.join(&**path)
    }
}
