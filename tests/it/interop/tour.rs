//! The tour of the README, pasted into a shell as a new user does.

use std::path::Path;
use std::process::Command;

use crate::harness::{Directory, command};

const README: &str = include_str!("../../../README.md");

/// The commands of the tour, without its first block, which builds the program.
fn commands() -> String {
    let from = README.find("## A tour").expect("the tour");
    let tour = &README[from..];
    let tour = &tour[..tour.find("\n## Documentation").expect("the next section")];
    let blocks = tour.split("```sh\n").skip(2);
    blocks
        .map(|block| block.split("```").next().expect("a block"))
        .collect()
}

/// The tour has fixed ports, so the test gives it a loopback address that no other test uses.
fn own_address() -> String {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    format!("127.86.{high}.{}", low.max(1))
}

#[test]
fn the_tour_of_the_readme_can_be_pasted_into_a_shell() {
    for program in ["openssl", "curl"] {
        let _ = command(program);
    }
    let directory = Directory::new();
    let ready = "until curl -s -o /dev/null http://127.0.0.1:9091/readyz; do sleep 0.05; done\n";
    let commands = commands();
    assert!(
        commands.contains("sleep 1\n"),
        "the tour waits for the start"
    );
    let script = commands
        .replace("sleep 1\n", ready)
        .replace("127.0.0.1", &own_address());
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null' EXIT\n{script}");
    let bin = Path::new(env!("CARGO_BIN_EXE_reseal"))
        .parent()
        .expect("a directory");
    let path = std::env::var("PATH").expect("a path");
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", &script])
        .current_dir(directory.path())
        .env("PATH", format!("{}:{path}", bin.display()))
        .output()
        .expect("a shell");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said = format!("{stdout}\n{stderr}");
    let answers = stdout
        .matches(r#"{"initialized":true,"sealed":false}"#)
        .count();
    assert_eq!(
        answers, 3,
        "one answer of an origin for each request\n{said}"
    );
    for expected in [
        "config.yaml: good",
        "Verification: OK",
        "route         vault: wins",
        "verdict       allowed",
        "phase: serving",
        r#"reason="client_cert_missing""#,
        r#"reason="unknown_sni""#,
        "route  edge/direct  changed",
        "generation: 2",
    ] {
        assert!(said.contains(expected), "no `{expected}` in\n{said}");
    }
    assert!(stderr.contains("certificate required"), "{said}");
    assert!(stderr.contains("unrecognized name"), "{said}");
    assert!(!stderr.contains("command not found"), "{said}");
}
