//! The proxies, each with a configuration for the same work.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::configs;
use crate::origin::{NAME, Origins};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Passthrough,
    Terminate,
    Reencrypt,
}

impl Mode {
    pub(crate) const ALL: [Self; 3] = [Self::Passthrough, Self::Terminate, Self::Reencrypt];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Passthrough => "passthrough",
            Self::Terminate => "terminate",
            Self::Reencrypt => "reencrypt",
        }
    }

    const fn origin(self, origins: &Origins) -> SocketAddr {
        match self {
            Self::Terminate => origins.plain,
            Self::Passthrough | Self::Reencrypt => origins.tls,
        }
    }
}

/// A proxy that is installed on this machine.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    program: PathBuf,
}

/// What a measurement wants of each proxy beside the mode.
#[derive(Default)]
pub(crate) struct Setting {
    /// The number of its workers; else its default, one for each core.
    pub(crate) workers: Option<usize>,
    /// The file of its access log.
    pub(crate) log: Option<PathBuf>,
    /// Where its metrics are scraped at `/metrics`.
    pub(crate) metrics: Option<SocketAddr>,
    /// Whether it will be made to reload.
    pub(crate) reloads: bool,
}

/// A running proxy, killed on drop.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.pid().to_string()).status();
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    /// Reseal, the floor, and HAProxy and nginx (with its stream module) if they are installed.
    pub(crate) fn found() -> Vec<Self> {
        let mut peers = vec![
            Self {
                name: "reseal",
                program: env!("CARGO_BIN_EXE_reseal").into(),
            },
            Self {
                name: "floor",
                program: std::env::current_exe().expect("this program's path"),
            },
        ];
        for name in ["haproxy", "nginx"] {
            let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
            let found = places
                .iter()
                .map(|dir| Path::new(dir).join(name))
                .find(|p| p.exists());
            if let Some(program) = found {
                peers.push(Self { name, program });
            }
        }
        peers
    }

    /// The proxies that somebody could use.
    pub(crate) fn proxies() -> Vec<Self> {
        let mut found = Self::found();
        found.retain(|peer| peer.name != "floor");
        found
    }

    pub(crate) fn start(
        &self,
        mode: Mode,
        origins: &Origins,
        dir: &Path,
        setting: &Setting,
    ) -> Option<Running> {
        let address = free_address();
        if self.name == "floor" {
            let origin = (mode != Mode::Reencrypt).then(|| mode.origin(origins))?;
            let mut floor = Command::new(&self.program);
            floor
                .stdout(Stdio::null())
                .arg("floor")
                .args([address, origin].map(|a| a.to_string()));
            if mode == Mode::Terminate {
                floor.arg(dir.join(format!("{NAME}.pem")));
            }
            return self.wait(floor, mode.word(), address);
        }
        let origin = mode.origin(origins);
        let text = match self.name {
            "haproxy" => configs::haproxy(mode, address, origin, dir, setting),
            "nginx" => configs::nginx(mode, address, origin, dir, setting)?,
            _ => configs::reseal(mode, address, origin, setting),
        };
        self.run(&text, address, dir, mode.word(), setting)
    }

    /// Starts it with this configuration.
    pub(crate) fn run(
        &self,
        text: &str,
        address: SocketAddr,
        dir: &Path,
        what: &str,
        setting: &Setting,
    ) -> Option<Running> {
        let config = self.config(dir);
        fs::write(&config, text).expect("a configuration file");
        let mut command = Command::new(&self.program);
        match self.name {
            "haproxy" if setting.reloads => command.args(["-W", "-db", "-f"]),
            "haproxy" => command.args(["-db", "-f"]),
            "nginx" => command.arg("-c"),
            _ => command.args(["run", "--config"]),
        };
        command.arg(&config);
        match (&setting.log, self.name) {
            // It writes no log to a file, but to its output.
            (Some(log), "haproxy") => {
                command.stdout(fs::File::create(log).expect("a log file"));
            }
            _ => {
                command.stdout(Stdio::null());
            }
        }
        self.wait(command, what, address)
    }

    /// The file of its configuration in `dir`.
    pub(crate) fn config(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.conf", self.name))
    }

    /// The command that checks the configuration in `dir`.
    pub(crate) fn check(&self, dir: &Path) -> Command {
        let mut command = Command::new(&self.program);
        match self.name {
            "haproxy" => command.args(["-c", "-f"]),
            "nginx" => command.args(["-t", "-c"]),
            _ => command.args(["check", "--config"]),
        };
        command.arg(self.config(dir));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Makes it read its configuration again.
    pub(crate) fn reload(&self, running: &Running) {
        let signal = if self.name == "haproxy" {
            "-USR2"
        } else {
            "-HUP"
        };
        let sent = Command::new("kill")
            .args([signal, &running.pid().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
    }

    /// Waits until it accepts.
    fn wait(&self, mut command: Command, what: &str, address: SocketAddr) -> Option<Running> {
        let child = command
            // Without root, the memory of a process that is not dumpable cannot be measured.
            .env("RESEAL_DUMPABLE", "1")
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut running = Running { child, address };
        let end = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > end || matches!(running.child.try_wait(), Ok(Some(_))) {
                eprintln!("{} does not start for {what}", self.name);
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(running)
    }
}

pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}
