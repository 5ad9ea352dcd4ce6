//! A running proxy with an admin socket, and what it says of itself.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::peers::free_address;

/// The longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Subject {
    child: Child,
    pub(super) address: SocketAddr,
    place: Place,
    config: PathBuf,
}

/// Where it is asked how it is.
enum Place {
    /// The admin socket.
    Admin(PathBuf),
    /// The metrics listener, if the admin listener is what is overloaded.
    Metrics(SocketAddr),
}

/// What both kinds of sockets can do.
trait Exchange: Read + Write {}

impl<T: Read + Write> Exchange for T {}

/// How a proxy is started.
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    pub(super) variables: &'a [(&'a str, &'a str)],
    /// Whether its standard output is a pipe that nobody reads.
    pub(super) is_unread: bool,
    /// Whether it runs on the first core alone.
    pub(super) is_apart: bool,
    /// The address of an admin listener, and its further keys, in place of the admin socket.
    pub(super) listener: Option<(SocketAddr, &'a str)>,
}

/// The program that is measured: `$RESEAL`, or the one that was built with this benchmark.
pub(super) fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let built = || env!("CARGO_BIN_EXE_reseal").into();
        std::env::var_os("RESEAL").map_or_else(built, PathBuf::from)
    });
    &PROGRAM
}

impl Default for Start<'_> {
    fn default() -> Self {
        Self {
            program: program(),
            variables: &[],
            is_unread: false,
            is_apart: false,
            listener: None,
        }
    }
}

