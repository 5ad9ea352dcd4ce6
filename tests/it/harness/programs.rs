//! Real programs, from the packages of the operating system.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::lines::Lines;
use super::process::{Finished, finish, wait};
use super::{ListenAddr, Port, Stream, TIMEOUT, becomes_true};

/// Debian's package for each program.
const PACKAGES: [(&str, &str); 34] = [
    ("man", "man-db"),
    ("pebble", "pebble"),
    ("named", "bind9"),
    ("haproxy", "haproxy"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("etcd", "etcd-server"),
    ("nginx", "nginx"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("mosquitto", "mosquitto"),
    ("mosquitto_sub", "mosquitto-clients"),
    ("mosquitto_pub", "mosquitto-clients"),
    ("postgres", "postgresql"),
    ("initdb", "postgresql"),
    ("psql", "postgresql-client"),
    ("mariadbd", "mariadb-server-core"),
    ("mariadb-install-db", "mariadb-server-core"),
    ("mariadb", "mariadb-client-core"),
    ("sshd", "openssh-server"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("ssh-keyscan", "openssh-client"),
    ("python3", "python3"),
    ("slapd", "slapd"),
    ("ldapsearch", "ldap-utils"),
    ("rsyslogd", "rsyslog"),
    ("tmux", "tmux"),
    ("zsh", "zsh"),
    ("fish", "fish"),
    ("dovecot", "dovecot-imapd dovecot-pop3d"),
    ("exim4", "exim4-daemon-light"),
    ("prometheus", "prometheus"),
    ("promtool", "prometheus"),
];

/// The path of a program. A missing one fails the test, so that a test is never silently skipped.
#[track_caller]
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .chain(versions.map(|version| version.path().join("bin")))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    let package = PACKAGES
        .iter()
        .find_map(|(program, package)| (*program == name).then_some(*package))
        .unwrap_or(name);
    found.unwrap_or_else(|| panic!("`{name}` is not installed: apt-get install {package}"))
}

/// A command of a real program.
#[track_caller]
pub fn command(name: &str) -> Command {
    Command::new(program(name))
}

/// Runs a real program to its end.
#[track_caller]
pub fn output<A: AsRef<OsStr>>(name: &str, arguments: &[A], input: &str) -> Finished {
    let mut command = command(name);
    command.args(arguments);
    finish(command, input.as_bytes())
}

/// A running real server, killed on drop.
pub struct Service {
    child: Child,
    log: Lines,
    port: Port,
}

impl Service {
    /// Starts the command of `make` with a free port, and waits until it accepts.
    #[track_caller]
    pub fn start(make: impl Fn(u16) -> Command) -> Self {
        for _ in 0..3 {
            let port = Port::reserve();
            if let Some(service) = Self::try_start(make(port.number()), port) {
                return service;
            }
        }
        panic!("the service did not start");
    }

    /// Starts the command of `make`, which listens on this port, and waits until it accepts.
    #[track_caller]
    pub fn start_at(port: &Port, make: impl Fn() -> Command) -> Self {
        let started = (0..3).find_map(|_| Self::try_start(make(), port.again()));
        started.expect("the service starts")
    }

    fn try_start(mut command: Command, port: Port) -> Option<Self> {
        let what = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let log = Lines::of(child.stderr.take().unwrap());
        let mut service = Self { child, log, port };
        if service.accepts() {
            return Some(service);
        }
        eprintln!("{what} did not start:\n{}", service.log.all().join("\n"));
        None
    }

    fn accepts(&mut self) -> bool {
        let place = self.listen_addr();
        let mut ended = false;
        let answers = becomes_true(TIMEOUT, || {
            ended = self.child.try_wait().unwrap().is_some();
            ended || Stream::dial(&place).is_ok()
        });
        answers && !ended
    }

    pub fn listen_addr(&self) -> ListenAddr {
        ListenAddr::Tcp(self.port.address())
    }

    /// Waits for such a line in its log.
    #[track_caller]
    pub fn log_line(&self, wanted: impl Fn(&str) -> bool) -> String {
        let found = |lines: &mut Vec<String>| lines.iter().find(|line| wanted(line)).cloned();
        self.log.wait(TIMEOUT, found).expect("a line of the log")
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }
}

impl std::fmt::Display for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.listen_addr().fmt(f)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // TERM first: a server with child processes ends them, too.
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if wait(&mut self.child, Duration::from_secs(5)).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- service\n{}", self.log.all().join("\n"));
        }
    }
}

/// Whether this process may become another user, as servers that refuse to run as root need.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A command run as `user` where we are root, else as ourselves.
#[track_caller]
pub fn command_as(user: &str, name: &str) -> Command {
    let program = program(name);
    if !is_root() {
        return Command::new(program);
    }
    // It executes the program, whereas `su` and `runuser` would stay its parent.
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={user}"))
        .arg("--clear-groups")
        .arg(program);
    command
}

/// Gives a file or directory to `user` where we are root.
pub fn give_to(user: &str, path: &Path) {
    if is_root() {
        let status = Command::new("chown")
            .arg("-R")
            .arg(user)
            .arg(path)
            .status()
            .unwrap();
        assert!(status.success(), "chown {user} {}", path.display());
    }
}
