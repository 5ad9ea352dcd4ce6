//! The start of a server, for all commands that run one.

use std::path::Path;
use std::sync::Arc;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tracing::{error, info, warn};

use super::exit::Exit;
use super::output::eprint_line;
use crate::config::Severity;
use crate::config::compile::{Files, LoadOptions, Purpose};
use crate::config::load::Source;
use crate::observe::logging;
use crate::observe::sink::Output;
use crate::server::{self, Ending, Resources, Signals, StartConfig, StartError, StopMode};
use crate::tls::sessions::Sessions;

/// The environment variable that keeps the process dumpable: the kernel may write its core, and other
/// processes of its user may inspect it (`gdb`, `lsof`, `ss -p`). Both show the private keys.
const DUMPABLE: &str = "RESEAL_DUMPABLE";

/// Loads a configuration and serves it until the end. Prints the problems if it is invalid, and logs its
/// warnings. `on_listening` is called with the addresses of the endpoints once clients can connect.
pub(super) fn serve(
    source: Source,
    mode: StopMode,
    on_listening: impl FnOnce(&[(Arc<str>, String)]),
) -> Exit {
    let config = match load(source) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let log = config.log.clone();
    let logs_to_stderr = matches!(config.snapshot.log.output, Output::Stderr);
    let ending = Resources::open(&config.snapshot).and_then(|resources| {
        server::run(config, resources, || Signals::listen(mode), on_listening)
    });
    match ending {
        Ok(Ending::Drained) => Exit::Good,
        Ok(Ending::Aborted) => Exit::Bad,
        Err(error) => {
            let (exit, reasons) = refusal(error);
            for reason in reasons {
                error!("{reason}");
                if !logs_to_stderr {
                    eprint_line(&format!("reseal: {reason}"));
                }
            }
            log.sink().flush();
            exit
        }
    }
}

/// Loads a configuration and opens the process log.
fn load(source: Source) -> Result<StartConfig, Exit> {
    // Before the first key is read.
    if std::env::var_os(DUMPABLE).is_none_or(|value| value.is_empty()) {
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    let sessions = Arc::new(Sessions::default());
    let mut loaded = source
        .load(LoadOptions::first(Files::Read, Purpose::Serve, &sessions))
        .map_err(|error| unreadable(source.path(), &error))?;
    let Some(snapshot) = loaded.snapshot.take() else {
        eprint_line(&loaded.report());
        return Err(Exit::Refused);
    };
    let log = logging::start(&snapshot.log).map_err(|error| {
        let output = &snapshot.log.output;
        eprint_line(&format!("reseal: log: {output} cannot be opened: {error}"));
        Exit::Refused
    })?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        error!(
            place,
            "a defect of Reseal ended what this thread was doing; please report it"
        );
    }));
    info!(version = env!("CARGO_PKG_VERSION"), config = %loaded.path.display(), "starting");
    for warning in loaded.lines(Severity::Warning) {
        warn!("{warning}");
    }
    for notice in loaded.lines(Severity::Notice) {
        info!("{notice}");
    }
    Ok(StartConfig {
        source,
        loaded,
        snapshot,
        sessions,
        log,
    })
}

/// The exit code of a start that failed, and the reasons.
fn refusal(error: StartError) -> (Exit, Vec<String>) {
    match error {
        StartError::Bind(errors) => {
            let reasons = errors
                .into_iter()
                .map(|error| format!("endpoint `{}`: {}", error.endpoint, error.message));
            (Exit::CannotBind, reasons.collect())
        }
        StartError::Admin(message) => (Exit::CannotBind, vec![format!("admin: {message}")]),
        StartError::Log(output, error) => (
            Exit::Refused,
            vec![format!("access_log: {output} cannot be opened: {error}")],
        ),
        StartError::System(error) => (Exit::Internal, vec![format!("cannot start: {error}")]),
    }
}

/// Prints that a configuration file cannot be read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Exit {
    eprint_line(&format!(
        "reseal: {}: cannot be read: {error}",
        path.display()
    ));
    Exit::Refused
}
