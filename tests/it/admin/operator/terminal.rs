//! `ctl` at a terminal: colours, and the question before many connections are ended.

use super::{established, matched, proxy};
use crate::harness::{Finished, Origin, Proxy, Stream, command, finish};

/// Runs `reseal ctl` at a terminal, which `script` makes; `typed` is what the operator types.
fn at_terminal(
    proxy: &Proxy,
    arguments: &str,
    typed: &[u8],
    variables: &[(&str, &str)],
) -> Finished {
    let reseal = env!("CARGO_BIN_EXE_reseal");
    let line = format!(
        "{reseal} ctl --admin unix:{} {arguments}",
        proxy.admin_socket()
    );
    let mut command = command("script");
    command
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .envs(variables.iter().copied());
    finish(command, typed)
}

#[test]
fn tables_are_coloured_at_a_terminal_alone() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let coloured = at_terminal(&proxy, "status", b"", &[]);
    coloured
        .must_exit_with(0)
        .must_print("\x1b[32mserving\x1b[0m")
        .must_print("\x1b[1mENDPOINT\x1b[0m")
        .must_print("\x1b[32mlistening\x1b[0m");
    for variables in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = at_terminal(&proxy, "status", b"", &[variables]);
        plain.must_exit_with(0).must_print("phase: serving");
        assert!(!plain.stdout.contains('\x1b'), "{}", plain.stdout);
    }
    let json = at_terminal(&proxy, "status --json", b"", &[]);
    assert!(!json.stdout.contains('\x1b'), "{}", json.stdout);
    let piped = proxy.ctl(&["status"]);
    assert!(!piped.stdout.contains('\x1b'), "{}", piped.stdout);
}

fn crowd(proxy: &Proxy, count: usize) -> Vec<Stream> {
    let client = proxy.client("a.test");
    (0..count).map(|_| established(&client)).collect()
}

#[test]
fn more_than_ten_are_ended_only_after_a_yes() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let crowd = crowd(&proxy, 11);
    let here = serde_json::json!({});
    for no in [&b"n\n"[..], b"\n", b"what?\n"] {
        let kept = at_terminal(&proxy, "kill --sni a.test", no, &[]);
        kept.must_exit_with(1)
            .must_print("End 11 connections? [y/N]")
            .must_print("nothing was ended");
        assert_eq!(matched(&proxy, &here), 11);
    }
    at_terminal(&proxy, "kill --sni a.test", b"y\n", &[])
        .must_exit_with(0)
        .must_print("11 connections ended");
    for stream in &crowd {
        proxy.outcome_of(stream).must_be("killed");
    }
}

#[test]
fn ten_or_fewer_are_ended_without_a_question_and_yes_never_asks() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let few = crowd(&proxy, 10);
    let ended = at_terminal(&proxy, "kill --sni a.test", b"", &[]);
    ended.must_exit_with(0).must_print("10 connections ended");
    assert!(!ended.text().contains("[y/N]"), "{}", ended.text());
    drop(few);
    crate::harness::eventually("they are gone", || {
        matched(&proxy, &serde_json::json!({})) == 0
    });
    let _many = crowd(&proxy, 12);
    let ended = at_terminal(&proxy, "kill --sni a.test --yes", b"", &[]);
    ended.must_exit_with(0).must_print("12 connections ended");
    assert!(!ended.text().contains("[y/N]"), "{}", ended.text());
}
