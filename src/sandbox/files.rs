//! Landlock: what the process may read, write, execute, listen on and connect to, and the processes that it
//! may signal.
//!
//! The rights are those up to ABI 7 (Linux 6.15), all of which were tried; a kernel that knows fewer
//! restricts fewer. Newer ones are added when they can be tried.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath,
    PathFd, PathFdError, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError,
    RulesetStatus, Scope,
};

use super::directories::{of_new, places, real};
use super::policy::Mode;
use super::rights::Rights;
use crate::sys;

/// The newest rights that are restricted.
const NEWEST: ABI = ABI::V7;

/// The first ABI that restricts all of them: files, TCP ports, signals and abstract sockets.
pub(super) const ABI_WHOLE: u32 = 6;

/// The first ABI that restricts TCP ports.
const ABI_NETWORK: u32 = 4;

/// What resolving a name reads, where the system keeps the CAs that it trusts, and devices that hold nothing:
/// the spare descriptors of `admin` are of /dev/null. Links lead on.
const PUBLIC: [&str; 18] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl/certs",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates",
    "/opt/etc/ssl/certs",
    "/dev/null",
    "/dev/urandom",
    "/sys/devices/system/cpu",
];

/// The users and groups that may own a socket's file.
const ACCOUNTS: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// What the process reads of itself and of the kernel's settings.
const PROC: [&str; 2] = ["/proc/self", "/proc/sys"];

/// Open directories.
pub(super) type Pinned = Vec<PathFd>;

/// What was restricted, and what was granted.
#[derive(Debug)]
pub(super) struct Restricted {
    /// Whether reading and connecting are restricted.
    pub(super) reading: bool,
    /// Whether TCP ports are.
    pub(super) network: bool,
    pub(super) abi: u32,
    pub(super) read: Vec<PathBuf>,
    /// The directories in which sockets may be made.
    pub(super) sockets: Vec<PathBuf>,
    /// The places that may be written for another reason.
    pub(super) write: Vec<PathBuf>,
    pub(super) bind: BTreeSet<u16>,
    pub(super) pinned: Pinned,
}

impl Restricted {
    /// What is restricted, for people.
    pub(super) fn describe(&self) -> String {
        let parts = [
            (self.reading, "reading"),
            (true, "writing"),
            (true, "executing"),
            (self.network, "binding"),
            (self.network && self.reading, "connecting"),
            (self.abi >= ABI_WHOLE, "signals"),
            (self.abi >= ABI_WHOLE, "abstract sockets"),
        ];
        let parts = parts.iter().filter(|(is_restricted, _)| *is_restricted);
        let parts: Vec<_> = parts.map(|(_, what)| *what).collect();
        format!("{} (ABI {})", parts.join(", "), self.abi)
    }
}

/// Restricts this thread and those that it starts later to `rights`.
///
/// # Errors
///
/// One phrase, if the kernel cannot.
pub(super) fn restrict(mode: Mode, rights: &Rights) -> Result<Restricted, String> {
    let abi =
        sys::landlock_abi().map_err(|error| format!("this kernel has no Landlock ({error})"))?;
    let reading = mode == Mode::Required;
    let cannot = |error: RulesetError| format!("Landlock cannot be used: {error}");
    let ports = reading || !rights.binds_any;
    let mut rules = rules(mode, ports).map_err(cannot)?;
    let mut pinned = Pinned::new();
    let mut read = Vec::new();
    if reading {
        read = readable(rights);
        for place in &read {
            rules = allow(rules, place, AccessFs::ReadFile | AccessFs::ReadDir)?;
        }
        for directory in PROC {
            let Ok(opened) = PathFd::new(directory) else {
                return Err(format!("{directory} is missing"));
            };
            let access = AccessFs::ReadFile | AccessFs::ReadDir;
            let rule = PathBeneath::new(&opened, access);
            rules = rules.add_rule(rule).map_err(cannot)?;
            pinned.push(opened);
        }
    }
    let mut sockets = Vec::new();
    for (places, access) in writable(rights) {
        for place in places {
            rules = allow(rules, &place, access)?;
            if access.contains(AccessFs::MakeSock) {
                sockets.push(place);
            }
        }
    }
    let own_address = rights.from_addresses.then_some(0);
    let bind: BTreeSet<_> = rights.bind.iter().copied().chain(own_address).collect();
    for port in bind.iter().filter(|_| ports) {
        let rule = NetPort::new(*port, AccessNet::BindTcp);
        rules = rules.add_rule(rule).map_err(cannot)?;
    }
    if reading {
        for port in &rights.connect {
            let rule = NetPort::new(*port, AccessNet::ConnectTcp);
            rules = rules.add_rule(rule).map_err(cannot)?;
        }
    }
    let status = rules.restrict_self().map_err(cannot)?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err("Landlock restricts nothing on this kernel".to_owned());
    }
    Ok(Restricted {
        reading,
        network: ports && abi >= ABI_NETWORK,
        abi,
        read,
        sockets,
        write: rights.write.iter().map(|path| real(path)).collect(),
        bind,
        pinned,
    })
}