impl Subject {
    /// Starts a proxy; `@EDGE@` in the configuration is its address, `@CERTS@` the directory of certificates.
    pub(super) fn start(scratch: &Path, name: &str, config: &str, start: &Start<'_>) -> Self {
        let dir = scratch.join(name);
        fs::create_dir_all(&dir).expect("a directory");
        let address = free_address();
        let path = dir.join("config.yaml");
        let certs = scratch.display().to_string();
        let text = config
            .replace("@EDGE@", &address.to_string())
            .replace("@CERTS@", &certs);
        let (place, admin) = match start.listener {
            None => {
                let place = Place::Admin(dir.join("admin.sock"));
                (place, "listen: \"unix:admin.sock\"".to_owned())
            }
            Some((listen, keys)) => {
                let metrics = free_address();
                let admin = format!("listen: \"{listen}\", metrics: \"{metrics}\", {keys}");
                (Place::Metrics(metrics), admin.replace("@CERTS@", &certs))
            }
        };
        let text = format!("admin: {{ {admin} }}\n{text}");
        fs::write(&path, text).expect("a configuration");
        let output = || match start.is_unread {
            true => Stdio::piped(),
            false => Stdio::null(),
        };
        let mut command = match start.is_apart {
            true => Command::new("taskset"),
            false => Command::new(start.program),
        };
        if start.is_apart {
            command.args(["-c", "0"]).arg(start.program);
        }
        let child = command
            .args(["run", "--config"])
            .arg(&path)
            .env("RESEAL_DUMPABLE", "1")
            .envs(start.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(output())
            .stderr(output())
            .spawn()
            .expect("reseal runs");
        let check = Command::new(start.program)
            .args(["check", "--config"])
            .arg(&path)
            .output();
        let mut subject = Self {
            child,
            address,
            place,
            config: path,
        };
        let end = Instant::now() + PATIENCE;
        while subject.get("/readyz").is_none() {
            let is_running = matches!(subject.child.try_wait(), Ok(None));
            assert!(
                is_running && Instant::now() < end,
                "it does not start: {check:?}"
            );
            thread::sleep(Duration::from_millis(10));
        }
        subject
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn config(&self) -> &Path {
        &self.config
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub(super) fn signal(&self, signal: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// The time to its end after SIGTERM.
    pub(super) fn stop(mut self) -> Duration {
        let began = Instant::now();
        self.signal("-TERM");
        while self.is_running() && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        began.elapsed()
    }

    /// Time on a processor, of all its threads that live.
    pub(super) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid()));
        let tasks = tasks.into_iter().flatten().flatten();
        let nanos = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Memory in bytes.
    pub(super) fn memory(&self) -> f64 {
        crate::machine::memory(self.pid()) * 1024.0
    }

    /// The body of an answer of the admin socket.
    pub(super) fn get(&self, path: &str) -> Option<String> {
        self.request("GET", path, "")
    }

    pub(super) fn request(&self, method: &str, path: &str, body: &str) -> Option<String> {
        let mut socket = self.send(method, path, body).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.contains(" 200 ").then(|| body.to_owned())
    }

    /// Sends a request, whose answer is still to be read.
    fn send(&self, method: &str, path: &str, body: &str) -> io::Result<Box<dyn Exchange>> {
        let limit = Some(Duration::from_secs(20));
        let mut socket: Box<dyn Exchange> = match &self.place {
            Place::Admin(path) => {
                let socket = UnixStream::connect(path)?;
                socket.set_read_timeout(limit)?;
                Box::new(socket)
            }
            Place::Metrics(address) => {
                let socket = TcpStream::connect(address)?;
                socket.set_read_timeout(limit)?;
                Box::new(socket)
            }
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(head.as_bytes())?;
        Ok(socket)
    }

    /// The stream of events of the dashboard.
    pub(super) fn events(&self) -> impl Read {
        self.send("GET", "/events", "").expect("the admin socket")
    }

    pub(super) fn status(&self) -> Value {
        let body = self.get("/status").expect("the status");
        serde_json::from_str(&body).expect("JSON")
    }

    /// The sum of the samples of a metric whose labels have all of these parts.
    pub(super) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page = self.get("/metrics").expect("the metrics");
        let of_name = |line: &&str| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        let values = page
            .lines()
            .filter(of_name)
            .filter(|line| labels.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        values.sum()
    }

    /// Every series, without its value.
    pub(super) fn series(&self) -> BTreeSet<String> {
        let page = self.get("/metrics").expect("the metrics");
        let series = page.lines().filter(|line| !line.starts_with('#'));
        series
            .filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()))
            .collect()
    }

    /// Waits until no connection is live; `false` if that does not happen.
    pub(super) fn comes_to_rest(&self, patience: Duration) -> bool {
        becomes_true(patience, || {
            self.metric("reseal_connections_live", &[]) == 0.0
        })
    }

    /// The limits of which something is still in use soon after the last connection: its permits are free a
    /// moment after it is recorded.
    pub(super) fn in_use(&self) -> Vec<String> {
        let mut left = Vec::new();
        becomes_true(Duration::from_secs(5), || {
            left = self.in_use_now();
            left.is_empty()
        });
        left
    }

    /// But for the admin listener that answers this.
    fn in_use_now(&self) -> Vec<String> {
        let status = self.status();
        let limits = status["limits"].as_array().cloned().unwrap_or_default();
        let used = limits.iter().filter(|limit| {
            limit["limit"] != "admin_connections" && limit["used"].as_u64().unwrap_or(0) > 0
        });
        used.map(|limit| format!("{}: {}", limit["limit"], limit["used"]))
            .collect()
    }

    /// Asks the admin socket, or else the metrics listener, every 50 ms until `ended`. Returns the longest time of an answer, infinity if
    /// one did not come.
    pub(super) fn watch<'s, 'e: 's>(
        &'s self,
        scope: &'s Scope<'s, 'e>,
        ended: &'s AtomicBool,
    ) -> thread::ScopedJoinHandle<'s, Duration> {
        let path = match self.place {
            Place::Admin(_) => "/status",
            Place::Metrics(_) => "/readyz",
        };
        scope.spawn(move || {
            let mut longest = Duration::ZERO;
            while !ended.load(Ordering::Relaxed) {
                let began = Instant::now();
                let time = self.get(path).map_or(Duration::MAX, |_| began.elapsed());
                longest = longest.max(time);
                thread::sleep(Duration::from_millis(50));
            }
            longest
        })
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn becomes_true(patience: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + patience;
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}
