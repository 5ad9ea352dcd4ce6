//! The container image: its tree holds all that the program needs, for a user without rights.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

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
        .args(["--profile", "dev", "--no-build", "--tree"])
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
