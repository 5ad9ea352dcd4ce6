//! Queries to a running proxy: by `reseal ctl`, by curl, and its metrics.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use super::yaml::ProxyBuilder;
use super::{Exposition, Finished, ListenAddr, Proxy, eventually, finish, output};

/// The name of the admin socket beside the configuration.
const SOCKET: &str = "admin.sock";

/// A response as curl received it.
#[derive(Debug)]
pub struct Response {
    /// The status; 0 without a response.
    pub status: u16,
    pub body: String,
}

impl Response {
    #[track_caller]
    pub fn must_be(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// Runs curl with these arguments, one of which is the address.
#[track_caller]
pub fn curl<A: AsRef<OsStr>>(arguments: &[A]) -> Response {
    let mut all: Vec<&OsStr> = ["-sS", "--max-time", "20", "-w", "\n%{http_code}"]
        .map(OsStr::new)
        .to_vec();
    all.extend(arguments.iter().map(AsRef::as_ref));
    let finished = output("curl", &all, "");
    let (body, status) = finished.stdout.rsplit_once('\n').unwrap_or(("", "0"));
    Response {
        status: status.parse().unwrap_or(0),
        body: body.to_owned(),
    }
}

impl ProxyBuilder {
    /// Adds an admin socket, and a metrics listener on a free port.
    pub fn admin(self) -> Self {
        self.top("admin: { listen: \"unix:admin.sock\", metrics: \"127.0.0.1:0\" }")
    }
}

impl Proxy {
    /// The admin socket's file.
    pub fn admin_socket(&self) -> String {
        self.directory().join(SOCKET).display().to_string()
    }

    /// Runs `reseal ctl`.
    #[track_caller]
    pub fn ctl(&self, arguments: &[&str]) -> Finished {
        let place = format!("unix:{}", self.admin_socket());
        ctl(&[&["--admin", &place], arguments].concat(), &[])
    }

    /// Runs `reseal ctl --json`, which must succeed.
    #[track_caller]
    pub fn ctl_json(&self, arguments: &[&str]) -> Value {
        let finished = self.ctl(&[arguments, &["--json"]].concat());
        finished.must_exit_with(0);
        serde_json::from_str(&finished.stdout).unwrap()
    }

    /// Requests from the admin socket with curl.
    #[track_caller]
    pub fn admin(&self, path: &str, more: &[&str]) -> Response {
        let (socket, url) = (self.admin_socket(), format!("http://localhost{path}"));
        curl(&[&["--unix-socket", &socket], more, &[&url]].concat())
    }

    /// The address of the `admin` or `metrics` listener.
    #[track_caller]
    pub fn admin_listener(&self, listener: &str) -> SocketAddr {
        let key = format!("\"listener\":\"{listener}\"");
        let line = self.log_line(|line| line.contains(&key));
        let line: Value = serde_json::from_str(&line).unwrap();
        ListenAddr::parse(line["address"].as_str().unwrap()).tcp()
    }

    /// Requests from the metrics listener with curl.
    #[track_caller]
    pub fn probe(&self, path: &str) -> Response {
        curl(&[format!("http://{}{path}", self.admin_listener("metrics"))])
    }

    /// Its metrics, parsed.
    #[track_caller]
    pub fn metrics(&self) -> Exposition {
        let answer = self.probe("/metrics");
        Exposition::parse(&answer.must_be(200).body)
    }

    /// Its metrics once no connection is live: one is counted just before its record is written.
    #[track_caller]
    pub fn metrics_at_rest(&self) -> Exposition {
        let mut page = None;
        eventually("nothing is live", || {
            let metrics = self.metrics();
            let is_at_rest = metrics.count("reseal_connections_live", &[]) == 0.0;
            page = Some(metrics);
            is_at_rest
        });
        page.unwrap()
    }
}

/// Runs `reseal ctl` with these variables, and without those that set the address.
#[track_caller]
pub fn ctl(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
    command
        .arg("ctl")
        .args(arguments)
        .env_remove("RESEAL_ADMIN")
        .env_remove("RUNTIME_DIRECTORY")
        .envs(variables.iter().copied());
    finish(command, b"")
}
