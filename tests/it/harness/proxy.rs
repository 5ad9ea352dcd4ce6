//! The running program under test.

use std::collections::HashMap;
use std::ops::Index;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::identity::write_authorities;
use super::lines::Lines;
use super::process::{Usage, wait};
use super::yaml::{ProxyBuilder, in_sandbox};
use super::{Client, Directory, ListenAddr, Stream, TIMEOUT, eventually};

/// The longest time of a test; a program that still runs then is killed, and the waits for it fail.
/// `RESEAL_TEST_SECONDS` raises it for the long forms.
fn test_max() -> Duration {
    let seconds = std::env::var("RESEAL_TEST_SECONDS").map_or(150, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// A running proxy, killed on drop.
pub struct Proxy {
    child: Child,
    log: Lines,
    access_log: Lines,
    places: HashMap<String, ListenAddr>,
    directory: Directory,
    text: String,
    _watch: Sender<()>,
}

/// One line of the access log.
#[derive(Clone, Debug)]
pub struct Record(pub Value);

impl Record {
    /// A text field; empty when it is absent.
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn number(&self, key: &str) -> u64 {
        self.0
            .get(key)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("no number {key} in {}", self.0))
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some()
    }

    pub fn reason(&self) -> &str {
        self.text("reason")
    }

    #[track_caller]
    pub fn must_be(&self, reason: &str) -> &Self {
        assert_eq!(self.reason(), reason, "{}", self.0);
        self
    }

    /// Checks a text field.
    #[track_caller]
    pub fn must_have(&self, key: &str, value: &str) -> &Self {
        assert_eq!(self.text(key), value, "`{key}` of {}", self.0);
        self
    }
}

impl Index<&str> for Record {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        &self.0[key]
    }
}

impl Proxy {
    pub fn builder() -> ProxyBuilder {
        ProxyBuilder::new()
    }

    #[track_caller]
    pub(super) fn launch(draft: ProxyBuilder, text: String) -> Self {
        let program = env!("CARGO_BIN_EXE_reseal").to_owned();
        let words: Vec<_> = draft.launcher.iter().cloned().chain([program]).collect();
        let arguments: Vec<_> = draft.arguments.iter().map(String::as_str).collect();
        let mut proxy = Self::spawn(&words, &arguments, draft.directory, text);
        proxy.places = proxy.wait_until_it_listens(draft.listeners);
        proxy
    }

    /// Starts a new process with this configuration that takes over from this one. Returns once it serves.
    #[track_caller]
    pub fn successor(&self, text: &str) -> Self {
        self.starting_successor(text, &["--takeover"])
            .once_it_has_taken_over()
    }

    /// Waits until this process has taken over and serves.
    #[track_caller]
    pub fn once_it_has_taken_over(mut self) -> Self {
        self.log_line(|line| line.contains("took over from"));
        self.places = self.wait_until_it_listens(self.text.matches("listen:").count());
        self
    }

    /// Starts a process in a directory that another one has left.
    #[track_caller]
    pub fn again(directory: &Directory, text: &str) -> Self {
        let program = env!("CARGO_BIN_EXE_reseal").to_owned();
        let mut new = Self::spawn(&[program], &[], directory.clone(), text.to_owned());
        new.places = new.wait_until_it_listens(text.matches("listen:").count());
        new
    }

    /// Starts a new process in the same directory with this configuration and these arguments.
    #[track_caller]
    pub fn starting_successor(&self, text: &str, arguments: &[&str]) -> Self {
        self.starting_successor_under(&[], text, arguments)
    }

    /// The same, under another program.
    #[track_caller]
    pub fn starting_successor_under(
        &self,
        launcher: &[&str],
        text: &str,
        arguments: &[&str],
    ) -> Self {
        write_authorities(&self.directory, text);
        self.directory.write("config.yaml", in_sandbox(text));
        let program = [env!("CARGO_BIN_EXE_reseal")];
        let words = launcher.iter().chain(&program);
        let words: Vec<_> = words.map(|word| (*word).to_owned()).collect();
        Self::spawn(&words, arguments, self.directory.clone(), text.to_owned())
    }

