//! What is delivered: the Debian package, the container image, examples for Kubernetes.
//!
//! They need much: root, a Debian root of its own, cargo-deb, an environment of Python. `scripts/test.sh`
//! makes them where it can; elsewhere these tests report that they were skipped.

mod debian;
mod image;
mod kubernetes;
mod sbom;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Lines, ListenAddr, TIMEOUT, is_root};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether this file is there and we are root. If not, the test reports that it was skipped.
fn can_use(file: &str) -> bool {
    if !is_root() {
        println!("skipped: it needs root, for chroot");
    } else if !root().join(file).exists() {
        println!("skipped: {file} is missing; scripts/test.sh makes it");
    } else {
        return true;
    }
    false
}

/// Runs a program to its end, which must be a success; returns its output.
#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{text}");
    text.into_owned()
}

/// A tree with a root of its own.
struct Tree(PathBuf);

impl Tree {
    /// A command in it. It sees /proc, in a mount namespace of its own, so that nothing stays mounted. Each
    /// program becomes the next, so that the process is that of the command.
    fn command(&self, user: &str, arguments: &[&str]) -> Command {
        const ENTER: &str =
            "mount -t proc proc \"$0/proc\"; exec chroot --userspec=\"$1\" \"$0\" \"${@:2}\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "bash", "-ec", ENTER])
            .arg(&self.0)
            .arg(user)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C");
        command
    }

    /// Runs a shell script in it, as root.
    #[track_caller]
    fn sh(&self, script: &str) -> String {
        run(&mut self.command("0:0", &["/bin/sh", "-euc", script]))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name.trim_start_matches('/'))
    }

    #[track_caller]
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn has(&self, name: &str) -> bool {
        self.at(name).symlink_metadata().is_ok()
    }
}

/// A process that serves in a tree; killed on drop.
struct Serving {
    child: Child,
    log: Lines,
}

impl Serving {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Lines::of(child.stderr.take().unwrap());
        Self { child, log }
    }

    /// The address of its first endpoint.
    #[track_caller]
    fn listen_addr(&self) -> ListenAddr {
        let found = self.log.wait(TIMEOUT, |lines| {
            let line = lines.iter().find(|line| line.contains("\"listening\""))?;
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            Some(record["address"].as_str()?.to_owned())
        });
        let found = found.unwrap_or_else(|| panic!("{}", self.log.all().join("\n")));
        ListenAddr::parse(&found)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of a configuration that passes bytes on to this origin.
fn forward_to(origin: &ListenAddr) -> String {
    format!(
        "endpoints:\n  - name: edge\n    listen: 127.0.0.1:0\n    protocol: tcp\n    routes: [{{ name: r, mode: \
         forward, upstream: o }}]\nupstreams:\n  o: {{ origins: [\"{origin}\"] }}\n"
    )
}
