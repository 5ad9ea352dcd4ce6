//! `ca: system`: the CA store of the machine.

use std::process::Command;

use crate::harness::{ConfigCheck, Finished, finish, pki};

fn checked() -> ConfigCheck {
    ConfigCheck::new(
        "endpoints:\n\
         \x20 - name: out\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   protocol: tcp\n\
         \x20   routes: [{ name: a, mode: originate, upstream: up }]\n\
         upstreams: { up: { origins: [\"127.0.0.1:9\"], tls: { ca: system, server_name: a.test } } }\n",
    )
}

fn check(checked: &ConfigCheck, file: &str, strict: bool) -> Finished {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
    let config = checked.path();
    command
        .args(["check", "--config"])
        .arg(&config)
        .args(strict.then_some("--strict"))
        .env("SSL_CERT_FILE", config.with_file_name(file))
        .env("SSL_CERT_DIR", config.with_file_name("store"));
    finish(command, b"")
}

#[test]
fn a_damaged_file_of_the_systems_store_is_left_out_with_a_warning() {
    let glued = pki().edge.pem().trim_end().to_owned() + &pki().origins.pem();
    let checked = checked().with_file("glued.pem", &glued, 0o644).with_file(
        "store/good.pem",
        pki().clients.pem(),
        0o644,
    );
    check(&checked, "edge-ca.pem", true).must_exit_with(0);
    let finished = check(&checked, "glued.pem", false);
    finished
        .must_exit_with(0)
        .must_print("warning: ")
        .must_print("glued.pem:")
        .must_print("it is left out of the system's CA store");
    check(&checked, "glued.pem", true).must_exit_with(1);
    check(&checked, "missing.pem", true)
        .must_exit_with(1)
        .must_print("missing.pem: cannot be read");
}

#[test]
fn a_systems_store_without_a_usable_file_is_refused() {
    let checked = checked()
        .with_file("cut.pem", &pki().edge.pem()[..200], 0o644)
        .with_file("store/README", "nothing", 0o644);
    check(&checked, "cut.pem", false)
        .must_exit_with(1)
        .must_print("cut.pem:1: the block `CERTIFICATE` that begins here has no END line")
        .must_print("error: no CA could be read")
        .must_print("SSL_CERT_FILE");
}
