//! Stores that fail: nothing is dropped, and what is pushed afterwards arrives.

use std::fs;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::ExtendedKeyUsagePurpose;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{Fleet, echoed, etcd, plain, terminating};
use crate::harness::{Client, Directory, Leaf, Origin, Port, Proxy, eventually, output, pki};

/// A member of a cluster of three.
struct Member {
    client: Port,
    _peer: Port,
    child: Child,
    command: Command,
}

impl Member {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn start(&mut self) {
        self.child = self.command.spawn().unwrap();
    }

    fn ask(&self, path: &str, body: &str) -> Option<serde_json::Value> {
        let url = format!("http://{}{path}", self.client.address());
        let answer = output("curl", &["-sS", "--max-time", "2", "-d", body, &url], "");
        serde_json::from_str(&answer.stdout).ok()
    }

    fn is_leader(&self) -> bool {
        let status = self.ask("/v3/maintenance/status", "{}").unwrap_or_default();
        status["leader"].is_string() && status["leader"] == status["header"]["member_id"]
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = kill_process(self.pid(), Signal::CONT);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three members, and the operator's directory.
struct Cluster {
    members: Vec<Member>,
    directory: Directory,
}

impl Cluster {
    fn new() -> Self {
        let directory = Directory::new();
        directory.write("fleet.key", [7; 32]);
        let ports: Vec<_> = (0..3).map(|_| (Port::reserve(), Port::reserve())).collect();
        let named = ports.iter().enumerate();
        let named = named.map(|(n, (_, peer))| format!("m{n}=http://127.0.0.1:{}", peer.number()));
        let all = named.collect::<Vec<_>>().join(",");
        let members = ports.into_iter().enumerate().map(|(n, (client, peer))| {
            let data = directory.join(&format!("m{n}"));
            let mut command = etcd(&data, client.number(), &peer, "http", &[]);
            command
                .args(["--name", &format!("m{n}"), "--initial-cluster", &all])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let child = command.spawn().unwrap();
            Member {
                client,
                _peer: peer,
                child,
                command,
            }
        });
        let cluster = Self {
            members: members.collect(),
            directory,
        };
        cluster
            .directory
            .write("config.yaml", cluster.local("operator"));
        eventually("the cluster has a leader", || cluster.leader().is_some());
        cluster
    }

    fn leader(&self) -> Option<usize> {
        self.members.iter().position(Member::is_leader)
    }

    fn local(&self, instance: &str) -> String {
        let places = self.members.iter();
        let places = places.map(|member| format!("\"http://{}\"", member.client.address()));
        format!(
            "log: {{ format: json }}\nadmin: {{ listen: \"unix:admin.sock\", metrics: \"127.0.0.1:0\" }}\n\
             fleet:\n  etcd: {{ endpoints: [{}] }}\n  instance: {instance}\n  cache: cache\n  seal_key: {}\n",
            places.collect::<Vec<_>>().join(", "),
            self.directory.join("fleet.key").display(),
        )
    }

    fn run(&self, arguments: &[&str]) -> crate::harness::Finished {
        let all = [&["fleet"], arguments].concat();
        crate::harness::reseal_in(self.directory.path(), &all)
    }

    #[track_caller]
    fn push(&self, text: &str) -> String {
        self.directory.write("document.yaml", text);
        let pushed = self.run(&["push", "document.yaml"]);
        pushed.must_exit_with(0);
        pushed.stdout.split(':').next().unwrap().to_owned()
    }

    #[track_caller]
    fn serves(&self, id: &str) {
        eventually("the instance serves it", || {
            let status = self.run(&["status", "--json"]);
            let status: serde_json::Value =
                serde_json::from_str(&status.stdout).unwrap_or_default();
            status[0]["state"] == "serving" && status[0]["generation"] == id
        });
    }
}

#[test]
fn a_member_that_hangs_a_leader_that_is_killed_and_a_lost_majority_drop_nothing() {
    let (mut cluster, origin) = (Cluster::new(), Origin::echo());
    let directory = Directory::new();
    let text = cluster.local("edge-1");
    directory.write("config.yaml", &text);
    let instance = Proxy::again(&directory, &text);
    let document = plain(&origin);
    let id = cluster.push(&document);
    cluster.serves(&id);
    let client = crate::harness::Stream::dial(&instance.new_listen_addr("edge")).unwrap();
    let lives = |what: &str| {
        client.send(what);
        assert_eq!(client.receive(what.len()), what.as_bytes());
    };
    lives("before");
    // The member that the instance watches is the first one of its list.
    cluster.members[0].signal(Signal::STOP);
    let id = cluster.push(&format!("{document}x-n: 1\n"));
    cluster.serves(&id);
    cluster.members[0].signal(Signal::CONT);
    lives("after a member that hung");
    let mut leader = None;
    eventually("there is a leader", || {
        leader = cluster.leader();
        leader.is_some()
    });
    let leader = leader.unwrap();
    cluster.members[leader].kill();
    eventually("there is another leader", || cluster.leader().is_some());
    let id = cluster.push(&format!("{document}x-n: 2\n"));
    cluster.serves(&id);
    lives("after a leader that was killed");
    let other = (leader + 1) % 3;
    cluster.members[other].kill();
    let is_stale = || {
        instance
            .probe("/readyz")
            .must_be(200)
            .body
            .contains("stale for")
    };
    eventually("it says that the store is lost", is_stale);
    lives("without a majority");
    cluster.members[other].start();
    eventually("there is a leader again", || cluster.leader().is_some());
    eventually("the store is heard again", || !is_stale());
    let id = cluster.push(&format!("{document}x-n: 3\n"));
    cluster.serves(&id);
    lives("at the end");
}

#[test]
fn a_compaction_loses_no_document() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let _instance = fleet.instance("edge-1");
    let text = plain(&origin);
    for n in 0..3 {
        let id = fleet.push(&format!("{text}x-n: {n}\n"));
        fleet.serves("edge-1", &id);
        let now = fleet.ask("/v3/kv/range", r#"{"key":"AA=="}"#);
        let revision = now["header"]["revision"].as_str().unwrap();
        fleet.ask(
            "/v3/kv/compaction",
            &format!("{{\"revision\":\"{revision}\"}}"),
        );
    }
}

#[test]
fn mutual_tls_and_passwords_reach_the_store() {
    // etcd's gateway is a client of etcd, with the certificate of the server.
    let server = Leaf::server(&["localhost", "127.0.0.1"]).shaped(|params| {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth)
    });
    let (server, own) = (
        pki().origins.issue(&server),
        pki().origins.issue(&Leaf::client("edge")),
    );
    let files = Directory::new();
    let file = |name: &str, text: &str| files.write(name, text).display().to_string();
    let trust = file("ca.pem", &pki().origins.pem());
    let arguments = [
        "--cert-file".to_owned(),
        file("server.pem", &server.cert),
        "--key-file".to_owned(),
        file("server.key", &server.key),
        "--trusted-ca-file".to_owned(),
        trust.clone(),
        "--client-cert-auth".to_owned(),
    ];
    let ca = format!(", ca: {trust}");
    let access = format!(
        "{ca}, cert: {}, key: {}",
        file("own.pem", &own.cert),
        file("own.key", &own.key),
    );
    let fleet = Fleet::with("https", &access, &arguments);
    let _instance = fleet.instance("edge-1");
    let id = fleet.push(&plain(&Origin::echo()));
    fleet.serves("edge-1", &id);
    // Without a certificate nothing is reached, and the command says so.
    let without = fleet.local("x", "").replace(&access, &ca);
    let place = fleet.directory.write("without.yaml", without);
    let place = place.display().to_string();
    fleet
        .run(&["status", "--config", &place])
        .must_exit_with(1)
        .must_print("https://127.0.0.1");
}

#[test]
fn an_instance_needs_few_rights_and_cannot_write_documents() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let set = |path: &str, body: serde_json::Value| {
        let answer = fleet.ask(&format!("/v3/auth/{path}"), &body.to_string());
        assert!(answer.get("error").is_none(), "{path}: {answer}");
    };
    let base64 = |text: &str| STANDARD.encode(text);
    for (role, right, prefix) in [
        ("instance", "READ", "/reseal/want/"),
        ("instance", "READ", "/reseal/gen/"),
        ("instance", "READWRITE", "/reseal/have/"),
        ("instance", "READWRITE", "/reseal/known/"),
        ("operator", "READWRITE", "/reseal/"),
    ] {
        if prefix.ends_with("want/") || role == "operator" {
            set("role/add", json!({ "name": role }));
        }
        let end = format!("{}0", prefix.trim_end_matches('/'));
        let range = json!({ "permType": right, "key": base64(prefix), "range_end": base64(&end) });
        set("role/grant", json!({ "name": role, "perm": range }));
    }
    for (user, role) in [("root", "root"), ("edge", "instance"), ("ops", "operator")] {
        set(
            "user/add",
            json!({ "name": user, "password": format!("secret-{user}") }),
        );
        set("user/grant", json!({ "user": user, "role": role }));
    }
    set("enable", json!({}));
    let local = |user: &str, text: &str| {
        let file = fleet
            .directory
            .write(&format!("{user}.pass"), format!("secret-{user}\n"));
        let login = format!("], user: {user}, password_file: {} }}", file.display());
        text.replace("] }", &login)
    };
    let directory = Directory::new();
    let text = local("edge", &fleet.local_file("edge-1", ""));
    directory.write("config.yaml", &text);
    let instance = Proxy::again(&directory, &text);
    fleet
        .directory
        .write("ops.yaml", local("ops", &fleet.local("operator", "")));
    fleet
        .directory
        .write("edge.yaml", local("edge", &fleet.local("operator", "")));
    fleet
        .directory
        .write("document.yaml", terminating(&fleet, &origin));
    fleet
        .run(&["push", "document.yaml", "--config", "edge.yaml"])
        .must_exit_with(1)
        .must_print("permission denied");
    fleet
        .run(&["push", "document.yaml", "--config", "ops.yaml"])
        .must_exit_with(0);
    let waited = fleet.run(&["status", "--wait", "--config", "ops.yaml"]);
    waited.must_exit_with(0).must_print("edge-1");
    assert!(echoed(&instance.new_listen_addr("edge")));
}

