//! The rights that the process gives up once its files are read, its addresses bound and its logs open, and
//! before any other thread runs: its user, what it may read, write, execute, bind and connect to (Landlock),
//! and the system calls that it may make (seccomp).
//!
//! A rule can never be widened. So what is granted is remembered, and a reload that needs more is refused
//! ([`Sandbox::lacks`]). Knows directories, ports and numbers of system calls; not what they are for.

mod account;
mod calls;
mod directories;
mod files;
mod policy;
mod rights;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

pub use self::account::{Account, RunAs};
use self::directories::{places, real};
pub use self::policy::{Mode, Policy, Room};
pub use self::rights::Rights;
use crate::sys;

/// A part of the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// It holds: in one phrase, how.
    InForce(String),
    /// It was not asked for.
    Off,
    /// It was asked for and cannot be had: one sentence.
    Missing(String),
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InForce(how) => f.write_str(how),
            Self::Off => f.write_str("off"),
            Self::Missing(why) => write!(f, "missing: {why}"),
        }
    }
}

/// The sandbox of this process.
#[derive(Debug)]
pub struct Sandbox {
    mode: Mode,
    /// The name of the user that it runs as, or the number.
    pub user: String,
    /// What Landlock restricts.
    pub landlock: Layer,
    /// Whether system calls are filtered.
    pub seccomp: Layer,
    granted: Granted,
}

/// What was granted; `None` is everything.
#[derive(Debug, Default)]
struct Granted {
    read: Option<Vec<PathBuf>>,
    /// The directories in which sockets may be made.
    sockets: Option<Vec<PathBuf>>,
    /// The directories and files that may be written for another reason.
    write: Option<Vec<PathBuf>>,
    bind: Option<BTreeSet<u16>>,
    connect: Option<BTreeSet<u16>>,
    /// Keeps the directories of /proc in memory: the kernel makes new ones of the same name if they are
    /// forgotten, for which no rule holds.
    _proc: files::Pinned,
}

impl Sandbox {
    /// That of a process that has given up nothing.
    pub fn off() -> Self {
        Self {
            mode: Mode::Off,
            user: account::own_name(),
            landlock: Layer::Off,
            seccomp: Layer::Off,
            granted: Granted::default(),
        }
    }

    /// Becomes the user `account`, and gives up all rights but `rights` and what `policy` keeps. Must be
    /// called before the process has a second thread: the kernel restricts threads, and those that they start
    /// later.
    ///
    /// # Errors
    ///
    /// One sentence, if the user cannot be had, or a layer of a required sandbox.
    pub fn enter(
        policy: &Policy,
        account: Option<&Account>,
        rights: &Rights,
    ) -> Result<Self, String> {
        if let Some(account) = account {
            account.enter()?;
        }
        let mut sandbox = Self {
            mode: policy.mode,
            ..Self::off()
        };
        if policy.mode == Mode::Off {
            return Ok(sandbox);
        }
        if policy.mode == Mode::Required {
            if let Some(why) = missing_layers().first() {
                return Err(required_but(why));
            }
            if threads() != Some(1) {
                return Err(required_but(
                    "another thread runs already, or there is no /proc",
                ));
            }
        }
        let cannot = |error: std::io::Error| format!("new privileges cannot be refused: {error}");
        rustix::thread::set_no_new_privs(true).map_err(|error| cannot(error.into()))?;
        let wanted = rights.with(&policy.also);
        match files::restrict(policy.mode, &wanted) {
            Ok(restricted) => {
                sandbox.landlock = Layer::InForce(restricted.describe());
                sandbox.granted = Granted::of(restricted, &wanted);
            }
            Err(why) => sandbox.landlock = sandbox.missing(why)?,
        }
        sandbox.seccomp = match calls::filter(policy.mode) {
            Ok(()) => Layer::InForce("on".to_owned()),
            Err(why) => sandbox.missing(why)?,
        };
        Ok(sandbox)
    }

    fn missing(&self, why: String) -> Result<Layer, String> {
        match self.mode {
            Mode::Required => Err(required_but(&why)),
            Mode::BestEffort | Mode::Off => Ok(Layer::Missing(why)),
        }
    }

