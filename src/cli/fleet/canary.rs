//! `reseal fleet push --canary` and `--percent`, and `promote`.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::instances::{Instance, State, View};
use super::place::Place;
use super::push::{moved, write};
use crate::cli::exit::Exit;
use crate::cli::output::{eprint_line, print};
use crate::fleet::{Canary, CanaryOf, Pointer, StoreError};
use crate::observe::escape;

/// How often the store is asked while a canary has not answered.
const LOOK: Duration = Duration::from_millis(300);

/// How long it may take.
const WAIT: Duration = Duration::from_secs(120);

/// Has some instances try a document, and waits until each of them has applied or refused it.
pub(super) fn push(place: &mut Place, path: &Path, who: CanaryOf) -> Result<Exit, Exit> {
    let (before, revision) = place.ask(async |store| store.pointer().await)?;
    let Some(before) = before else {
        eprint_line(
            "reseal: nothing was pushed yet: the first document is for all, so push it without a canary",
        );
        return Err(Exit::Bad);
    };
    let view = place.ask(async |store| View::read(store).await)?;
    if !chosen(&view, &who).any(|instance| instance.state != State::Gone) {
        eprint_line(&format!("reseal: no live instance is of {}", who.text()));
        return Err(Exit::Bad);
    }
    let head = write(place, path)?;
    let pointer = Pointer {
        canary: Some(Canary {
            id: head.id.clone(),
            who: who.clone(),
        }),
        id: before.id.clone(),
        ..moved(&before.id, Some(before.previous.clone()), "push --canary")
    };
    place.ask(async |store| {
        let moved = store.move_to(&pointer, revision).await;
        if let Err(StoreError::Moved(_)) = &moved {
            // Nobody follows it.
            let _ = store.delete(&head.id).await;
        }
        moved
    })?;
    let end = Instant::now() + WAIT;
    let verdict = loop {
        let view = place.ask(async |store| View::read(store).await)?;
        let verdict = judge(&view, &who);
        if verdict != Err(Doubt::Unanswered) || Instant::now() >= end {
            break verdict;
        }
        sleep(LOOK);
    };
    match verdict {
        Ok(()) => Ok(print(&format!(
            "{}: {} serves it; `reseal fleet promote` has all serve it\n",
            head.id,
            who.text(),
        ))),
        Err(doubt) => {
            eprint_line(&format!(
                "reseal: {}: halted: {}",
                head.id,
                doubt.text(&who)
            ));
            let view = place.ask(async |store| View::read(store).await)?;
            for instance in chosen(&view, &who).filter(|i| i.state == State::Refused) {
                let reason = instance.reason.as_deref().unwrap_or_default();
                let (name, reason) = (escape::text(&instance.name), escape::text(reason));
                eprint_line(&format!("reseal: {name}: {reason}"));
            }
            Err(Exit::Bad)
        }
    }
}

/// Has all instances follow what the canary serves.
pub(super) fn promote(place: &mut Place) -> Result<Exit, Exit> {
    let (pointer, revision) = place.ask(async |store| store.pointer().await)?;
    let Some((pointer, canary)) = pointer.and_then(|pointer| {
        let canary = pointer.canary.clone()?;
        Some((pointer, canary))
    }) else {
        eprint_line(
            "reseal: there is no canary to promote: `reseal fleet push --canary GROUP FILE` makes one",
        );
        return Err(Exit::Bad);
    };
    let view = place.ask(async |store| View::read(store).await)?;
    if let Err(doubt) = judge(&view, &canary.who) {
        eprint_line(&format!(
            "reseal: {}: not promoted: {}",
            canary.id,
            doubt.text(&canary.who)
        ));
        return Err(Exit::Bad);
    }
    let next = moved(&canary.id, Some(pointer.before_next()), "promote");
    place.ask(async |store| store.move_to(&next, revision).await)?;
    Ok(print(&format!("{}: all instances follow it\n", canary.id)))
}

/// Why a document is not for all instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    Refused,
    Unanswered,
}

impl Doubt {
    fn text(self, who: &CanaryOf) -> String {
        let who = who.text();
        match self {
            Self::Refused => format!("an instance of {who} refuses it"),
            Self::Unanswered => format!("{who} has not applied it"),
        }
    }
}

/// Whether all live instances of a canary serve it.
fn judge(view: &View, who: &CanaryOf) -> Result<(), Doubt> {
    let of = |state| chosen(view, who).any(|instance| instance.state == state);
    if of(State::Refused) {
        return Err(Doubt::Refused);
    }
    match of(State::Serving) && !of(State::Stale) {
        true => Ok(()),
        false => Err(Doubt::Unanswered),
    }
}

fn chosen<'v>(view: &'v View, who: &'v CanaryOf) -> impl Iterator<Item = &'v Instance> {
    let instances = view.instances.iter();
    instances.filter(|instance| who.has(&instance.name, &instance.text("group")))
}
