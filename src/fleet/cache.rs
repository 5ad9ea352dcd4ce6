//! The last good document on disk, sealed: with it, an instance starts without the store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use zeroize::Zeroizing;

use super::document::{DOCUMENT_MAX, Document};
use super::revocation::{self, Revocations};
use super::settings::FleetSettings;
use super::tickets::TicketEpochs;

/// The file within the directory, and the one that it is written as before it takes that name.
const FILE: &str = "document.sealed";
const NEW: &str = "document.new";

/// The same for the secrets of tickets.
const TICKETS: &str = "tickets.sealed";
const TICKETS_NEW: &str = "tickets.new";

/// The same for the revocations.
const REVOKED: &str = "revoked.sealed";
const REVOKED_NEW: &str = "revoked.new";

/// Makes the directory, unless it exists.
pub fn make_directory(settings: &FleetSettings) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&settings.cache)
}

/// What the file is bound to: the fleet. The name of the generation is before it, in clear.
fn place(settings: &FleetSettings, id: &str) -> String {
    format!("cache of {} {id}", settings.store.prefix)
}

/// Writes the document whole, or not at all. Blocks.
pub fn write(settings: &FleetSettings, document: &Document) -> io::Result<()> {
    let plain = document.encode();
    let sealed = settings.keys.seal(&place(settings, &document.id), &plain);
    let sealed = sealed.ok_or_else(|| io::Error::other("it cannot be sealed"))?;
    replace(settings, (FILE, NEW), &document.id, &sealed)
}

/// Writes the revocations, likewise. Blocks.
pub fn write_revocations(settings: &FleetSettings, encoded: &[u8]) -> io::Result<()> {
    let sealed = settings.keys.seal(&place(settings, REVOKED), encoded);
    let sealed = sealed.ok_or_else(|| io::Error::other("they cannot be sealed"))?;
    replace(settings, (REVOKED, REVOKED_NEW), REVOKED, &sealed)
}

/// Writes the secrets of tickets, likewise. Blocks.
pub fn write_tickets(settings: &FleetSettings, tickets: &TicketEpochs) -> io::Result<()> {
    let sealed = settings
        .keys
        .seal(&place(settings, TICKETS), &tickets.encode());
    let sealed = sealed.ok_or_else(|| io::Error::other("they cannot be sealed"))?;
    replace(settings, (TICKETS, TICKETS_NEW), TICKETS, &sealed)
}

/// The secrets of tickets in the cache, if there are any that can be used. Blocks.
pub fn read_tickets(settings: &FleetSettings) -> Option<TicketEpochs> {
    let (_, plain) = opened(settings, TICKETS).ok()??;
    TicketEpochs::decode(&plain)
}

fn replace(
    settings: &FleetSettings,
    (file, new): (&str, &str),
    head: &str,
    sealed: &[u8],
) -> io::Result<()> {
    let (file, new) = (settings.cache.join(file), settings.cache.join(new));
    // One that a crash or a full disk has left.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = create(&new, head, sealed).and_then(|()| fs::rename(&new, &file));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn create(path: &Path, id: &str, sealed: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(id.as_bytes())?;
    file.write_all(b"\n")?;
    file.write_all(sealed)?;
    file.sync_all()
}

/// The document of the cache; `None` if there is none. Blocks.
///
/// # Errors
///
/// One phrase, if it cannot be read or opened.
pub fn read(settings: &FleetSettings) -> Result<Option<Document>, String> {
    let Some((id, plain)) = opened(settings, FILE)? else {
        return Ok(None);
    };
    let document = Document::decode(&id, &plain);
    let path = settings.cache.join(FILE);
    let document = document.ok_or_else(|| format!("{}: it is no document", path.display()))?;
    Ok(Some(document))
}

/// The revocations of the cache; none if it has none. Blocks.
///
/// # Errors
///
/// One phrase, if they cannot be read or opened.
pub fn read_revocations(settings: &FleetSettings) -> Result<Revocations, String> {
    let Some((_, plain)) = opened(settings, REVOKED)? else {
        return Ok(Revocations::new());
    };
    let path = settings.cache.join(REVOKED);
    revocation::decode(&plain).ok_or_else(|| format!("{}: it has no revocations", path.display()))
}

/// The name before a sealed file, and its content.
type Opened = (String, Zeroizing<Vec<u8>>);

fn opened(settings: &FleetSettings, file: &str) -> Result<Option<Opened>, String> {
    let path = settings.cache.join(file);
    let cannot = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let mut bytes = Vec::new();
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| cannot(&error))?,
    };
    let most = 2 * DOCUMENT_MAX as u64;
    let read = file.take(most).read_to_end(&mut bytes);
    read.map_err(|error| cannot(&error))?;
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (head, sealed) = end
        .and_then(|end| bytes.split_at_checked(end))
        .ok_or_else(|| cannot(&"it is no cache of a fleet"))?;
    let head = std::str::from_utf8(head).map_err(|_| cannot(&"it is no cache of a fleet"))?;
    let sealed = sealed.get(1..).unwrap_or_default();
    let plain = settings.keys.open(&place(settings, head), sealed);
    Ok(Some((
        head.to_owned(),
        plain.map_err(|error| cannot(&error))?,
    )))
}
