//! A file as a document: compiled as instances will, with the files that it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::exit::Exit;
use crate::cli::output::eprint_line;
use crate::cli::start::unreadable;
use crate::config::compile::{Files, LoadOptions, Purpose};
use crate::config::load::{self, Loaded};
use crate::fleet::{Document, new_id};
use crate::tls::material::carried::CarriedFiles;
use crate::tls::material::file::{Contents, MaterialError};
use crate::tls::sessions::Sessions;

/// How a document names a file beside it: by the path within its directory, or by the whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    Relative,
    Both,
}

/// The document of a file. Its problems are printed; an error ends it.
pub(super) fn of(path: &Path) -> Result<Arc<Document>, Exit> {
    let sessions = Sessions::default();
    let options = LoadOptions::first(Files::Read, Purpose::Serve, &sessions);
    let loaded = load::document_file(path, options).map_err(|error| unreadable(path, &error))?;
    if !loaded.problems.is_empty() {
        eprint_line(&loaded.report());
    }
    if loaded.snapshot.is_none() {
        return Err(Exit::Bad);
    }
    let mut last = None;
    for naming in [Naming::Relative, Naming::Both] {
        let document = Arc::new(collect(path, &loaded, naming).map_err(|error| {
            eprint_line(&format!("reseal: {}", error.message));
            Exit::Bad
        })?);
        // What is pushed is what was compiled, whatever has happened to the files meanwhile.
        let again = load::document(path, &document, options);
        if again.snapshot.is_some() {
            return Ok(document);
        }
        last = Some(again);
    }
    if let Some(again) = last {
        eprint_line(&again.report());
    }
    Err(Exit::Bad)
}

fn collect(path: &Path, loaded: &Loaded, naming: Naming) -> Result<Document, MaterialError> {
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let mut files = CarriedFiles::default();
    for file in loaded.materials.files() {
        let contents = Contents::read(file)?;
        for place in places(file, directory, naming) {
            files.add(place, contents.bytes.clone());
        }
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Document {
        id: new_id(),
        name: name.into_owned(),
        text: loaded.text.clone(),
        files: Arc::new(files),
    })
}

fn places(file: &Path, directory: &Path, naming: Naming) -> Vec<PathBuf> {
    let within = file
        .strip_prefix(directory)
        .ok()
        .filter(|within| within.is_relative());
    let mut names = Vec::from_iter(within);
    if names.is_empty() || naming == Naming::Both {
        names.push(file);
    }
    names.into_iter().map(CarriedFiles::place).collect()
}
