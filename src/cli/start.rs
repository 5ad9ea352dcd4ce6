//! The start of a server, for all commands that run one.

use std::os::unix::fs::chown;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, geteuid, set_dumpable_behavior, setrlimit,
};
use tracing::{error, info, warn};

use super::exit::Exit;
use super::output::eprint_line;
use super::start_fleet::Beginning;
use crate::config::Severity;
use crate::config::compile::{Files, LoadOptions, Purpose};
use crate::config::load::Source;
use crate::observe::logging;
use crate::observe::sink::Output;
use crate::sandbox::{Account, Layer, Mode, RunAs, Sandbox};
use crate::server::{
    self, Ending, Predecessor, Resources, Signals, StartConfig, StartError, StopMode,
};
use crate::snapshot::Snapshot;
use crate::state;
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
    serve_as(&Start::default(), source, mode, on_listening)
}

/// How a server starts.
#[derive(Debug, Default)]
pub(super) struct Start<'a> {
    /// The process that serves until then, whose sockets it takes.
    pub(super) predecessor: Option<&'a Predecessor>,
    /// Whether it is ready only once every certificate is there.
    pub(super) waits: bool,
}

/// The same, in a certain way.
pub(super) fn serve_as(
    start: &Start<'_>,
    source: Source,
    mode: StopMode,
    on_listening: impl FnOnce(&[(Arc<str>, String)]),
) -> Exit {
    let mut config = match load(source) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    config.waits = start.waits;
    let log = config.log.clone();
    let logs_to_stderr = matches!(config.snapshot.log.output, Output::Stderr);
    let ending = Resources::open(&config.snapshot, start.predecessor).and_then(|resources| {
        give_up_rights(&mut config, &resources).map_err(StartError::Privileges)?;
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

/// Becomes the user of the configuration, and enters its sandbox. No other thread runs yet.
fn give_up_rights(config: &mut StartConfig, resources: &Resources) -> Result<(), String> {
    let process = &config.snapshot.process;
    let mut rights = config.snapshot.rights();
    let paths = config.loaded.paths();
    rights.read.extend(paths.map(Path::to_owned));
    let account = process.run_as.as_ref().map(RunAs::find).transpose()?;
    prepare_states(&config.snapshot, account.as_ref())?;
    if let Some(account) = account
        .as_ref()
        .filter(|account| account.is_out_of_reach().is_none())
    {
        for log in [config.log.sink(), resources.access_log()] {
            let given = log.give_to(account.uid());
            given.map_err(|error| format!("a log cannot be given to the user: {error}"))?;
        }
    }
    let sandbox = Sandbox::enter(&process.sandbox, account.as_ref(), &rights)?;
    // Another user than root makes the process dumpable or not as the kernel is set.
    keep_memory_private();
    info!(
        mode = sandbox.word(),
        landlock = %sandbox.landlock,
        seccomp = %sandbox.seccomp,
        user = sandbox.user,
        "sandbox"
    );
    for layer in [&sandbox.landlock, &sandbox.seccomp] {
        if let Layer::Missing(why) = layer {
            warn!("a part of the sandbox is missing: {why}");
        }
    }
    if process.sandbox.mode == Mode::Required && geteuid().is_root() {
        warn!("Reseal runs as root: `process.user` names a user to become");
    }
    if let (Some(account), Some(run_as)) = (&account, &process.run_as) {
        for warning in config.loaded.unreadable(run_as, account) {
            warn!("{warning}");
        }
    }
    config.sandbox = Arc::new(sandbox);
    Ok(())
}

/// Makes the directories of the process's own files that are missing, for the user that this process becomes.
fn prepare_states(snapshot: &Snapshot, account: Option<&Account>) -> Result<(), String> {
    for directory in snapshot.states() {
        let is_new = !directory.exists();
        let cannot = |error| {
            format!(
                "{}: the directory cannot be made: {error}",
                directory.display()
            )
        };
        state::prepare(directory).map_err(cannot)?;
        if let Some(account) = account.filter(|_| is_new) {
            chown(directory, Some(account.uid()), Some(account.gid())).map_err(cannot)?;
        }
    }
    Ok(())
}

/// Keeps other processes and core dumps from the keys, unless the environment says otherwise.
fn keep_memory_private() {
    if std::env::var_os(DUMPABLE).is_some_and(|value| !value.is_empty()) {
        let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
        return;
    }
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, none);
}

/// Loads a configuration and opens the process log.
fn load(source: Source) -> Result<StartConfig, Exit> {
    // Before the first key is read.
    keep_memory_private();
    let sessions = Arc::new(Sessions::default());
    let options = LoadOptions::first(Files::Read, Purpose::Serve, &sessions);
    let mut loaded = source
        .load(options)
        .map_err(|error| unreadable(source.path(), &error))?;
    let Some(snapshot) = loaded.snapshot.take() else {
        eprint_line(&loaded.report());
        return Err(Exit::Refused);
    };
    let beginning = Beginning::new(source, loaded, snapshot, options);
    let snapshot = &beginning.snapshot;
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
    let loaded = &beginning.loaded;
    info!(version = env!("CARGO_PKG_VERSION"), config = %loaded.path.display(), "starting");
    for warning in loaded.lines(Severity::Warning) {
        warn!("{warning}");
    }
    for notice in loaded.lines(Severity::Notice) {
        info!("{notice}");
    }
    beginning.log();
    let Beginning {
        source,
        loaded,
        snapshot,
        fleet,
        tickets,
        ..
    } = beginning;
    Ok(StartConfig {
        source,
        loaded,
        snapshot,
        sessions,
        log,
        sandbox: Arc::new(Sandbox::off()),
        waits: false,
        fleet,
        tickets,
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
        StartError::Acme(message) => (Exit::CannotBind, vec![format!("acme: {message}")]),
        StartError::Admin(message) => (Exit::CannotBind, vec![format!("admin: {message}")]),
        StartError::Takeover(message) => (
            Exit::CannotBind,
            vec![format!(
                "no takeover: {message}; the running process continues"
            )],
        ),
        StartError::NoPredecessor => {
            let message = "--takeover needs `admin.listen: unix:PATH` in the configuration, or the socket \
                 of the running process: --takeover=unix:PATH";
            (Exit::Refused, vec![message.to_owned()])
        }
        StartError::Log(output, error) => (
            Exit::Refused,
            vec![format!("access_log: {output} cannot be opened: {error}")],
        ),
        StartError::Privileges(message) => (Exit::Refused, vec![message]),
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
