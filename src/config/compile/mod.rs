//! Compiles a [`Spec`] into a [`Snapshot`]: checks that values fit together, loads files, reports every
//! problem.
//!
//! Each step continues after an error as far as possible, so that one run reports all problems. The
//! snapshot holds parsed values only.

mod acme;
mod admin;
mod alpn;
mod authorities;
mod certificates;
mod client_auth;
mod client_auth_terms;
mod collectors;
mod compiler;
mod connector;
mod context;
mod cycles;
mod endpoints;
mod fleet;
mod health;
mod limits;
mod lists;
mod matches;
mod materials;
mod names_by_file;
mod negotiate;
mod negotiated;
mod no_effect_lints;
mod origins;
mod pairs;
pub(super) mod permissions;
mod presented;
mod privileges;
mod process;
mod proxy_protocol;
mod reading;
mod reuse;
mod routes;
mod routes_by_file;
mod routes_files;
mod rules;
mod secrets;
mod security_lints;
mod serving;
mod sources;
mod staples;
mod startable;
mod unix_sockets;
mod upstreams;
mod vault;
mod wire;

use std::path::Path;
use std::sync::Arc;

use self::compiler::Compiler;
use self::names_by_file::RoutesFiles;
use crate::config::reader::problem::Problems;
use crate::config::spec::Spec;
use crate::snapshot::Snapshot;

pub use self::compiler::{DocumentParts, Files, LoadOptions, Purpose};
pub use self::fleet::settings as fleet_settings;
pub use self::limits::{of_endpoint as endpoint_limits, of_route as route_limits};
pub use self::materials::Materials;
pub use self::negotiated::Negotiated;
pub use self::reuse::{Reread, Running};

/// Reports what the values of `spec` say about each other, whatever files hold.
pub fn lint(spec: &Spec, problems: &mut Problems) {
    cycles::find(spec, problems);
    security_lints::origins(spec, &RoutesFiles::default(), problems);
    security_lints::vaults(spec, problems);
    no_effect_lints::settings(spec, problems);
    limits::lints(spec, problems);
    alpn::unregistered(spec, problems);
    alpn::unforwarded(spec, problems);
}

/// Compiles `spec`, whose relative paths are relative to `dir`, except for those of `document`, which has
/// endpoints and upstreams of it if there is one. Returns a snapshot unless `problems` or those of the document
/// have an error afterwards or files were skipped.
pub fn compile(
    spec: &Spec,
    dir: &Path,
    document: Option<DocumentParts<'_>>,
    options: LoadOptions<'_>,
    problems: &mut Problems,
) -> Option<(Snapshot, Materials)> {
    let (carried, mut of_document) = match document {
        Some(DocumentParts { files, problems }) => (Some(files), Some(problems)),
        None => (None, None),
    };
    let mut compiler = Compiler::new(spec, dir, options, problems);
    let own = compiler.ticket_secrets().unwrap_or_default();
    compiler.ticket_secrets = options.tickets.iter().cloned().chain(own).collect();
    let fleet = compiler.fleet();
    compiler.issuers = compiler.issuers();
    compiler.unused_engines();
    if let Some(problems) = &mut of_document {
        std::mem::swap(*problems, compiler.problems);
    }
    compiler.socket_directories();
    compiler.unix_sockets();
    compiler.startable();
    compiler.negotiations();
    compiler.privileges();
    compiler.in_document = carried;
    compiler.read_routes_files();
    if !compiler.routes_files.is_empty() {
        security_lints::origins(spec, &compiler.routes_files, compiler.problems);
    }
    let upstreams = compiler.upstreams();
    let endpoints = compiler.endpoints(&upstreams);
    compiler.in_document = None;
    if let Some(problems) = &mut of_document {
        std::mem::swap(*problems, compiler.problems);
    }
    let admin = compiler.admin();
    let process = process::settings(&spec.process, dir);
    let log = process::log(&spec.log, dir);
    let otlp = compiler.otlp();
    let access_log = process::access_log(&spec.access_log, dir, otlp);
    let has_errors =
        compiler.problems.has_errors() || of_document.is_some_and(|problems| problems.has_errors());
    if has_errors || compiler.files == Files::Skip {
        return None;
    }
    // In file order, and only those that a route leads to.
    let uses = upstreams::uses(spec, &compiler.routes_files);
    let used = spec.upstreams.0.iter().map(|(name, _)| name.as_str());
    let used = used.filter(|name| uses.contains_key(name));
    let used = used.filter_map(|name| upstreams.get(name)?.clone());
    let used = used.collect();
    let names = upstreams.values().flatten().map(|upstream| {
        let origins = upstream.definition.origins.iter();
        let names = origins.map(|origin| Arc::clone(&origin.name)).collect();
        (Arc::clone(&upstream.definition.name), names)
    });
    let mut snapshot = Snapshot::new(
        process,
        log,
        access_log,
        admin?,
        endpoints?,
        used,
        names.collect(),
    );
    snapshot.managed = compiler.kept;
    snapshot.awaited = compiler.awaited;
    snapshot.fleet = fleet?;
    snapshot.identities = compiler.identities;
    snapshot.fetched = compiler.fetched.into_iter().map(Arc::new).collect();
    Some((snapshot, compiler.materials))
}
