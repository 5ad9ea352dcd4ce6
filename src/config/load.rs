//! Loads a configuration from a file or a text: reads, compiles, collects problems.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::compile::{
    DocumentParts, LoadOptions, Materials, compile, fleet_settings, lint, permissions,
};
use super::file_stamps::FileStamps;
use super::reader::redact;
use super::{Problems, Severity, Spec, read, read_admin, read_document, spec};
use crate::fleet::{Document, FleetSettings};
use crate::sandbox::{Account, RunAs};
use crate::snapshot::Snapshot;

/// Larger than the reader accepts, so that the reader can report it.
const READ_MAX: u64 = 8 * 1024 * 1024;

/// The source of a configuration, for reloads.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// A text in place of a file.
    Text {
        /// The text.
        text: String,
        /// The file name in problems.
        path: PathBuf,
        /// The directory of relative paths.
        dir: PathBuf,
    },
    /// A local file, and the document of the fleet that it belongs to.
    Fleet {
        /// The local file.
        path: PathBuf,
        /// The document; absent before the first one.
        document: Option<Arc<Document>>,
    },
}

impl Source {
    /// The file name in problems.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Text { path, .. } | Self::Fleet { path, .. } => path,
        }
    }

    /// The same local file with this document.
    #[must_use]
    pub fn with(&self, document: Arc<Document>) -> Self {
        Self::Fleet {
            path: self.path().to_owned(),
            document: Some(document),
        }
    }

    /// Loads the current configuration.
    pub fn load(&self, options: LoadOptions<'_>) -> io::Result<Loaded> {
        match self {
            Self::File(path) => file(path, options),
            Self::Text { text, path, dir } => Ok(text_in(text.clone(), path, dir, options)),
            Self::Fleet { path, document } => match document {
                Some(document) => with_document(path, document, options),
                None => file(path, options),
            },
        }
    }

    /// The directory of relative paths.
    fn dir(&self) -> &Path {
        match self {
            Self::File(path) | Self::Fleet { path, .. } => {
                path.parent().unwrap_or_else(|| Path::new(""))
            }
            Self::Text { dir, .. } => dir,
        }
    }

    /// Loads the files that the text of `loaded` names, and not the text again.
    pub fn load_files(&self, loaded: &Loaded, options: LoadOptions<'_>) -> Loaded {
        let mut problems = loaded.text_problems.clone();
        let mut document = loaded.document.as_ref().map(LoadedDocument::again);
        let spec = loaded.spec.as_ref();
        let compiled = spec.and_then(|spec| {
            let parts = document.as_mut().map(LoadedDocument::parts);
            compile(spec, self.dir(), parts, options, &mut problems)
        });
        let (snapshot, materials) = compiled.unzip();
        redact::variables(&mut problems);
        if let Some(document) = &mut document {
            redact::variables(&mut document.problems);
        }
        Loaded {
            document,
            path: loaded.path.clone(),
            text: loaded.text.clone(),
            spec: spec.cloned(),
            snapshot,
            materials: materials.unwrap_or_default(),
            stamp: loaded.stamp.clone(),
            problems,
            text_problems: loaded.text_problems.clone(),
        }
    }
}

/// A loaded configuration, which may have errors.
#[derive(Debug)]
pub struct Loaded {
    /// The file name in problems.
    pub path: PathBuf,
    /// The text, for the lines in problems.
    pub text: String,
    /// The parsed configuration, if every value could be read.
    pub spec: Option<Arc<Spec>>,
    /// The compiled configuration, if there are no errors and files were read.
    pub snapshot: Option<Snapshot>,
    /// The contents of the files that the snapshot is made of.
    pub materials: Materials,
    /// The stamp of the file, taken just before it was read.
    pub stamp: FileStamps,
    /// All errors, warnings and notices.
    pub problems: Problems,
    /// Those that the text alone is the cause of.
    text_problems: Problems,
    /// The document of the fleet, if endpoints and upstreams are from one.
    document: Option<LoadedDocument>,
}

/// A document of a fleet, with problems of its own.
#[derive(Debug)]
struct LoadedDocument {
    from: Arc<Document>,
    problems: Problems,
    text_problems: Problems,
}

impl LoadedDocument {
    /// The same document, before it is compiled again.
    fn again(&self) -> Self {
        Self {
            from: Arc::clone(&self.from),
            problems: self.text_problems.clone(),
            text_problems: self.text_problems.clone(),
        }
    }

    fn parts(&mut self) -> DocumentParts<'_> {
        DocumentParts {
            files: &self.from.files,
            problems: &mut self.problems,
        }
    }
}

