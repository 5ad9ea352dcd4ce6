//! Where commands look for the configuration, and `ctl` for the admin socket.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use crate::harness::{Directory, Finished, Origin, Proxy, finish, is_root, reseal_in};

const PLAIN: &str = "endpoints: [{ name: e, listen: '127.0.0.1:0', protocol: tcp, routes: [{ name: r, mode: \
                     forward, upstream: o }] }]\nupstreams: { o: { origins: ['127.0.0.1:1'] } }\n";

/// Runs `reseal` in a directory with these variables alone.
fn run(directory: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
    command.args(arguments).current_dir(directory);
    for name in ["RESEAL_CONFIG", "RESEAL_ADMIN", "RUNTIME_DIRECTORY"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    finish(command, b"")
}

#[test]
fn a_configuration_needs_no_flag() {
    let directory = Directory::new();
    directory.write("mine.yaml", PLAIN);
    directory.write("broken.yaml", "endpoints: []\n");
    let run = |arguments: &[&str]| reseal_in(directory.path(), arguments);
    run(&["check", "mine.yaml"])
        .must_exit_with(0)
        .must_print("mine.yaml: good");
    run(&["explain", "mine.yaml", "--endpoint", "e"]).must_exit_with(0);
    run(&["run", "broken.yaml"])
        .must_exit_with(2)
        .must_print("broken.yaml:1:");
    for command in ["run", "check"] {
        run(&[command, "mine.yaml", "--config", "broken.yaml"])
            .must_exit_with(2)
            .must_print("cannot be used with");
    }
}

#[test]
fn ctl_finds_the_socket_of_a_configuration() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let config = proxy.directory().join("config.yaml").display().to_string();
    let elsewhere = Directory::new();
    let wrong = ("RESEAL_ADMIN", "unix:/nowhere");
    let pid = format!("pid: {}", proxy.pid());
    for (arguments, variables) in [
        (&["ctl", "--config", &config, "status"][..], &[wrong][..]),
        (&["ctl", "status", "-c", &config], &[]),
        (&["ctl", "status"], &[("RESEAL_CONFIG", &config)]),
    ] {
        run(elsewhere.path(), arguments, variables)
            .must_exit_with(0)
            .must_print(&pid);
    }
    // As `run` without a flag does: config.yaml in the working directory.
    let socket = format!("unix:{}", proxy.admin_socket());
    let text = fs::read_to_string(&config).unwrap();
    let absolute = text.replace("unix:admin.sock", &socket);
    elsewhere.write("config.yaml", absolute);
    run(elsewhere.path(), &["ctl", "status"], &[])
        .must_exit_with(0)
        .must_print(&pid);
    run(elsewhere.path(), &["ctl", "status"], &[wrong]).must_exit_with(1);
}

#[test]
fn ctl_sends_the_token_that_the_configuration_names() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .file("token", "sixteen-or-more-characters\n")
        .top("admin: { listen: \"127.0.0.1:0\", token_file: token }")
        .start();
    let address = proxy.admin_listener("admin");
    let text = fs::read_to_string(proxy.directory().join("config.yaml")).unwrap();
    let text = text.replace(
        "listen: \"127.0.0.1:0\", token",
        &format!("listen: \"{address}\", token"),
    );
    let file = proxy.directory().write("real.yaml", text);
    let file = file.display().to_string();
    run(Path::new("/"), &["ctl", "--config", &file, "status"], &[]).must_exit_with(0);
    // An address from elsewhere does not get it.
    let admin = format!("http://{address}");
    for arguments in [
        &["ctl", "--config", &file, "--admin", &admin, "status"][..],
        &["ctl", "--admin", &admin, "status"],
    ] {
        let variables = [("RESEAL_CONFIG", file.as_str())];
        assert_ne!(run(Path::new("/"), arguments, &variables).code, Some(0));
    }
}

#[test]
fn a_configuration_without_a_socket_says_so() {
    let directory = Directory::new();
    let broken = directory
        .write("broken.yaml", "endpoints: [}\n")
        .display()
        .to_string();
    run(
        directory.path(),
        &["ctl", "--config", &broken, "status"],
        &[],
    )
    .must_exit_with(1)
    .must_print("reseal check ");
    run(
        directory.path(),
        &["ctl", "--config", "none.yaml", "status"],
        &[],
    )
    .must_exit_with(1)
    .must_print("none.yaml: cannot be read");
    // One that is only found, not named, does not get in the way.
    let runtime = directory.path().display().to_string();
    directory.write("config.yaml", "endpoints: [}\n");
    run(
        directory.path(),
        &["ctl", "status"],
        &[("RUNTIME_DIRECTORY", &runtime)],
    )
    .must_exit_with(1)
    .must_print(&format!("unix:{runtime}/admin.sock"));
}

/// In a directory that everybody may write, it could name any address and any file as the token.
#[test]
fn a_found_configuration_of_another_user_is_ignored() {
    if !is_root() {
        eprintln!("skipped: only root can make files of others");
        return;
    }
    const NOBODY: u32 = 65534;
    let directory = Directory::new();
    let theirs = format!("admin: {{ listen: 'unix:/theirs.sock' }}\n{PLAIN}");
    let file = directory.write("config.yaml", theirs);
    let status = || run(directory.path(), &["ctl", "status"], &[]);
    status().must_exit_with(1).must_print("unix:/theirs.sock");
    chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
    let ignored = status();
    ignored.must_exit_with(1);
    assert!(!ignored.text().contains("theirs"), "{}", ignored.text());
}