/// Rules that allow nothing of what is restricted.
fn rules(mode: Mode, ports: bool) -> Result<RulesetCreated, RulesetError> {
    let (files, network) = match mode {
        Mode::Required => (AccessFs::from_all(NEWEST), AccessNet::from_all(NEWEST)),
        Mode::BestEffort | Mode::Off => (
            AccessFs::from_write(NEWEST) | AccessFs::Execute,
            AccessNet::BindTcp.into(),
        ),
    };
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(files)?;
    if ports {
        rules = rules.handle_access(network)?;
    }
    rules.scope(Scope::from_all(NEWEST))?.create()
}

/// Allows `access` at a place, and beneath if it is a directory. What does not exist, or is out of reach for
/// the user, is left out: there is nothing to use it on.
fn allow(
    rules: RulesetCreated,
    place: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, String> {
    let opened = match PathFd::new(place) {
        Ok(opened) => opened,
        Err(PathFdError::OpenCall { source, .. }) if is_out_of_reach(&source) => return Ok(rules),
        Err(error) => return Err(error.to_string()),
    };
    let access = match place.is_dir() {
        true => access,
        false => access & AccessFs::from_file(NEWEST),
    };
    rules
        .add_rule(PathBeneath::new(opened, access))
        .map_err(|error| format!("Landlock cannot grant {}: {error}", place.display()))
}

fn is_out_of_reach(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
    )
}

fn readable(rights: &Rights) -> Vec<PathBuf> {
    let accounts = if rights.accounts { &ACCOUNTS[..] } else { &[] };
    let system = PUBLIC.iter().chain(accounts).map(Path::new);
    let system = system.filter(|path| path.exists());
    let store = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
    let store = store.iter().filter_map(std::env::var_os);
    let store: Vec<_> = store
        .flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>())
        .collect();
    let named = rights.read.iter().map(PathBuf::as_path);
    let all = system
        .chain(store.iter().map(PathBuf::as_path))
        .chain(named);
    let all: BTreeSet<_> = all.flat_map(places).collect();
    all.into_iter().collect()
}

/// The places that may be written, and how: logs are made and written, files of sockets made and removed.
fn writable(rights: &Rights) -> [(BTreeSet<PathBuf>, BitFlags<AccessFs>); 3] {
    let log = AccessFs::WriteFile | AccessFs::MakeReg;
    let socket = AccessFs::MakeSock | AccessFs::RemoveFile;
    let logs = rights
        .logs
        .iter()
        .flat_map(|path| match fs::metadata(path) {
            // A device or a pipe, which a log does not make.
            Ok(meta) if !meta.is_file() => BTreeSet::from([path.clone()]),
            _ => of_new(path),
        });
    let sockets = rights.sockets.iter().flat_map(|path| of_new(path));
    [
        (logs.collect(), log),
        (sockets.collect(), socket),
        (
            rights.write.iter().map(|path| real(path)).collect(),
            log | socket,
        ),
    ]
}