impl Loaded {
    /// The files and directories that it was made of.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.stamp.paths().chain(self.materials.stamps().paths())
    }

    /// One sentence for each file that the user of `process.user` may not read. The start reads them before
    /// it becomes that user.
    pub fn unreadable(&self, run_as: &RunAs, account: &Account) -> Vec<String> {
        let files: Vec<_> = self.paths().filter(|path| path.exists()).collect();
        let sentence = |file: &&Path| {
            format!(
                "{} may not read {}: its content stays until a restart; a renewal is not noticed, and a reload is \
                 refused",
                run_as.user,
                file.display()
            )
        };
        account.unreadable(&files).iter().map(sentence).collect()
    }

    /// The same as warnings, if this process can tell.
    pub fn warn_unreadable(&mut self) {
        let Some(user) = self.spec.as_ref().map(|spec| &spec.process.user) else {
            return;
        };
        let Some(run_as) = user.get() else {
            return;
        };
        let Ok(account) = run_as.find() else {
            return;
        };
        let at = user.at;
        for sentence in self.unreadable(run_as, &account) {
            self.problems.warning(at, sentence).help(
                "let its group read it (`chgrp`, `chmod g+r`, and `g+x` of its directories), or restart Reseal when \
                 it has changed",
            );
        }
    }

    /// The problems of one severity, one line each, in file order.
    pub fn lines(&self, severity: Severity) -> impl Iterator<Item = String> {
        let own = (self.path.clone(), &self.problems);
        let document = self.document.as_ref();
        let of_document = document.map(|document| (document.from.title(), &document.problems));
        let all = std::iter::once(own).chain(of_document);
        all.flat_map(move |(path, problems)| {
            let sorted = problems.sorted().into_iter();
            let of_severity = sorted.filter(move |problem| problem.severity == severity);
            of_severity.map(move |problem| problem.to_line(&path.to_string_lossy()))
        })
    }

    /// The problems with the lines that they are about.
    pub fn report(&self) -> String {
        let own = self
            .problems
            .render(&self.path.to_string_lossy(), &self.text);
        let of_document = self.document.as_ref().map(|document| {
            let Document { text, .. } = &*document.from;
            let title = document.from.title();
            document.problems.render(&title.to_string_lossy(), text)
        });
        own + &of_document.unwrap_or_default()
    }
}

/// Loads a file; relative paths in it are relative to its directory. Fails if the file cannot be read.
pub fn file(path: &Path, options: LoadOptions<'_>) -> io::Result<Loaded> {
    let stamp = FileStamps::of([path]);
    let (text, meta) = text_of(path)?;
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    Ok(Loaded {
        stamp,
        ..understand(text, path, dir, options, Some(&meta), read)
    })
}

/// Loads a local file with the document of its fleet.
fn with_document(
    path: &Path,
    document: &Arc<Document>,
    options: LoadOptions<'_>,
) -> io::Result<Loaded> {
    let stamp = FileStamps::of([path]);
    let (text, meta) = text_of(path)?;
    let (local, mut problems) = read(&text, &|name| std::env::var(name).ok());
    let (shared, mut of_document) = read_document(&document.text, &|name| std::env::var(name).ok());
    let spec = local.zip(shared).map(|(local, shared)| Spec {
        endpoints: shared.endpoints,
        upstreams: shared.upstreams,
        ..local
    });
    let text_problems = problems.clone();
    if let Some(spec) = &spec {
        lint(spec, &mut of_document);
        let policy = spec.process.key_permissions.value;
        permissions::configuration(path, &meta, policy, &mut problems);
    }
    let mut loaded = LoadedDocument {
        from: Arc::clone(document),
        text_problems: of_document.clone(),
        problems: of_document,
    };
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let compiled = spec
        .as_ref()
        .and_then(|spec| compile(spec, dir, Some(loaded.parts()), options, &mut problems));
    let (snapshot, materials) = compiled.unzip();
    redact::variables(&mut problems);
    redact::variables(&mut loaded.problems);
    Ok(Loaded {
        path: path.to_owned(),
        text,
        spec: spec.map(Arc::new),
        snapshot,
        materials: materials.unwrap_or_default(),
        stamp,
        problems,
        text_problems,
        document: Some(loaded),
    })
}

/// Loads a document that is about to be pushed, as instances will, without anything local. Paths of problems are
/// those of `path`.
pub fn document(path: &Path, document: &Arc<Document>, options: LoadOptions<'_>) -> Loaded {
    let (spec, mut problems) = read_document(&document.text, &|name| std::env::var(name).ok());
    if let Some(spec) = &spec {
        lint(spec, &mut problems);
    }
    let mut loaded = LoadedDocument {
        from: Arc::clone(document),
        text_problems: problems.clone(),
        problems,
    };
    let mut local = Problems::default();
    let compiled = spec.as_ref().and_then(|spec| {
        compile(
            spec,
            Path::new(""),
            Some(loaded.parts()),
            options,
            &mut local,
        )
    });
    let (snapshot, materials) = compiled.unzip();
    redact::variables(&mut loaded.problems);
    Loaded {
        path: path.to_owned(),
        text: document.text.clone(),
        spec: spec.map(Arc::new),
        snapshot,
        materials: materials.unwrap_or_default(),
        stamp: FileStamps::default(),
        problems: loaded.problems,
        text_problems: local,
        document: None,
    }
}

