//! `reseal fleet drain` and `undrain`.

use std::time::SystemTime;

use serde_json::json;

use super::instances::{Instance, State, View};
use super::place::{Place, who};
use crate::cli::exit::Exit;
use crate::cli::output::{eprint_line, print};
use crate::fleet::{Action, EtcdError};
use crate::observe::escape;
use crate::observe::format::timestamp;

/// Has an instance serve nobody, if enough others do.
pub(super) fn drain(place: &mut Place, name: &str, min_serving: usize) -> Result<Exit, Exit> {
    let view = place.ask(async |store| View::read(store).await)?;
    if !view.instances.iter().any(|instance| instance.name == name) {
        return unknown(name);
    }
    let serves = |instance: &&Instance| {
        let is_live = instance.state != State::Gone;
        is_live && instance.name != name && !instance.is_drained()
    };
    let left = view.instances.iter().filter(serves).count();
    if left < min_serving {
        eprint_line(&format!(
            "reseal: not drained: {left} instances would go on serving, and there are to be {min_serving} at least"
        ));
        return Err(Exit::Bad);
    }
    let said = json!({ "by": who(), "time": timestamp(SystemTime::now()) }).to_string();
    place.ask(async |store| {
        let key = store.keys.drained() + name;
        store
            .etcd
            .transact(&[], &[Action::Put(&key, said.as_bytes(), 0)])
            .await
    })?;
    Ok(print(&format!("{}: draining\n", escape::text(name))))
}

/// Has an instance serve again.
pub(super) fn undrain(place: &mut Place, name: &str) -> Result<Exit, Exit> {
    let is_drained = place.ask(async |store| {
        let key = store.keys.drained() + name;
        let found = store.etcd.get(&key, 0).await?;
        store.etcd.transact(&[], &[Action::Delete(&key)]).await?;
        Ok::<_, EtcdError>(!found.entries.is_empty())
    })?;
    if !is_drained {
        eprint_line(&format!(
            "reseal: the instance `{}` is not drained",
            escape::text(name)
        ));
        return Err(Exit::Bad);
    }
    Ok(print(&format!("{}: serving again\n", escape::text(name))))
}

fn unknown(name: &str) -> Result<Exit, Exit> {
    eprint_line(&format!(
        "reseal: there is no instance `{}`",
        escape::text(name)
    ));
    Err(Exit::Bad)
}
