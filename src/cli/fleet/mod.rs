//! `reseal fleet`: pushes documents to the store that the instances of a fleet follow, and shows what they do.

mod canary;
mod diff;
mod document;
mod drain;
mod history;
mod instances;
mod place;
mod push;
mod revoke;
mod status;

use std::path::PathBuf;

use clap::Subcommand;

use self::place::Place;
use super::exit::Exit;
use super::output::{eprint_line, print};
use crate::fleet::{Action, CanaryOf, Condition};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration file with the `fleet:` block [default: $RESEAL_CONFIG, ./config.yaml,
    /// /etc/reseal/config.yaml]
    #[arg(long, short, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Debug, Subcommand)]
enum FleetCommand {
    /// Check a document, write it to the store with the files that it names, and have all instances follow it
    Push {
        /// The document: `endpoints`, `upstreams` and what they need
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Have this group alone follow it, and wait until each of its instances has applied or refused it
        #[arg(long, value_name = "GROUP")]
        canary: Option<String>,
        /// The same for so many of a hundred instances
        #[arg(long, value_name = "N", conflicts_with = "canary", value_parser = clap::value_parser!(u8).range(1..=100))]
        percent: Option<u8>,
    },
    /// Have all instances follow what the canary serves
    Promote,
    /// Show what the instances serve, and which refuse what is wanted
    Status(status::Args),
    /// List the generations in the store, the latest first
    History {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a push of this document would change
    Diff {
        /// The document
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Have all instances go back to the generation before, or to this one
    Rollback {
        /// The generation, as `history` shows it
        #[arg(value_name = "ID")]
        id: Option<String>,
    },
    /// Have an instance serve nobody: its endpoints close, and its connections finish
    Drain {
        /// Its name
        #[arg(value_name = "INSTANCE")]
        name: String,
        /// Refuse, if fewer instances would go on serving
        #[arg(long, value_name = "N", default_value_t = 1)]
        min_serving: usize,
    },
    /// Have an instance serve again that was drained
    Undrain {
        /// Its name
        #[arg(value_name = "INSTANCE")]
        name: String,
    },
    /// Revoke a client everywhere at once: its new handshakes, its sessions and its live connections
    Revoke(revoke::RevokeArgs),
    /// Take a revocation back
    Unrevoke(revoke::Whom),
    /// List the revocations: who, until when, by whom and why
    Revocations {
        /// Print them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Begin a new epoch of TLS session tickets: those of the two before are still accepted
    RotateTickets,
    /// Miss an instance no longer that is gone for good
    Forget {
        /// Its name
        #[arg(value_name = "INSTANCE")]
        name: String,
    },
}

pub(super) fn main(args: &Args) -> Exit {
    let mut place = match Place::of(args.config.as_deref()) {
        Ok(place) => place,
        Err(exit) => return exit,
    };
    let done = match &args.command {
        FleetCommand::Push {
            file,
            canary,
            percent,
        } => {
            let group = canary.clone().map(CanaryOf::Group);
            match group.or_else(|| percent.map(CanaryOf::Percent)) {
                Some(who) => canary::push(&mut place, file, who),
                None => push::push(&mut place, file),
            }
        }
        FleetCommand::Promote => canary::promote(&mut place),
        FleetCommand::Status(args) => status::main(&mut place, args),
        FleetCommand::History { json } => history::main(&mut place, *json),
        FleetCommand::Diff { file } => diff::main(&mut place, file),
        FleetCommand::Rollback { id } => push::rollback(&mut place, id.as_deref()),
        FleetCommand::Drain { name, min_serving } => drain::drain(&mut place, name, *min_serving),
        FleetCommand::Undrain { name } => drain::undrain(&mut place, name),
        FleetCommand::Revoke(args) => revoke::revoke(&mut place, args),
        FleetCommand::Unrevoke(whom) => revoke::unrevoke(&mut place, whom),
        FleetCommand::Revocations { json } => revoke::list(&mut place, *json),
        FleetCommand::RotateTickets => rotate_tickets(&mut place),
        FleetCommand::Forget { name } => forget(&mut place, name),
    };
    done.unwrap_or_else(|exit| exit)
}

fn rotate_tickets(place: &mut Place) -> Result<Exit, Exit> {
    let epoch = place.ask(async |store| store.rotate_tickets().await)?;
    Ok(print(&format!("tickets: epoch {epoch}\n")))
}

fn forget(place: &mut Place, name: &str) -> Result<Exit, Exit> {
    let is_forgotten = place.ask(async |store| {
        let (have, known) = (store.keys.have() + name, store.keys.known() + name);
        let conditions = [Condition::Unchanged(&have, 0)];
        store
            .etcd
            .transact(&conditions, &[Action::Delete(&known)])
            .await
    })?;
    if !is_forgotten {
        eprint_line(&format!(
            "reseal: the instance `{name}` is there: stop it first"
        ));
        return Err(Exit::Bad);
    }
    Ok(print(&format!("{name}: forgotten\n")))
}
