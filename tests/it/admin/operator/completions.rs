//! Names of the running process in the completions of shells.

use super::{established, id_of, proxy};
use crate::harness::{Finished, Origin, Proxy, command, finish, reseal};

fn names(proxy: &Proxy, kind: &str) -> Vec<String> {
    let place = format!("unix:{}", proxy.admin_socket());
    let listed = reseal(&["ctl", "names", kind, "--", "--admin", &place, "kill"]);
    listed.must_exit_with(0);
    listed.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn names_come_from_the_running_process() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let live = established(&proxy.client("a.test"));
    assert_eq!(names(&proxy, "endpoints"), ["edge", "forward"]);
    assert_eq!(names(&proxy, "routes"), ["forward", "other", "web"]);
    assert_eq!(names(&proxy, "connections"), [id_of(&proxy, &live)]);
    assert!(names(&proxy, "origins").contains(&origin.listen_addr().to_string()));
    assert!(names(&proxy, "reasons").contains(&"not_tls".to_owned()));
    let nobody = reseal(&[
        "ctl",
        "names",
        "endpoints",
        "--",
        "--admin",
        "unix:/nowhere",
    ]);
    nobody.must_exit_with(0);
    assert_eq!(
        nobody.text().trim(),
        "",
        "completions must not print errors"
    );
}

/// The script that `reseal completions SHELL` prints, with lines behind it.
fn script(proxy: &Proxy, shell: &str, behind: &str) -> String {
    let printed = reseal(&["completions", shell]);
    printed.must_exit_with(0);
    let text = printed.stdout + "\n" + behind;
    let file = proxy
        .directory()
        .write(&format!("completions.{shell}"), text);
    file.display().to_string()
}

fn run(shell: &str, arguments: &[&str]) -> Finished {
    let mut command = command(shell);
    command.args(arguments);
    finish(command, b"")
}

#[test]
fn bash_completes_names_and_flags() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let reseal = env!("CARGO_BIN_EXE_reseal");
    let admin = format!("--admin=unix:{}", proxy.admin_socket());
    let complete = |words: &[&str]| {
        let words = [&[reseal, "ctl"], words].concat();
        let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let behind = format!(
            "COMP_WORDS=({})\nCOMP_CWORD={}\n_reseal_with_names '{reseal}' '{}' '{}'\nprintf '%s\\n' \
             \"${{COMPREPLY[@]}}\"\n",
            quoted.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let file = script(&proxy, "bash", &behind);
        let printed = run("bash", &[&file]);
        printed
            .stdout
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        complete(&[&admin, "drain", "--endpoint", ""]),
        ["edge", "forward"]
    );
    assert_eq!(complete(&[&admin, "drain", "--endpoint", "f"]), ["forward"]);
    assert_eq!(complete(&[&admin, "connections", "--route", "w"]), ["web"]);
    assert_eq!(complete(&[&admin, "limits", "e"]), ["edge"]);
    assert_eq!(
        complete(&[&admin, "failures", "--reason", "not_"]),
        ["not_tls"]
    );
    let flags = complete(&["connections", "--old"]);
    assert_eq!(flags, ["--older-than"], "what clap completes stays");
}

/// The names that zsh adds for a value, with a line of which nothing is expanded.
#[test]
fn zsh_completes_names() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let reseal = env!("CARGO_BIN_EXE_reseal");
    let line = format!("{reseal} ctl --admin=unix:{} drain", proxy.admin_socket());
    let behind = format!(
        "compadd() {{ print -l -- $names }}\nBUFFER='{line} --endpoint '\n_reseal_names endpoints\n"
    );
    let file = script(&proxy, "zsh", &behind);
    run("zsh", &["-n", &file]).must_exit_with(0);
    // The first line has the marks of compinit, and `_arguments` is of its functions.
    let printed = run(
        "zsh",
        &["-f", "-c", &format!("compdef() {{ }}; source {file}")],
    );
    assert_eq!(printed.stdout, "edge\nforward", "{}", printed.text());
    let script = std::fs::read_to_string(&file).unwrap();
    for asked in [
        ":ENDPOINT:{_reseal_names endpoints}",
        ":ROUTE:{_reseal_names routes}",
        ":ORIGIN:{_reseal_names origins}",
        ":UPSTREAM:{_reseal_names upstreams}",
        ":REASON:{_reseal_names reasons}",
    ] {
        assert!(script.contains(asked), "{asked}");
    }
}

#[test]
fn fish_completes_names_and_flags() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let file = script(&proxy, "fish", "");
    let complete = |line: &str| {
        let reseal = env!("CARGO_BIN_EXE_reseal");
        let admin = format!("--admin=unix:{}", proxy.admin_socket());
        // Completions are those of the program's name, wherever it is.
        let line = format!("{reseal} ctl {admin} {line}");
        let command = format!("source {file}; complete -C '{line}'");
        let home = proxy.directory().path().display().to_string();
        let mut fish = command_in(&home);
        fish.args(["--no-config", "-c", &command]);
        let printed = finish(fish, b"");
        let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        printed.stdout.lines().map(first).collect::<Vec<_>>()
    };
    assert_eq!(complete("drain --endpoint "), ["edge", "forward"]);
    assert_eq!(complete("connections --route w"), ["web"]);
    assert_eq!(complete("failures --reason not_"), ["not_tls"]);
    assert!(complete("connections --old").contains(&"--older-than".to_owned()));
}

/// Fish keeps files in the home directory.
fn command_in(home: &str) -> std::process::Command {
    let mut fish = command("fish");
    fish.env("HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env("XDG_DATA_HOME", home);
    fish
}