/// Loads a file as the document of a fleet, with the files that it names on this machine. Fails if the file
/// cannot be read.
pub fn document_file(path: &Path, options: LoadOptions<'_>) -> io::Result<Loaded> {
    let (text, meta) = text_of(path)?;
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    Ok(understand(
        text,
        path,
        dir,
        options,
        Some(&meta),
        read_document,
    ))
}

/// Loads the fleet of a file, and nothing else that it names. Fails if the file cannot be read; without a
/// fleet, the problems say why.
pub fn fleet(
    path: &Path,
    options: LoadOptions<'_>,
) -> io::Result<(Loaded, Option<Arc<FleetSettings>>)> {
    let (text, _) = text_of(path)?;
    let (spec, mut problems) = read(&text, &|name| std::env::var(name).ok());
    let dir = path.parent().unwrap_or_else(|| Path::new(""));
    let settings = spec
        .as_ref()
        .and_then(|spec| fleet_settings(spec, dir, options, &mut problems));
    redact::variables(&mut problems);
    let loaded = Loaded {
        path: path.to_owned(),
        text,
        spec: spec.map(Arc::new),
        snapshot: None,
        materials: Materials::default(),
        stamp: FileStamps::default(),
        problems,
        text_problems: Problems::default(),
        document: None,
    };
    Ok((loaded, settings))
}

/// Reads the `admin` block of a file that `is_trusted`, and no file that it names; see [`read_admin`]. Fails if
/// the file cannot be read, or is not trusted.
pub fn admin(
    path: &Path,
    is_trusted: impl Fn(&Metadata) -> bool,
) -> io::Result<Option<spec::Admin>> {
    let (text, meta) = text_of(path)?;
    if !is_trusted(&meta) {
        return Err(io::Error::other("it is not trusted"));
    }
    Ok(read_admin(&text, &|name| std::env::var(name).ok()))
}

fn text_of(path: &Path) -> io::Result<(String, Metadata)> {
    let mut bytes = Vec::new();
    let file = open(path)?;
    let meta = file.metadata()?;
    file.take(READ_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|error| not_utf8(&error))?;
    Ok((text, meta))
}

/// The name of standard input. Paths in it are relative to the working directory.
const STDIN: &str = "-";

/// Opens a file, or a pipe that a program writes to, such as `/dev/stdin`. One that nobody writes to is
/// empty: waiting for a writer would hold up a start or a reload.
fn open(path: &Path) -> io::Result<File> {
    let path = match path.to_str() {
        Some(STDIN) => Path::new("/dev/stdin"),
        _ => path,
    };
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let flags = rustix::fs::fcntl_getfl(&file)?;
    rustix::fs::fcntl_setfl(&file, flags - OFlags::NONBLOCK)?;
    Ok(file)
}

/// Says where a file stops being UTF-8. A single byte above 0x7f in an otherwise good text is most often
/// a letter of Latin-1.
fn not_utf8(error: &FromUtf8Error) -> io::Error {
    let at = error.utf8_error().valid_up_to();
    let before = error.as_bytes().get(..at).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let byte = error.as_bytes().get(at).copied().unwrap_or_default();
    let what = format!(
        "it is not UTF-8 text: line {line} has the byte 0x{byte:02x}; save the file as UTF-8"
    );
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Loads a text in place of the file `path`, with relative paths relative to `dir`.
pub fn text_in(text: String, path: &Path, dir: &Path, options: LoadOptions<'_>) -> Loaded {
    understand(text, path, dir, options, None, read)
}

/// How a text is read, with variables from a function.
type ReadText = fn(&str, &dyn Fn(&str) -> Option<String>) -> (Option<Spec>, Problems);

/// `meta` is that of the file that the text was read from, if any.
fn understand(
    text: String,
    path: &Path,
    dir: &Path,
    options: LoadOptions<'_>,
    meta: Option<&Metadata>,
    read: ReadText,
) -> Loaded {
    let (spec, mut problems) = read(&text, &|name| std::env::var(name).ok());
    if let Some(spec) = &spec {
        lint(spec, &mut problems);
    }
    let text_problems = problems.clone();
    if let (Some(spec), Some(meta)) = (&spec, meta) {
        let policy = spec.process.key_permissions.value;
        permissions::configuration(path, meta, policy, &mut problems);
    }
    let compiled = spec
        .as_ref()
        .and_then(|spec| compile(spec, dir, None, options, &mut problems));
    let (snapshot, materials) = compiled.unzip();
    redact::variables(&mut problems);
    Loaded {
        path: path.to_owned(),
        text,
        spec: spec.map(Arc::new),
        snapshot,
        materials: materials.unwrap_or_default(),
        stamp: FileStamps::default(),
        problems,
        text_problems,
        document: None,
    }
}
