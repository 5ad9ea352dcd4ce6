//! A cluster of etcd behind Reseal, whose nodes are stopped and started under load.

use std::fs;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Directory, Port, Proxy, command, eventually, output, pki};

/// A node, and what it needs to restart as the same member.
struct Node {
    name: String,
    client: Port,
    peer: Port,
    child: Option<Child>,
}

impl Node {
    fn new(n: usize) -> Self {
        Self {
            name: format!("node-{n}"),
            client: Port::reserve(),
            peer: Port::reserve(),
            child: None,
        }
    }

    fn start(&mut self, directory: &Directory, cluster: &str) {
        let log = directory.join(&format!("{}.log", self.name));
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let (client, peer) = (self.client.number(), self.peer.number());
        let (client, peer) = (
            format!("https://127.0.0.1:{client}"),
            format!("http://127.0.0.1:{peer}"),
        );
        let child = command("etcd")
            .args(["--name", &self.name, "--initial-cluster", cluster])
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
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .arg("--data-dir")
            .arg(directory.join(&self.name))
            .arg("--cert-file")
            .arg(directory.join("origin.pem"))
            .arg("--key-file")
            .arg(directory.join("origin.key"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            let _ = kill_process(pid, Signal::TERM);
            let _ = child.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One request to etcd's JSON interface through the proxy; the response, if there is one.
fn request(port: u16, trust: &str, path: &str, body: &str) -> Option<serde_json::Value> {
    let host = format!("a.test:{port}:127.0.0.1");
    let url = format!("https://a.test:{port}{path}");
    let arguments = [
        "-sS",
        "--max-time",
        "10",
        "--cacert",
        trust,
        "--resolve",
        &host,
        "-d",
        body,
        &url,
    ];
    let finished = output("curl", &arguments, "");
    (finished.code == Some(0)).then(|| serde_json::from_str(&finished.stdout).ok())?
}

#[test]
fn a_cluster_is_restarted_node_by_node_under_load() {
    let directory = Directory::new();
    let identity = pki().origin(&["origin.test", "127.0.0.1"]);
    directory.write("origin.pem", &identity.cert);
    directory.write("origin.key", &identity.key);
    let trust = directory
        .write("trust.pem", pki().edge.pem())
        .display()
        .to_string();
    let mut nodes: Vec<_> = (0..3).map(Node::new).collect();
    let peer = |node: &Node| format!("{}=http://127.0.0.1:{}", node.name, node.peer.number());
    let cluster = nodes.iter().map(peer).collect::<Vec<_>>().join(",");
    for node in &mut nodes {
        node.start(&directory, &cluster);
    }
    let origins: Vec<_> = nodes
        .iter()
        .map(|node| format!("\"{}\"", node.client.address()))
        .collect();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &nodes[0].client.address())
        .origins(&format!("[{}]", origins.join(", ")))
        .on_upstream("balance: least_connections")
        .on_upstream("health: { check: { http: { path: /health } }, interval: 200ms, passive: {} }")
        .start();
    let port = proxy.listen_addr("edge").port();
    let put = move |trust: &str, key: u32| {
        // Eight decimal digits are valid base64.
        request(
            port,
            trust,
            "/v3/kv/put",
            &format!("{{\"key\":\"{key:08}\",\"value\":\"AAAA\"}}"),
        )
        .is_some_and(|answer| answer["header"]["revision"].is_string())
    };
    eventually("the cluster is up", || put(&trust, 0));
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let load = {
        let (stop, written, trust) = (Arc::clone(&stop), Arc::clone(&written), trust.clone());
        thread::spawn(move || {
            let (mut done, mut failed) = (Vec::new(), 0);
            let mut key = 1;
            while !stop.load(Ordering::SeqCst) {
                if put(&trust, key) {
                    done.push(key);
                    written.store(done.len(), Ordering::SeqCst);
                } else {
                    failed += 1;
                }
                key += 1;
            }
            (done, failed)
        })
    };
    for node in &mut nodes {
        let address = node.client.address().to_string();
        let about = |line: &str, what: &str| line.contains(what) && line.contains(&address);
        let count = |what: &str| proxy.log().iter().filter(|line| about(line, what)).count();
        // While another node restarted, this one may have been without a leader, and so down.
        let (downs, ups) = (count("an origin is down"), count("is up again"));
        node.stop();
        eventually("it is down", || count("an origin is down") > downs);
        node.start(&directory, &cluster);
        eventually("it is up again", || count("is up again") > ups);
        let goal = written.load(Ordering::SeqCst) + 10;
        eventually("the cluster serves requests", || {
            written.load(Ordering::SeqCst) >= goal
        });
    }
    stop.store(true, Ordering::SeqCst);
    let (done, failed) = load.join().unwrap();
    // Requests may fail if they were under way at a node that stopped, or waited for a new leader.
    assert!(failed <= 6, "{} done, {failed} failed", done.len());
    for key in done {
        let answer = request(
            port,
            &trust,
            "/v3/kv/range",
            &format!("{{\"key\":\"{key:08}\"}}"),
        );
        assert_eq!(answer.unwrap()["count"], "1", "{key} was acknowledged");
    }
    for node in &nodes {
        let log = fs::read_to_string(directory.join(&format!("{}.log", node.name))).unwrap();
        // A check that times out at a starting node is aborted; all others end cleanly.
        assert!(!log.contains("error \"EOF\""), "a check hung up:\n{log}");
    }
}
