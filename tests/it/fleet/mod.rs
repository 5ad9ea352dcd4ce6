//! A fleet on a real etcd: documents, instances, and what they do when the store fails.

mod faults;
mod instances;
mod push;
mod roll_out;

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::{
    Client, Directory, Finished, ListenAddr, Origin, Port, Proxy, Service, command, eventually,
    finish, pki,
};

/// The command of etcd with its data in this directory.
fn etcd(directory: &Path, port: u16, peer: &Port, scheme: &str, more: &[String]) -> Command {
    let client = format!("{scheme}://127.0.0.1:{port}");
    let peer = format!("http://127.0.0.1:{}", peer.number());
    let mut command = command("etcd");
    command
        .args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ])
        .args([
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
        ])
        .args(["--initial-cluster", &format!("default={peer}")])
        .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
        .args(more)
        .arg("--data-dir")
        .arg(directory);
    command
}

/// A store, and the files of an operator.
struct Fleet {
    etcd: Service,
    directory: Directory,
    /// The keys of `fleet.etcd` beside the endpoints.
    access: String,
    scheme: &'static str,
    _peer: Port,
}

impl Fleet {
    fn new() -> Self {
        Self::with("http", "", &[])
    }

    /// A store with these arguments, which is reached with these keys.
    fn with(scheme: &'static str, access: &str, arguments: &[String]) -> Self {
        let (directory, peer) = (Directory::new(), Port::reserve());
        directory.write("fleet.key", [7; 32]);
        let data = directory.join("etcd");
        let etcd = Service::start(|port| etcd(&data, port, &peer, scheme, arguments));
        let fleet = Self {
            etcd,
            directory,
            access: access.to_owned(),
            scheme,
            _peer: peer,
        };
        fleet
            .directory
            .write("config.yaml", fleet.local("operator", ""));
        fleet
    }

    /// The `fleet` block of an instance.
    fn local(&self, instance: &str, more: &str) -> String {
        let (port, key) = (self.etcd.port(), self.directory.join("fleet.key"));
        let key = key.display();
        format!(
            "fleet:\n  etcd: {{ endpoints: [\"{}://127.0.0.1:{port}\"]{} }}\n  instance: {instance}\n  \
             cache: cache\n  seal_key: {key}\n{more}",
            self.scheme, self.access,
        )
    }

    /// The local file of an instance.
    fn local_file(&self, instance: &str, more: &str) -> String {
        let fleet = self.local(instance, more);
        format!(
            "log: {{ format: json }}\nadmin: {{ listen: \"unix:admin.sock\", metrics: \"127.0.0.1:0\" }}\n{fleet}"
        )
    }

    /// Starts an instance in a directory of its own.
    fn instance(&self, name: &str) -> Proxy {
        self.instance_in(&Directory::new(), name, "")
    }

    /// Starts an instance in a directory that may have a cache.
    fn instance_in(&self, directory: &Directory, name: &str, more: &str) -> Proxy {
        let text = self.local_file(name, more);
        directory.write("config.yaml", &text);
        Proxy::again(directory, &text)
    }

    /// Runs `reseal fleet` in the operator's directory.
    fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
        command
            .arg("fleet")
            .args(arguments)
            .current_dir(self.directory.path())
            .env_remove("RESEAL_CONFIG");
        finish(command, b"")
    }

    /// Pushes a document. Returns its generation.
    fn push(&self, text: &str) -> String {
        self.directory.write("document.yaml", text);
        let pushed = self.run(&["push", "document.yaml"]);
        pushed.must_exit_with(0);
        pushed.stdout.split(':').next().unwrap().to_owned()
    }

    /// The instances by `status --json`.
    fn status(&self) -> Vec<Value> {
        let status = self.run(&["status", "--json"]);
        status.must_exit_with(0);
        serde_json::from_str(&status.stdout).unwrap()
    }

    fn state(&self, name: &str) -> Value {
        let found = self
            .status()
            .into_iter()
            .find(|instance| instance["name"] == name);
        found.unwrap_or_default()
    }

    /// Waits until an instance serves a generation.
    #[track_caller]
    fn serves(&self, name: &str, id: &str) {
        eventually("the instance serves it", || {
            let state = self.state(name);
            state["state"] == "serving" && state["generation"] == id
        });
    }

    /// Sends a request of etcd's JSON gateway by curl.
    fn ask(&self, path: &str, body: &str) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.etcd.port());
        let answer =
            crate::harness::output("curl", &["-sS", "--max-time", "10", "-d", body, &url], "");
        answer.must_exit_with(0);
        serde_json::from_str(&answer.stdout).unwrap()
    }

    /// Deletes everything in the store.
    fn wipe(&self) {
        self.ask("/v3/kv/deleterange", r#"{"key":"AA==","range_end":"AA=="}"#);
    }
}

/// A document with one plain endpoint on a free port.
fn plain(origin: &Origin) -> String {
    format!(
        "endpoints:\n  - name: edge\n    listen: 127.0.0.1:0\n    protocol: tcp\n    \
         routes: [{{ name: all, mode: forward, upstream: web }}]\n\
         upstreams:\n  web: {{ origins: [\"{origin}\"] }}\n"
    )
}

/// A document that terminates TLS with the pair `certs/edge.pem`, `certs/edge.key` beside it.
fn terminating(fleet: &Fleet, origin: &Origin) -> String {
    let identity = pki().edge(&["a.test"]);
    fleet.directory.write("certs/edge.pem", &identity.cert);
    fleet.directory.write("certs/edge.key", &identity.key);
    format!(
        "endpoints:\n  - name: edge\n    listen: 127.0.0.1:0\n    \
         tls: {{ certificates: [{{ cert: certs/edge.pem, key: certs/edge.key }}] }}\n    \
         routes: [{{ name: all, match: {{ sni: a.test }}, mode: terminate, upstream: web }}]\n\
         upstreams:\n  web: {{ origins: [\"{origin}\"] }}\n"
    )
}

/// What a client gets back over this address.
fn echoed(place: &ListenAddr) -> bool {
    let client = Client::new(place, "a.test").connect();
    client.send("over the fleet");
    client.receive(14) == b"over the fleet"
}