    /// The word of its mode in the configuration.
    pub const fn word(&self) -> &'static str {
        match self.mode {
            Mode::Required => "required",
            Mode::BestEffort => "best-effort",
            Mode::Off => "off",
        }
    }

    /// What `rights` has that this process has given up: one sentence each, with the way out.
    pub fn lacks(&self, rights: &Rights) -> Vec<String> {
        let mut lacks = Vec::new();
        if let Some(granted) = &self.granted.bind {
            let may = |port: u16| granted.contains(&port);
            lacks.extend(
                rights
                    .bind
                    .iter()
                    .filter(|port| !may(**port))
                    .map(|port| beyond(&format!("listening on port {port}"), "bind", port)),
            );
            if rights.from_addresses && !may(0) {
                lacks.push(format!(
                    "{NOT_GIVEN} connecting from an address of its own (`connect.source`): restart Reseal"
                ));
            }
        }
        if let Some(granted) = &self.granted.connect {
            let ports = rights.connect.iter().filter(|port| !granted.contains(port));
            lacks.extend(
                ports.map(|port| beyond(&format!("connecting to port {port}"), "connect", port)),
            );
        }
        if let Some(granted) = &self.granted.sockets {
            let made = rights
                .sockets
                .iter()
                .flat_map(|path| directories::of_new(path));
            let new: BTreeSet<_> = made.filter(|place| !is_beneath(place, granted)).collect();
            lacks.extend(new.iter().map(|place| {
                let place = place.display();
                beyond(&format!("making a socket in {place}"), "write", place)
            }));
        }
        if let Some(granted) = &self.granted.write {
            let written = rights.write.iter().map(|place| real(place));
            let new: BTreeSet<_> = written
                .filter(|place| !is_beneath(place, granted))
                .collect();
            lacks.extend(new.iter().map(|place| {
                let place = place.display();
                beyond(&format!("writing in {place}"), "write", place)
            }));
        }
        lacks
    }

    /// Why a file cannot be opened that its user may read: the directory that this process has given up.
    pub fn keeps_from(&self, file: &Path) -> Option<String> {
        let granted = self.granted.read.as_ref()?;
        if accessat(CWD, file, Access::READ_OK, AtFlags::EACCESS).is_err() {
            return None;
        }
        let places = places(file);
        let hidden = places.iter().find(|place| !is_beneath(place, granted));
        // A directory of a granted path may be another one by now.
        let place = hidden.or_else(|| places.first())?.display().to_string();
        Some(beyond(&format!("reading {place}"), "read", place))
    }
}

const NOT_GIVEN: &str = "the sandbox of this process does not include";

/// A right that was given up, and how to get it.
fn beyond(what: &str, key: &str, value: impl fmt::Display) -> String {
    format!(
        "{NOT_GIVEN} {what}: restart Reseal (`process.sandbox: {{ also: {{ {key}: [{value}] }} }}` keeps it for \
         later reloads)"
    )
}

fn required_but(why: &str) -> String {
    format!("`process.sandbox: required`, but {why}")
}

fn is_beneath(place: &Path, granted: &[PathBuf]) -> bool {
    granted.iter().any(|granted| place.starts_with(granted))
}

impl Granted {
    fn of(restricted: files::Restricted, rights: &Rights) -> Self {
        let files::Restricted {
            reading,
            network,
            abi: _,
            read,
            sockets,
            write,
            bind,
            pinned,
        } = restricted;
        Self {
            read: reading.then_some(read),
            sockets: Some(sockets),
            write: Some(write),
            bind: network.then_some(bind),
            connect: (network && reading).then(|| rights.connect.clone()),
            _proc: pinned,
        }
    }
}

/// What this kernel lacks for `process.sandbox: required`: one phrase each.
pub fn missing_layers() -> Vec<String> {
    let mut missing = Vec::new();
    match sys::landlock_abi() {
        Ok(abi) if abi >= files::ABI_WHOLE => {}
        Ok(abi) => missing.push(format!(
            "Landlock of this kernel (ABI {abi}) does not restrict all that it has to: Linux 6.12 does"
        )),
        Err(error) => missing.push(format!("this kernel has no Landlock ({error})")),
    }
    if !calls::is_known_machine() {
        missing.push("system calls of this processor are not known to Reseal".to_owned());
    } else if !sys::has_seccomp_filters() {
        missing.push("this kernel filters no system calls (seccomp)".to_owned());
    }
    missing
}

fn threads() -> Option<usize> {
    Some(fs::read_dir("/proc/self/task").ok()?.count())
}
