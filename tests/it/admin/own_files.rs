//! Files that Reseal creates or changes, in directories where another user may replace them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use rustix::process::Signal;

use crate::harness::{
    ConfigCheck, Directory, End, Origin, Proxy, eventually, finish, is_root, output, pki,
};

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn must_relay(proxy: &Proxy) {
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
}

/// A proxy with an endpoint on a unix socket, the socket's path, and a secret file beside it.
fn beside_a_secret(origin: &Origin) -> (Proxy, String, String) {
    let draft = Proxy::builder()
        .forward(origin)
        .file("secret", "of somebody");
    let (socket, secret) = (draft.path("edge.sock"), draft.path("secret"));
    let listen = format!("{{ unix: \"{socket}\", permissions: \"0660\" }}");
    (draft.listen(&listen).start(), socket, secret)
}

#[test]
fn a_reload_does_not_follow_a_link_in_place_of_its_socket() {
    let origin = Origin::echo();
    let (mut proxy, socket, secret) = beside_a_secret(&origin);
    fs::remove_file(&socket).unwrap();
    symlink(&secret, &socket).unwrap();
    // With unchanged settings, and with changed ones.
    let text = proxy.text().to_owned();
    let lines = proxy.reload(&text);
    let is_reported = |line: &String| line.contains("no longer the socket of this process");
    assert!(lines.iter().any(is_reported), "{lines:?}");
    let lines = proxy.reload(&text.replace("0660", "0666"));
    assert!(lines.iter().any(is_reported), "{lines:?}");
    assert_eq!(mode(&secret), 0o600);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    assert!(fs::symlink_metadata(&socket).unwrap().is_symlink());
}

#[test]
fn a_reload_does_not_touch_a_socket_of_another_process() {
    let origin = Origin::echo();
    let (mut proxy, socket, _) = beside_a_secret(&origin);
    fs::remove_file(&socket).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    set_mode(&socket, 0o600);
    let lines = proxy.reload(&proxy.text().replace("0660", "0666"));
    let is_reported = |line: &String| line.contains("no longer the socket of this process");
    assert!(lines.iter().any(is_reported), "{lines:?}");
    assert_eq!(mode(&socket), 0o600);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    assert!(
        Path::new(&socket).exists(),
        "another process's socket was removed"
    );
}

#[test]
fn a_reload_changes_the_permissions_of_its_own_socket() {
    let origin = Origin::echo();
    let (proxy, socket, _) = beside_a_secret(&origin);
    assert_eq!(mode(&socket), 0o660);
    proxy.reload(&proxy.text().replace("0660", "0666"));
    assert_eq!(mode(&socket), 0o666);
    // A manual change stays until the setting changes.
    set_mode(&socket, 0o600);
    proxy.reload(&proxy.text().replace("0660", "0666"));
    assert_eq!(mode(&socket), 0o600);
    must_relay(&proxy);
}

/// An endpoint on a socket in the directory `run`.
fn socket_in_run() -> ConfigCheck {
    ConfigCheck::new(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: \"unix:run/edge.sock\"\n\
         \x20   protocol: tcp\n\
         \x20   routes: [{ name: f, mode: forward, upstream: up }]\n\
         upstreams: { up: { origins: [\"127.0.0.1:9\"] } }\n",
    )
    .with_file("run/other", "", 0o600)
}

#[test]
fn a_socket_directory_writable_by_others_is_warned_about() {
    let checked = |mode| {
        let draft = socket_in_run();
        set_mode(draft.path().with_file_name("run"), mode);
        draft
    };
    checked(0o755).must_be_good();
    checked(0o1777).must_be_good();
    checked(0o777).must_warn("\"unix:run", &["every user may put another", "chmod +t"]);
}

/// `fsGroup` of Kubernetes: volumes belong to a supplementary group of the process.
#[test]
fn a_socket_directory_of_a_supplementary_group_is_not_warned_about() {
    if !is_root() {
        return;
    }
    let checked = socket_in_run();
    let directory = checked.path().parent().unwrap().to_owned();
    let (run, binary) = (directory.join("run"), directory.join("reseal"));
    fs::copy(env!("CARGO_BIN_EXE_reseal"), &binary).unwrap();
    set_mode(&directory, 0o755);
    set_mode(checked.path(), 0o644);
    lchown(&run, Some(0), Some(4321)).unwrap();
    set_mode(&run, 0o775);
    for (groups, code) in [("4320,4321", 0), ("4320", 1)] {
        let mut command = std::process::Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--groups", groups])
            .arg(&binary)
            .args(["check", "--strict", "--config"])
            .arg(checked.path());
        finish(command, b"").must_exit_with(code);
    }
}

