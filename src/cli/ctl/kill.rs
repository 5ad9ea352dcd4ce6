//! `ctl kill`: nobody ends many connections by mistake.

use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::{Value, json};

use super::filter::KillArgs;
use crate::cli::exit::Exit;

/// Up to so many are ended at a terminal without a question.
const UNASKED_MAX: u64 = 10;

/// Asks where it must. `count` counts the connections that match a body.
pub(super) fn confirm(
    args: &KillArgs,
    count: impl FnOnce(Value) -> Result<u64, String>,
) -> Result<(), (Exit, String)> {
    let incomplete = |message: &str| Err((Exit::Refused, message.to_owned()));
    if args.is_empty() {
        return incomplete(
            "which connections? give an id, or conditions such as --source or --route; `reseal ctl connections` \
             lists what they would end",
        );
    }
    if args.yes || args.is_by_id() {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return incomplete(
            "with conditions it needs --yes where nobody can be asked; `reseal ctl connections` with the same \
             ones lists what it would end",
        );
    }
    let mut body = args.body();
    body["limit"] = json!(0);
    let count = count(body).map_err(|error| (Exit::Bad, error))?;
    if count <= UNASKED_MAX || asks(count) {
        return Ok(());
    }
    Err((Exit::Bad, "nothing was ended".to_owned()))
}

/// Asks at the terminal.
fn asks(count: u64) -> bool {
    let mut out = io::stderr().lock();
    let _ = write!(out, "End {count} connections? [y/N] ");
    let _ = out.flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
