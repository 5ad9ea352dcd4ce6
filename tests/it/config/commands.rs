//! Commands without a configuration file: `demo`, and those that print.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::{Directory, Serving, TIMEOUT, finish, reseal};

/// The value of a variable is not shown, not even in the error about a file of that name.
#[test]
fn check_shows_variables_as_the_file_does() {
    let directory = Directory::new();
    let check = |certificate: &str, arguments: &[&str]| {
        let text = format!(
            "endpoints: [{{ name: e, listen: '127.0.0.1:0', tls: {{ certificates: [{{ cert: {certificate}, \
             key: {certificate} }}] }}, default_route: r, routes: [{{ name: r, mode: terminate, upstream: o \
             }}] }}]\nupstreams: {{ o: {{ origins: ['127.0.0.1:1'] }} }}\n"
        );
        let file = directory.write("config.yaml", text);
        let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
        command
            .arg("check")
            .arg("--config")
            .arg(file)
            .args(arguments);
        command.env("WHERE", "canary-7f3a");
        finish(command, b"")
    };
    let refused = check("'${WHERE}/a.pem'", &[]);
    assert_ne!(refused.code, Some(0));
    let error = refused.text();
    assert!(error.contains("${WHERE}/a.pem: "), "{error}");
    assert!(!error.contains("canary"), "{error}");
    let printed = check("'${WHERE}/a.pem'", &["--no-files", "--print"]).text();
    assert!(printed.contains("cert: \"${WHERE}/a.pem\""), "{printed}");
    assert!(!printed.contains("canary"), "{printed}");
}

/// The files of a process in /proc belong to root if other processes of its user may not inspect it.
#[test]
fn other_processes_of_its_user_cannot_inspect_a_process_that_serves() {
    const NOBODY: u32 = 65534;
    let is_root = rustix::process::geteuid().is_root();
    let owner = |variable: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
        command.args(["forward", "--listen", "127.0.0.1:0", "--to", "127.0.0.1:1"]);
        command.env("RESEAL_DUMPABLE", variable);
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let serving = Serving::spawn(command);
        serving.listen_addr();
        let files = format!("/proc/{}/status", serving.pid());
        let owner = std::fs::metadata(files).unwrap().uid();
        serving.must_end_at_once();
        owner
    };
    assert_eq!(owner(""), 0);
    assert_ne!(owner("1"), 0);
}

/// A shell runs every command that the demo prints, as printed.
#[test]
fn the_commands_of_the_demo_work_as_printed() {
    let serving = Serving::start(&["demo"]);
    let tour = serving.stdout.wait(TIMEOUT, |lines| {
        let end = lines.iter().position(|line| line.contains("Ctrl-C"))?;
        Some(lines.drain(..=end).collect::<Vec<_>>())
    });
    let tour = tour.expect("the demo prints what to try");
    let commands: Vec<_> = tour.iter().filter(|line| line.starts_with("  ")).collect();
    assert_eq!(commands.len(), 9, "{tour:#?}");
    let mut received = 0;
    let mut refused = Vec::new();
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]);
        let finished = finish(shell, b"");
        received += usize::from(finished.stdout.contains("The demo origin received"));
        if finished.code != Some(0) {
            refused.push(finished.text());
        }
    }
    assert_eq!(
        received, 6,
        "all five modes, and the client with a certificate"
    );
    assert_eq!(refused.len(), 2, "{refused:#?}");
    assert!(refused[0].contains("certificate required"), "{refused:#?}");
    assert!(refused[1].contains("unrecognized name"), "{refused:#?}");
    let seen = serving.stdout.wait(TIMEOUT, |lines| {
        (lines.len() >= 9).then(|| lines.join("\n"))
    });
    let seen = seen.expect("one line for each command");
    for word in [
        "mode=passthrough",
        "mode=reencrypt",
        "mode=originate",
        "reason=client_cert_missing",
        "reason=unknown_sni",
    ] {
        assert!(seen.contains(word), "no {word} in:\n{seen}");
    }
    let directory = tour
        .iter()
        .find_map(|line| line.split("The configuration is ").nth(1))
        .and_then(|rest| rest.split("/config.yaml").next())
        .map(PathBuf::from)
        .expect("the demo names its directory");
    assert!(directory.exists());
    serving.must_end_at_once();
    assert!(!directory.exists(), "the demo cleans up");
}

#[test]
fn schema_completions_and_man_page_are_valid() {
    let schema = reseal(&["schema"]);
    schema.must_exit_with(0);
    let schema: serde_json::Value = serde_json::from_str(&schema.stdout).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    reseal(&["completions", "bash"])
        .must_exit_with(0)
        .must_print("_reseal");
    reseal(&["man"]).must_exit_with(0).must_print(".TH");
}

#[test]
fn man_prints_a_page_of_the_commands_and_one_of_the_configuration() {
    reseal(&["man"])
        .must_exit_with(0)
        .must_print(".TH reseal 1");
    reseal(&["man", "reseal.yaml"])
        .must_exit_with(0)
        .must_print(".TH reseal.yaml 5")
        .must_print("upstreams.NAME.health")
        .must_print("The default is \\fB10m\\fR because");
    assert_ne!(reseal(&["man", "other"]).code, Some(0));
}
