//! The rights that the process gives up, and what still works without them.

mod layers;
mod memory;
mod reloads;
mod user;

use serde_json::Value;

use crate::harness::{Origin, Proxy, ProxyBuilder};

/// Without a port that the kernel chooses: that would be any port.
const ADMIN: &str = "admin: { listen: \"unix:admin.sock\" }";

/// A proxy that forwards to this origin, in a required sandbox that also has this room.
fn required(origin: &Origin, also: &str) -> ProxyBuilder {
    Proxy::builder()
        .top(&format!(
            "process: {{ sandbox: {{ mode: required, also: {{ {also} }} }}, reload: {{ debounce: 50ms }} }}"
        ))
        .top(ADMIN)
        .forward(origin)
}

/// What the status says about the sandbox; printed, so that a run shows which layers its kernel has.
fn layers(proxy: &Proxy) -> [String; 4] {
    let status = proxy.ctl_json(&["status"]);
    let layers = ["sandbox", "landlock", "seccomp", "user"];
    let layers = layers.map(|key| status[key].as_str().unwrap().to_owned());
    eprintln!("layers: {layers:?}");
    layers
}

/// The reasons of a plan that was refused.
fn refused_plan(proxy: &Proxy) -> String {
    let plan = proxy.ctl(&["reload", "--plan"]);
    plan.must_exit_with(1);
    plan.text()
}

/// The number of a field of /proc/PID/status, for each thread.
fn of_threads(proxy: &Proxy, field: &str) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap();
    let status = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")));
    let value = |status: String| {
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    status.flatten().map(value).collect()
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}