#[test]
fn a_cache_that_cannot_be_written_is_told_and_the_document_serves() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let directory = Directory::new();
    // A directory in the place of the file that is written.
    fs::create_dir_all(directory.join("cache/document.new/in-the-way")).unwrap();
    let instance = fleet.instance_in(&directory, "edge-1", "");
    let id = fleet.push(&terminating(&fleet, &origin));
    fleet.serves("edge-1", &id);
    instance.log_line(|line| line.contains("the document is not in the cache"));
    assert!(echoed(&instance.new_listen_addr("edge")));
}

#[test]
fn a_store_that_is_restored_from_an_old_backup_drops_nothing_and_takes_pushes() {
    let (fleet, origin) = (Fleet::new(), Origin::echo());
    let instance = fleet.instance("edge-1");
    let text = terminating(&fleet, &origin);
    let first = fleet.push(&text);
    fleet.serves("edge-1", &first);
    let client = Client::new(&instance.new_listen_addr("edge"), "a.test").connect();
    let pointer = r#"{"key":"L3Jlc2VhbC93YW50L3BvaW50ZXI="}"#;
    let old = fleet.ask("/v3/kv/range", pointer)["kvs"][0]["value"].clone();
    let second = fleet.push(&format!("{text}x-second: true\n"));
    fleet.serves("edge-1", &second);
    // The pointer says what it said then.
    fleet.ask(
        "/v3/kv/put",
        &format!("{{\"key\":\"L3Jlc2VhbC93YW50L3BvaW50ZXI=\",\"value\":{old}}}"),
    );
    fleet.serves("edge-1", &first);
    let third = fleet.push(&text);
    fleet.serves("edge-1", &third);
    client.send("x");
    assert_eq!(client.receive(1), b"x");
}
