//! `reseal fleet history`.

use serde_json::{Value, json};

use super::place::Place;
use crate::cli::exit::Exit;
use crate::cli::output::{print, table};
use crate::fleet::{Head, StoreError};
use crate::observe::escape;

/// Lists the generations, the latest first.
pub(super) fn main(place: &mut Place, as_json: bool) -> Result<Exit, Exit> {
    let (heads, wanted) = place.ask(async |store| {
        let heads = store.history().await?;
        let wanted = store.pointer().await?.0.map(|pointer| pointer.id);
        Ok::<_, StoreError>((heads, wanted))
    })?;
    let is_wanted = |head: &Head| wanted.as_deref() == Some(&head.id);
    if as_json {
        let all = heads.iter().map(|head| {
            json!({
                "id": head.id,
                "time": head.time,
                "by": head.by,
                "file": head.file,
                "bytes": head.size,
                "digest": head.digest,
                "version": head.version,
                "wanted": is_wanted(head),
            })
        });
        return Ok(print(&format!("{:#}\n", all.collect::<Value>())));
    }
    let titles = [
        "GENERATION",
        "TIME",
        "BY",
        "FILE",
        "BYTES",
        "VERSION",
        "WANTED",
    ];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(heads.iter().map(|head| {
        [
            head.id.clone(),
            escape::text(&head.time),
            escape::text(&head.by),
            escape::text(&head.file),
            head.size.to_string(),
            escape::text(&head.version),
            if is_wanted(head) { "yes" } else { "" }.to_owned(),
        ]
    }));
    Ok(print(&table(&rows)))
}