fn requiring(policy: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "process: {{ key_permissions: {policy} }}\n\
         endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: {{ certificates: [{{ cert: good.pem, key: good.key }}] }}\n\
         \x20   routes:\n\
         \x20     - name: a\n\
         \x20       match: {{ sni: a.test }}\n\
         \x20       mode: terminate\n\
         \x20       upstream: up\n\
         \x20       client_auth: {{ mode: required, ca: own/ca.pem }}\n\
         upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
    ))
    .with_file("own/ca.pem", &pki().files()[2].1, 0o644)
}

#[test]
fn files_that_every_user_may_write_are_not_trusted() {
    requiring("refuse").must_be_good();
    for (file, about) in [("own/ca.pem", "own/ca.pem"), ("good.key", "good.pem")] {
        let checked = requiring("refuse");
        set_mode(checked.path().with_file_name("").join(file), 0o602);
        checked.must_report(about, &["every user may write", "chmod o-w"]);
        let checked = requiring("warn");
        set_mode(checked.path().with_file_name("").join(file), 0o602);
        checked.must_warn(about, &["every user may write"]);
    }
}

#[test]
fn a_configuration_that_every_user_may_write_is_refused() {
    let checked = requiring("refuse");
    set_mode(checked.path(), 0o646);
    let finished = checked.check(&[]);
    finished
        .must_exit_with(1)
        .must_print("every user may write this file (mode 0646)");
    checked.run().must_exit_with(2);
}

#[test]
fn a_directory_in_which_every_user_may_replace_files_is_warned_about() {
    let checked = requiring("refuse");
    let own = checked.path().with_file_name("own");
    set_mode(&own, 0o777);
    checked.must_warn("own/ca.pem", &["every user may replace the files in"]);
    set_mode(&own, 0o1777);
    checked.must_be_good();
}

#[test]
fn new_logs_are_private_and_existing_logs_keep_their_mode() {
    let origin = Origin::echo();
    let draft = Proxy::builder()
        .forward(&origin)
        .top("access_log: { output: access.log }");
    let log = draft.path("access.log");
    let proxy = draft
        .under(&["sh", "-c", "umask 0; exec \"$0\" \"$@\""])
        .start();
    assert_eq!(mode(&log), 0o640);
    set_mode(&log, 0o644);
    proxy.signal(Signal::USR1);
    must_relay(&proxy);
    eventually("the record", || fs::metadata(&log).unwrap().len() > 0);
    assert_eq!(mode(&log), 0o644);
    // The file after a rotation is a new one.
    fs::rename(&log, format!("{log}.1")).unwrap();
    proxy.signal(Signal::USR1);
    eventually("a new file", || Path::new(&log).exists());
    assert_eq!(mode(&log), 0o640);
}

#[test]
fn a_log_is_not_written_through_a_link_of_another_user() {
    let origin = Origin::echo();
    let draft = Proxy::builder()
        .forward(&origin)
        .file("secret", "of somebody")
        .file("mine", "")
        .top("access_log: { output: access.log }");
    let (log, secret, mine) = (
        draft.path("access.log"),
        draft.path("secret"),
        draft.path("mine"),
    );
    // A link of the same user is followed, as operators expect.
    symlink(&mine, &log).unwrap();
    let proxy = draft.start();
    must_relay(&proxy);
    eventually("the record", || fs::metadata(&mine).unwrap().len() > 0);
    fs::remove_file(&log).unwrap();
    symlink(&secret, &log).unwrap();
    if lchown(&log, Some(65_534), Some(65_534)).is_err() {
        return; // Only root can create files of another user.
    }
    proxy.signal(Signal::USR1);
    proxy.log_line(|line| line.contains("a symbolic link of another user"));
    let before = fs::metadata(&mine).unwrap().len();
    must_relay(&proxy);
    eventually("the record in the old file", || {
        fs::metadata(&mine).unwrap().len() > before
    });
    assert_eq!(fs::read_to_string(&secret).unwrap(), "of somebody");
}

#[test]
fn development_certificates_are_created_in_a_private_directory() {
    let directory = Directory::new();
    let out = directory.join("out").display().to_string();
    let make = |name: &str| {
        let words = [
            "-c",
            "umask 0; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_reseal"),
        ];
        let mut arguments = words.to_vec();
        arguments.extend(["certs", "--out", &out, name]);
        output("sh", &arguments, "")
    };
    make("a.test").must_exit_with(0);
    assert_eq!(mode(&out), 0o755);
    if lchown(format!("{out}/ca.key"), Some(65_534), None).is_ok() {
        make("b.test")
            .must_exit_with(1)
            .must_print("belongs to another user");
    }
}
