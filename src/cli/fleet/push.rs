//! `reseal fleet push`, and `rollback`.

use std::path::Path;
use std::time::SystemTime;

use super::document;
use super::place::{Place, who};
use crate::cli::exit::Exit;
use crate::cli::output::{eprint_line, print};
use crate::fleet::{Head, Pointer, StoreError};
use crate::observe::format::timestamp;

/// Writes a document as a new generation, and moves the pointer to it.
pub(super) fn push(place: &mut Place, path: &Path) -> Result<Exit, Exit> {
    // Read before the file: of two pushes from one base, the first to commit wins.
    let (before, revision) = place.ask(async |store| store.pointer().await)?;
    let head = write(place, path)?;
    share_tickets(place)?;
    let pointer = moved(&head.id, before.as_ref().map(Pointer::before_next), "push");
    let result = place.ask(async |store| {
        let moved = store.move_to(&pointer, revision).await;
        if let Err(StoreError::Moved(_)) = &moved {
            // Nobody follows it.
            let _ = store.delete(&head.id).await;
        }
        moved
    });
    result?;
    // Old generations that stay take room, and nothing else.
    let tidied = place.ask(async |store| store.tidy(&pointer).await);
    if tidied.is_err() {
        eprint_line("reseal: old generations could not be deleted");
    }
    Ok(print(&format!(
        "{}: pushed, {} bytes\n`reseal fleet status --wait` waits until all instances serve it\n",
        head.id, head.size,
    )))
}

/// Gives the fleet a first epoch of tickets, so that clients resume at any instance.
fn share_tickets(place: &mut Place) -> Result<(), Exit> {
    place.ask(async |store| {
        let (_, revision) = store.tickets().await?;
        if revision == 0 {
            store.rotate_tickets().await?;
        }
        Ok::<_, StoreError>(())
    })
}

/// Compiles a document and writes it as a new generation, which nobody follows yet.
pub(super) fn write(place: &mut Place, path: &Path) -> Result<Head, Exit> {
    let document = document::of(path)?;
    let by = who();
    place.ask(async |store| store.write(&document, &by).await)
}

/// Moves the pointer back: to the generation before, or to this one. Without either, a canary ends.
pub(super) fn rollback(place: &mut Place, id: Option<&str>) -> Result<Exit, Exit> {
    let (pointer, revision) = place.ask(async |store| store.pointer().await)?;
    let Some(pointer) = pointer else {
        eprint_line("reseal: nothing was pushed yet");
        return Err(Exit::Bad);
    };
    let (target, previous) = match (id, pointer.previous.split_first()) {
        (None, _) if pointer.canary.is_some() => (pointer.id.clone(), pointer.previous.clone()),
        (Some(id), _) if id == pointer.id && pointer.canary.is_none() => {
            eprint_line(&format!("reseal: {id} is what the fleet wants already"));
            return Err(Exit::Bad);
        }
        (Some(id), _) => (id.to_owned(), pointer.before_next()),
        (None, Some((last, before))) => (last.clone(), before.to_vec()),
        (None, None) => {
            eprint_line("reseal: there is no generation before this one");
            return Err(Exit::Bad);
        }
    };
    // It is whole, and can be opened.
    place.ask(async |store| store.read(&target, 0).await)?;
    let pointer = moved(&target, Some(previous), "rollback");
    place.ask(async |store| store.move_to(&pointer, revision).await)?;
    Ok(print(&format!("{target}: the fleet is back at it\n")))
}

/// A pointer to a generation, moved now and by us.
pub(super) fn moved(id: &str, previous: Option<Vec<String>>, how: &str) -> Pointer {
    Pointer {
        id: id.to_owned(),
        canary: None,
        previous: previous.unwrap_or_default(),
        time: timestamp(SystemTime::now()),
        by: who(),
        how: how.to_owned(),
    }
}
