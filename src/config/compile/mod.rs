//! From a [`Spec`] to a [`Snapshot`]: values that fit together, files loaded, every problem told.
//!
//! Each step goes on after an error as far as it makes sense, so that one run names all that is
//! wrong. What comes out holds no text that still has to be understood.

mod admin;
mod authorities;
mod certificates;
mod cycles;
mod endpoints;
mod matches;
mod process;
mod routes;
mod serving;
mod upstreams;

use std::path::{Path, PathBuf};

use crate::config::reader::problem::{Problems, Span};
use crate::config::reader::values;
use crate::config::spec::{KeyPermissions, Spec};
use crate::snapshot::Snapshot;
use crate::tls::material::{self, MaterialError};

use self::authorities::Authorities;

/// Whether certificates, keys and CA bundles are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// They are; without them nothing can run.
    Read,
    /// They are not: a check on a machine that does not have them. No snapshot comes of it.
    Skip,
}

/// Compiles `spec`, whose relative paths are relative to `dir`. A snapshot comes out unless there is
/// an error among `problems` afterwards, or files were skipped.
pub fn compile(spec: &Spec, dir: &Path, files: Files, problems: &mut Problems) -> Option<Snapshot> {
    let mut compiler = Compiler {
        spec,
        dir,
        files,
        authorities: Authorities::default(),
        problems,
    };
    cycles::find(spec, compiler.problems);
    let upstreams = compiler.upstreams();
    let endpoints = compiler.endpoints(&upstreams);
    let admin = compiler.admin();
    let process = process::settings(&spec.process);
    let log = process::log(&spec.log, dir);
    let access_log = process::access_log(&spec.access_log, dir);
    if problems.has_errors() || files == Files::Skip {
        return None;
    }
    Some(Snapshot::new(process, log, access_log, admin?, endpoints?))
}

struct Compiler<'a> {
    spec: &'a Spec,
    dir: &'a Path,
    files: Files,
    authorities: Authorities,
    problems: &'a mut Problems,
}

impl Compiler<'_> {
    fn resolve(&self, path: &values::Path) -> PathBuf {
        self.dir.join(&**path)
    }

    /// The result of reading a file; `None` after its problem was told.
    fn read<T>(&mut self, at: Span, result: Result<T, MaterialError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                let problem = self.problems.error(at, error.message);
                if let Some(help) = error.help {
                    problem.help(help);
                }
                None
            }
        }
    }

    /// Tells of a private key that every user may read.
    fn key_permissions(&mut self, at: Span, key: &Path) {
        if let Some(material::Exposed(error)) = material::exposed(key) {
            let problem = match self.spec.process.key_permissions.value {
                KeyPermissions::Refuse => self.problems.error(at, error.message),
                KeyPermissions::Warn => self.problems.warning(at, error.message),
            };
            if let Some(help) = error.help {
                problem.help(help);
            }
        }
    }
}
