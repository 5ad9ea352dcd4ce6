//! The container image: its tree holds all that the program needs, for a user without rights.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Serving, Tree, can_use, forward_to, root, run};
use crate::harness::{Directory, Origin, Stream, command};

/// distroless' number.
const USER: u32 = 65532;

#[test]
fn the_tree_of_the_image_serves_without_root_and_passes_its_health_check() {
    if !can_use("scripts/image.sh") {
        return;
    }
    let _ = command("strip");
    let directory = Directory::new();
    let tree = directory.join("image");
    run(Command::new(root().join("scripts/image.sh"))
        .args(["--profile", "dev", "--no-build", "--only-tree", "--tree"])
        .arg(&tree));
    let tree = Tree(tree);
    fs::create_dir(tree.at("proc")).unwrap();
    let user = format!("{USER}:{USER}");
    let health = ["/usr/bin/reseal", "ctl", "status"];
    let env = ("RUNTIME_DIRECTORY", "/run/reseal");
    // As it is delivered.
    run(&mut tree.command(&user, &["/usr/bin/reseal", "check", "--strict"]));
    let origin = Origin::echo();
    tree.write("etc/reseal/config.yaml", &forward_to(origin.listen_addr()));
    let mut command = tree.command(&user, &["/usr/bin/reseal", "run"]);
    command.env(env.0, env.1);
    let mut serving = Serving::start(command);
    let client = Stream::dial(&serving.listen_addr()).unwrap();
    client.must_echo(b"through");
    run(tree.command(&user, &health).env(env.0, env.1));
    client.end();
    serving.signal(Signal::TERM);
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    let ended = tree
        .command(&user, &health)
        .env(env.0, env.1)
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(1));
}

/// The images and containers of one test, which buildah keeps in a directory of their own. Its containers
/// need no runtime: they are entered by chroot, with the network of the host.
struct Images(Directory);

impl Images {
    fn new() -> Self {
        let directory = Directory::new();
        let path = directory.path().display();
        let text = format!(
            "[storage]\ndriver = \"vfs\"\ngraphroot = \"{path}/images\"\nrunroot = \"{path}/state\"\n"
        );
        directory.write("storage.conf", text);
        Self(directory)
    }

    fn with<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("CONTAINERS_STORAGE_CONF", self.0.join("storage.conf"))
    }

    #[track_caller]
    fn buildah(&self, arguments: &[&str]) -> String {
        run(self.with(Command::new("buildah").args(arguments)))
    }

    /// What a container runs, as the user of its image; files of `/etc/reseal` are those of the directory
    /// `conf`.
    fn in_container(&self, arguments: &[String]) -> Command {
        let files = format!("{}:/etc/reseal:ro", self.0.join("conf").display());
        let mut command = Command::new("buildah");
        self.with(
            command
                .args(["run", "--isolation", "chroot", "--volume", &files])
                .args(["reseal", "--"])
                .args(arguments),
        );
        command
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let _ = self
            .with(Command::new("buildah").args(["rm", "--all"]))
            .output();
    }
}

/// The process in a container, which does not end with buildah.
struct Contained(Pid);

impl Contained {
    #[track_caller]
    fn of(status: &Value) -> Self {
        let pid = status["pid"].as_i64().unwrap();
        let contained = Self(Pid::from_raw(pid.try_into().unwrap()).unwrap());
        assert!(contained.is_there(), "{status}");
        contained
    }

    fn is_there(&self) -> bool {
        let program = fs::read_link(format!("/proc/{}/exe", self.0.as_raw_nonzero()));
        program.is_ok_and(|program| program.ends_with("usr/bin/reseal"))
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        if self.is_there() {
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}

fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().into_iter().flatten();
    words
        .map(|word| word.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_image_is_built_without_network_and_serves_until_its_stop_signal() {
    if !can_use("scripts/image.sh") {
        return;
    }
    if Command::new("buildah").arg("--version").output().is_err() {
        println!("skipped: buildah is not installed");
        return;
    }
    let images = Images::new();
    let tree = images.0.join("tree");
    let mut build = Command::new(root().join("scripts/image.sh"));
    build
        .args(["--profile", "dev", "--no-build", "--tree"])
        .arg(&tree);
    // No other builder.
    build.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    run(images.with(&mut build));
    let image: Value =
        serde_json::from_str(&images.buildah(&["inspect", "--type", "image", "reseal"])).unwrap();
    let config = &image["Docker"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["StopSignal"], "SIGTERM");
    let (health, start) = (
        words(&config["Healthcheck"]["Test"]),
        [words(&config["Entrypoint"]), words(&config["Cmd"])].concat(),
    );
    assert_eq!(health[0], "CMD");
    images.buildah(&["from", "--pull-never", "--name", "reseal", "reseal"]);
    let origin = Origin::echo();
    let text = format!(
        "admin: {{ listen: \"unix:/run/reseal/admin.sock\" }}\n{}",
        forward_to(origin.listen_addr())
    );
    images.0.write_with_mode("conf/config.yaml", text, 0o644);
    let mut serving = Serving::start(images.in_container(&start));
    let client = Stream::dial(&serving.listen_addr()).unwrap();
    client.must_echo(b"through");
    let status = run(&mut images.in_container(&[&health[1..], &["--json".to_owned()]].concat()));
    let status: Value = serde_json::from_str(&status).unwrap();
    let contained = Contained::of(&status);
    assert_eq!(status["user"], "reseal");
    client.end();
    kill_process(contained.0, Signal::TERM).unwrap();
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    let ended = images.in_container(&health[1..]).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
}

/// What the container runtime reads.
#[test]
fn the_containerfile_names_a_user_a_stop_signal_and_a_health_check() {
    let file = fs::read_to_string(root().join("packaging/container/Containerfile")).unwrap();
    for line in [
        "FROM scratch",
        "USER 65532:65532",
        "STOPSIGNAL SIGTERM",
        "ENTRYPOINT [\"/usr/bin/reseal\"]",
    ] {
        assert!(file.lines().any(|found| found == line), "{line}");
    }
    assert!(file.contains("CMD [\"/usr/bin/reseal\", \"ctl\", \"status\"]"));
}
