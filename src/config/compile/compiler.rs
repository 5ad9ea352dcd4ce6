//! The inputs of a compilation, and its state that all parts share.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::context::Issuers;
use super::materials::Materials;
use super::names_by_file::RoutesFiles;
use super::reuse::{Parts, Reread, Running};
use crate::acme::Managed;
use crate::config::file_stamps::FileStamps;
use crate::config::reader::problem::Problems;
use crate::config::reader::values;
use crate::config::spec::{self, Spec};
use crate::revocation::Source;
use crate::sandbox::Sandbox;
use crate::snapshot::AwaitedIdentity;
use crate::tls::material::carried::{CarriedFiles, is_carried};
use crate::tls::material::file::FileReader;
use crate::tls::sessions::{Sessions, TicketSecret};
use crate::tls::verify::client::ClientVerifier;
use crate::vault::Identity;

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
    /// The secrets of tickets that a fleet shares, before those of the configuration.
    pub tickets: &'a [TicketSecret],
    /// The rights that this process has given up, if it runs a configuration.
    pub sandbox: Option<&'a Sandbox>,
}

impl<'a> LoadOptions<'a> {
    /// The options of a start: no configuration is running.
    pub const fn first(files: Files, purpose: Purpose, sessions: &'a Sessions) -> Self {
        Self {
            files,
            purpose,
            running: None,
            sessions,
            tickets: &[],
            sandbox: None,
        }
    }
}

/// The document of a fleet that endpoints and upstreams are from.
pub struct DocumentParts<'a> {
    /// The files that it names.
    pub files: &'a Arc<CarriedFiles>,
    /// The problems with spans in its text.
    pub problems: &'a mut Problems,
}

/// A compilation in progress.
pub(super) struct Compiler<'a> {
    pub(super) spec: &'a Spec,
    pub(super) dir: &'a Path,
    /// The files of the document of a fleet, while what is in it is compiled.
    pub(super) in_document: Option<&'a Arc<CarriedFiles>>,
    pub(super) files: Files,
    pub(super) purpose: Purpose,
    /// Directories of materials that were checked already.
    pub(super) seen_directories: HashSet<PathBuf>,
    pub(super) sessions: &'a Sessions,
    pub(super) sandbox: Option<&'a Sandbox>,
    pub(super) ticket_secrets: Vec<TicketSecret>,
    pub(super) issuers: Issuers,
    /// The certificates that they keep, none twice.
    pub(super) kept: Vec<Arc<Managed>>,
    /// Those of them for origins that are not there yet.
    pub(super) awaited: Vec<AwaitedIdentity>,
    /// The certificates that engines of `vault` issue, none twice.
    pub(super) identities: Vec<Arc<Identity>>,
    /// What is fetched about revocation, nothing twice.
    pub(super) fetched: Vec<Source>,
    pub(super) running: Option<Running<'a>>,
    /// On a renewal, the previous contents of files, for those that cannot be used any more.
    pub(super) previous: Option<&'a Materials>,
    /// On a renewal, stamps that were taken for it.
    pub(super) stamps: Option<&'a FileStamps>,
    pub(super) has_changed_authorities: bool,
    pub(super) parts: Parts<'a>,
    /// The verifiers of the blocks of the spec that were compiled already.
    pub(super) client_verifiers: HashMap<*const spec::ClientAuth, Option<ClientVerifier>>,
    /// What the files of routes have.
    pub(super) routes_files: Rc<RoutesFiles>,
    pub(super) materials: Materials,
    pub(super) problems: &'a mut Problems,
}

impl<'a> Compiler<'a> {
    /// A compilation of `spec`, of which nothing is compiled yet.
    pub(super) fn new(
        spec: &'a Spec,
        dir: &'a Path,
        options: LoadOptions<'a>,
        problems: &'a mut Problems,
    ) -> Self {
        let renewal = |running: &Running<'_>| running.reread == Reread::Changed;
        let renewed = options.running.filter(renewal);
        let previous = renewed.map(|running| running.materials);
        Self {
            spec,
            dir,
            in_document: None,
            files: options.files,
            purpose: options.purpose,
            seen_directories: HashSet::new(),
            sessions: options.sessions,
            sandbox: options.sandbox,
            ticket_secrets: Vec::new(),
            issuers: Issuers::new(),
            kept: Vec::new(),
            awaited: Vec::new(),
            identities: Vec::new(),
            fetched: Vec::new(),
            has_changed_authorities: previous.is_some_and(Materials::has_changed_authorities),
            running: options.running,
            previous,
            stamps: renewed.and_then(|running| running.stamps),
            parts: options
                .running
                .map(|running| Parts::of(running.snapshot))
                .unwrap_or_default(),
            client_verifiers: HashMap::new(),
            routes_files: Rc::default(),
            materials: Materials::default(),
            problems,
        }
    }

    /// A file that is named: relative to the directory of the configuration, or carried by a document.
    pub(super) fn resolve(&self, path: &values::Path) -> PathBuf {
        match self.in_document {
            Some(_) => CarriedFiles::place(path),
            None => self.on_machine(path),
        }
    }

    /// A path of this machine, which a document does not carry: that of a socket.
    pub(super) fn on_machine(&self, path: &values::Path) -> PathBuf {
        self.dir.join(&**path)
    }

    /// Stamps a file of the machine.
    pub(super) fn stamp(&mut self, path: &Path) {
        if !is_carried(path) {
            self.materials.stamps.at_first(path, self.stamps);
        }
    }

    /// Reads files of the machine, and those that the document carries.
    pub(super) fn reader(&self) -> FileReader {
        FileReader::with(self.in_document)
    }
}