    #[track_caller]
    fn spawn(words: &[String], arguments: &[&str], directory: Directory, text: String) -> Self {
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .arg("run")
            .arg("--config")
            .arg(directory.join("config.yaml"))
            .args(arguments)
            // Without root, tests can inspect the descriptors of a dumpable process only.
            .env("RESEAL_DUMPABLE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Lines::of(child.stderr.take().unwrap());
        let access_log = Lines::of(child.stdout.take().unwrap());
        let watch = watch(&child);
        Self {
            child,
            log,
            access_log,
            places: HashMap::new(),
            directory,
            text,
            _watch: watch,
        }
    }

    #[track_caller]
    fn wait_until_it_listens(&self, listeners: usize) -> HashMap<String, ListenAddr> {
        let places = self.log.wait(TIMEOUT, |lines| {
            let found: Vec<Value> = lines
                .iter()
                .filter_map(|line| serde_json::from_str(line).ok())
                .filter(|line: &Value| line["message"] == "listening")
                .collect();
            (found.len() >= listeners).then(|| {
                found
                    .iter()
                    .filter_map(|line| {
                        let place = ListenAddr::parse(line["address"].as_str()?);
                        Some((line["endpoint"].as_str()?.to_owned(), place))
                    })
                    .collect()
            })
        });
        places.unwrap_or_else(|| {
            panic!(
                "it does not listen:\n{}\nconfigured by:\n{}",
                self.log.all().join("\n"),
                self.text
            )
        })
    }

    /// The configuration that it was started with.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Replaces the configuration and reloads it. Returns the log lines of the reload, its result last.
    #[track_caller]
    pub fn reload(&self, text: &str) -> Vec<String> {
        write_authorities(&self.directory, text);
        self.directory.write("config.yaml", in_sandbox(text));
        self.reloads(|| self.signal(Signal::HUP))
    }

    /// Stops it, and starts the same configuration over the same files.
    #[track_caller]
    pub fn restarted(mut self) -> Self {
        self.signal(Signal::TERM);
        self.exit_code();
        let directory = std::mem::replace(&mut self.directory, Directory::new());
        ProxyBuilder::over(directory, &self.text).start()
    }

    /// The log lines of the reload that `cause` triggers, its result last.
    #[track_caller]
    pub fn reloads(&self, cause: impl FnOnce()) -> Vec<String> {
        let before = self.log.all().len();
        cause();
        let is_result = |line: &String| {
            line.contains("\"message\":\"reloaded\"") || line.contains("the reload is refused")
        };
        let lines = self.log.wait(TIMEOUT, |lines| {
            let new = &lines[before..];
            let end = new.iter().position(is_result)?;
            Some(new[..=end].to_vec())
        });
        lines.unwrap_or_else(|| panic!("no reload:\n{}", self.log.all().join("\n")))
    }

    /// The listening address of an endpoint after a reload.
    #[track_caller]
    pub fn new_listen_addr(&self, endpoint: &str) -> ListenAddr {
        let newest = || {
            let lines = self.log.all().into_iter().rev();
            let line = lines.into_iter().find(|line| {
                line.contains("\"message\":\"listening\"")
                    && line.contains(&format!("\"endpoint\":\"{endpoint}\""))
            })?;
            let line: Value = serde_json::from_str(&line).unwrap();
            Some(ListenAddr::parse(line["address"].as_str().unwrap()).to_string())
        };
        // The reload may be over before its lines have been read from the pipe.
        let first = self.places.get(endpoint).map(ToString::to_string);
        eventually("it listens at a new address", || {
            let newest = newest();
            newest.is_some() && newest != first
        });
        ListenAddr::parse(&newest().unwrap())
    }

    /// The listening address of an endpoint.
    #[track_caller]
    pub fn listen_addr(&self, endpoint: &str) -> &ListenAddr {
        self.places
            .get(endpoint)
            .unwrap_or_else(|| panic!("no endpoint {endpoint}"))
    }

    /// A client of the endpoint `edge` that sends this name.
    pub fn client(&self, sni: &str) -> Client {
        Client::new(self.listen_addr("edge"), sni)
    }

    /// A plain connection to an endpoint.
    #[track_caller]
    pub fn dial(&self, endpoint: &str) -> Stream {
        Stream::dial(self.listen_addr(endpoint)).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn usage(&self) -> Usage {
        Usage::of(self.pid())
    }

    /// The usage once it no longer changes: a record is written before its sockets are closed.
    pub fn usage_at_rest(&self) -> Usage {
        let mut usage = self.usage();
        eventually("what it holds changes no more", || {
            let before = usage;
            thread::sleep(Duration::from_millis(30));
            usage = self.usage();
            usage.descriptors == before.descriptors && usage.cpu == before.cpu
        });
        usage
    }

    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The next record of the access log that the test has not taken.
    #[track_caller]
    pub fn outcome(&self) -> Record {
        self.take_record("any", |_| true)
    }

    /// The record of this client's connection.
    #[track_caller]
    pub fn outcome_of(&self, client: &Stream) -> Record {
        let address = client.local().to_string();
        self.take_record(&address, |record| record["client"] == address.as_str())
    }

    /// The record of the connection of the client at this address.
    #[track_caller]
    pub fn outcome_from(&self, address: std::net::SocketAddr) -> Record {
        let address = address.to_string();
        self.take_record(&address, |record| record["client"] == address.as_str())
    }

    /// The record of the connection of the client at this address to this endpoint. One client port may
    /// be connected to several endpoints at a time.
    #[track_caller]
    pub fn outcome_at(&self, endpoint: &str, address: std::net::SocketAddr) -> Record {
        let address = address.to_string();
        self.take_record(&address, |record| {
            record["client"] == address.as_str() && record["endpoint"] == endpoint
        })
    }

    /// This many records, in the order in which the connections ended.
    #[track_caller]
    pub fn outcomes(&self, count: usize) -> Vec<Record> {
        (0..count).map(|_| self.outcome()).collect()
    }

    #[track_caller]
    fn take_record(&self, what: &str, mut wanted: impl FnMut(&Value) -> bool) -> Record {
        let found = self.access_log.wait(TIMEOUT, |lines| {
            let index = lines
                .iter()
                .position(|line| serde_json::from_str(line).is_ok_and(|record| wanted(&record)))?;
            Some(lines.remove(index))
        });
        match found {
            Some(line) => Record(serde_json::from_str(&line).unwrap()),
            None => panic!(
                "no outcome of {what}; the access log has:\n{}\nthe log has:\n{}",
                self.access_log.all().join("\n"),
                self.log.all().join("\n")
            ),
        }
    }

    /// The records that the test has not taken.
    pub fn records_left(&self) -> Vec<String> {
        self.access_log.all()
    }

    /// The process's log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.all()
    }

    /// Waits for a line of the process's log.
    #[track_caller]
    pub fn log_line(&self, wanted: impl Fn(&str) -> bool) -> String {
        let found = self.log.wait(TIMEOUT, |lines| {
            lines.iter().find(|line| wanted(line)).cloned()
        });
        found.unwrap_or_else(|| panic!("no such line in the log:\n{}", self.log.all().join("\n")))
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits for the end of the process; its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        match wait(&mut self.child, TIMEOUT) {
            Some(Some(code)) => code,
            Some(None) => panic!("a signal ended it; its log:\n{}", self.log.all().join("\n")),
            None => panic!("it did not end; its log:\n{}", self.log.all().join("\n")),
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Every line of the access log, once the process has ended.
    pub fn all_records(&self) -> Vec<Record> {
        let lines = self.access_log.to_end(TIMEOUT);
        lines
            .iter()
            .map(|line| Record(serde_json::from_str(line).unwrap()))
            .collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- configuration\n{}", self.text);
            eprintln!("--- log\n{}", self.log.to_end(TIMEOUT).join("\n"));
            eprintln!(
                "--- access log\n{}",
                self.access_log.to_end(TIMEOUT).join("\n")
            );
        }
    }
}

/// Kills the child when the test takes too long. The child is ours and not waited for before this
/// channel is dropped, so no other process can have its pid.
fn watch(child: &Child) -> Sender<()> {
    let (alive, ended) = channel::<()>();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    thread::spawn(move || {
        if ended.recv_timeout(test_max()) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    alive
}
