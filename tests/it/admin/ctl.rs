//! `reseal ctl`: commands, output and exit codes.

use crate::harness::{Origin, Proxy, ctl, reseal};

#[test]
fn status_is_text_or_json() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let pid = proxy.pid();
    proxy
        .ctl(&["status"])
        .must_exit_with(0)
        .must_print("phase: serving")
        .must_print(&format!("pid: {pid}"))
        .must_print(&format!("{}  forward", proxy.listen_addr("forward")));
    let status = proxy.ctl_json(&["status"]);
    assert_eq!(status["phase"], "serving");
    assert_eq!(status["pid"], pid);
    assert_eq!(status["generation"], 1);
}

/// Whoever mends a file asks the process that runs by the one before.
#[test]
fn ctl_finds_the_process_by_a_configuration_that_has_errors_elsewhere() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let text = proxy.text();
    for broken in [
        text.replace("mode: forward", "mode: forwrad"),
        text.replace("endpoints:", "endpoinst:"),
        format!("{text}nonsense: 1\n"),
    ] {
        assert_ne!(broken, text);
        let file = proxy.directory().write("config.yaml", broken);
        let file = file.display().to_string();
        let status = ctl(&["status", "--config", &file], &[]);
        status.must_exit_with(0).must_print("phase: serving");
        let refused = ctl(&["reload", "--config", &file], &[]);
        refused.must_exit_with(1).must_print("config.yaml");
    }
    let file = proxy.directory().write("config.yaml", "admin: [");
    let file = file.display().to_string();
    let status = ctl(&["status", "--config", &file], &[]);
    status
        .must_exit_with(1)
        .must_print("--admin gives the address");
}

#[test]
fn certificates_are_a_table_with_expiry_dates() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    let printed = proxy.ctl(&["certificates"]);
    printed.must_exit_with(0);
    let lines: Vec<Vec<_>> = printed
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let title = ["CERTIFICATE", "ENDPOINT", "NAMES", "EXPIRES", "LEFT"];
    assert_eq!(lines[0], title);
    assert_eq!(lines[1][..3], ["identity-0", "edge", "a.test"]);
    let list = proxy.ctl_json(&["certificates"]);
    assert_eq!(list["certificates"][0]["not_after"], lines[1][3]);
    assert!(list["certificates"][0]["seconds_left"].as_i64() > Some(0));
}

#[test]
fn the_effective_configuration_passes_check() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .admin()
        .start();
    let printed = proxy.ctl(&["config"]);
    printed.must_exit_with(0).must_print("hello: 5s");
    let file = proxy.directory().write("effective.yaml", &printed.stdout);
    reseal(&["check", "--config", &file.display().to_string()]).must_exit_with(0);
}

#[test]
fn the_log_level_is_printed_and_changed() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    assert_eq!(proxy.ctl(&["log-level"]).stdout, "info");
    assert_eq!(proxy.ctl(&["log-level", "debug"]).stdout, "debug");
    assert_eq!(proxy.ctl_json(&["log-level"])["level"], "debug");
}

#[test]
fn a_refused_command_fails_with_its_reason() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    for (arguments, reason) in [
        (&["log-level", "loud"][..], "a level is error, warn, info"),
        (&["kill", "nobody"], "hexadecimal"),
    ] {
        let refused = proxy.ctl(arguments);
        refused.must_exit_with(1);
        assert!(refused.stderr.contains(reason), "{}", refused.text());
        assert_eq!(refused.stdout, "");
    }
}

#[test]
fn a_missing_process_is_reported_with_a_hint() {
    let directory = crate::harness::Directory::new();
    let nowhere = format!("unix:{}", directory.join("none.sock").display());
    let missing = ctl(&["--admin", &nowhere, "status"], &[]);
    missing.must_exit_with(1);
    assert!(missing.stderr.contains(&nowhere), "{}", missing.stderr);
    assert!(
        missing.stderr.contains("admin.listen"),
        "{}",
        missing.stderr
    );
    for wrong in ["/run/reseal.sock", "https://127.0.0.1:1"] {
        let refused = ctl(&["--admin", wrong, "status"], &[]);
        refused.must_exit_with(1);
        assert!(refused.stderr.contains("https://") || refused.stderr.contains("unix:PATH"));
    }
}

#[test]
fn the_address_comes_from_environment_variables() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let directory = proxy.directory().path().display().to_string();
    let place = format!("unix:{}", proxy.admin_socket());
    let wrong = ("RESEAL_ADMIN", "unix:/nowhere");
    ctl(&["status"], &[("RESEAL_ADMIN", &place)]).must_exit_with(0);
    ctl(&["status"], &[("RUNTIME_DIRECTORY", &directory)]).must_exit_with(0);
    ctl(&["status"], &[("RUNTIME_DIRECTORY", &directory), wrong]).must_exit_with(1);
    ctl(&["--admin", &place, "status"], &[wrong]).must_exit_with(0);
}

#[test]
fn requests_over_tcp_send_the_token() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .file("token", "sixteen-or-more-characters\n")
        .file("other", "sixteen-other-characters\n")
        .top("admin: { listen: \"127.0.0.1:0\", token_file: token }")
        .start();
    let place = format!("http://{}", proxy.admin_listener("admin"));
    let by_name = place.replace("127.0.0.1", "localhost");
    let file = |name: &str| proxy.directory().join(name).display().to_string();
    let query =
        |place: &str, token: &str| ctl(&["status", "--admin", place, "--token-file", token], &[]);
    query(&place, &file("token")).must_exit_with(0);
    query(&by_name, &file("token")).must_exit_with(0);
    query(&place, &file("other"))
        .must_exit_with(1)
        .must_print("token");
    ctl(&["status", "--admin", &place], &[]).must_exit_with(1);
}
