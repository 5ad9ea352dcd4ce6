//! `reseal init`.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::{Directory, reseal, reseal_in};

const JOBS: [&str; 5] = [
    "vault",
    "passthrough",
    "upstream-tls",
    "database",
    "datapipe",
];

/// The commands in the comment at the top are what a user pastes.
#[test]
fn each_configuration_passes_check_with_the_certificates_from_its_comment() {
    for job in JOBS {
        let directory = Directory::new();
        let printed = reseal(&["init", job]);
        printed.must_exit_with(0);
        let mut commands: Vec<_> = printed
            .stdout
            .lines()
            .filter_map(|line| line.strip_prefix("#   reseal "))
            .collect();
        assert_eq!(commands[0], format!("init {job} --out config.yaml"));
        // It would serve until it is stopped.
        assert_eq!(commands.pop(), Some("run config.yaml"), "{job}");
        for command in commands {
            let arguments: Vec<_> = command.split_whitespace().collect();
            reseal_in(directory.path(), &arguments).must_exit_with(0);
        }
        let written = fs::read_to_string(directory.join("config.yaml")).unwrap();
        assert_eq!(written.trim_end(), printed.stdout, "{job}");
        let checked = reseal_in(directory.path(), &["check", "--strict", "config.yaml"]);
        checked.must_exit_with(0);
        assert_eq!(checked.stderr.matches("warning: ").count(), 0, "{job}");
    }
}

#[test]
fn each_configuration_passes_check_without_files() {
    for job in JOBS {
        let directory = Directory::new();
        let file = directory.write("c.yaml", reseal(&["init", job]).stdout);
        let file = file.display().to_string();
        reseal(&["check", "--strict", "--no-files", &file]).must_exit_with(0);
    }
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let directory = Directory::new();
    directory.write("config.yaml", "mine");
    symlink("nowhere", directory.join("link.yaml")).unwrap();
    for out in ["config.yaml", "link.yaml", "."] {
        let refused = reseal_in(directory.path(), &["init", "vault", "--out", out]);
        refused
            .must_exit_with(1)
            .must_print(&format!("reseal: {out}: exists already"));
        assert_eq!(refused.stdout, "");
    }
    assert_eq!(
        fs::read_to_string(directory.join("config.yaml")).unwrap(),
        "mine"
    );
    assert!(!directory.join("nowhere").exists());
    reseal_in(
        directory.path(),
        &["init", "vault", "--out", "no/such.yaml"],
    )
    .must_exit_with(1)
    .must_print("reseal: no/such.yaml: ");
}

#[test]
fn an_unknown_or_absent_job_exits_with_2_and_lists_the_jobs() {
    for arguments in [&["init", "haproxy"][..], &["init"]] {
        let refused = reseal(arguments);
        refused.must_exit_with(2);
        assert_eq!(refused.stdout, "");
        for job in JOBS {
            refused.must_print(job);
        }
    }
}
