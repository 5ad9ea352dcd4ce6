//! Commands without a configuration file: `demo`, `forward`, and those that print.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{
    Directory, End, Lines, ListenAddr, Origin, Stream, TIMEOUT, finish, pki, reseal,
};

/// A serving command, killed on drop.
struct Serving {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Serving {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reseal"));
        command.args(arguments);
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        Self {
            child,
            stdout,
            stderr,
        }
    }

    /// The address that it reports.
    #[track_caller]
    fn listen_addr(&self) -> ListenAddr {
        let address = self.stderr.wait(TIMEOUT, |lines| {
            let line = lines.iter().find(|line| line.contains("\"listening\""))?;
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            Some(record["address"].as_str().unwrap().to_owned())
        });
        ListenAddr::parse(&address.expect("it says where it listens"))
    }

    /// One INT ends it at once, with exit code 0.
    #[track_caller]
    fn must_end_at_once(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

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
        let files = format!("/proc/{}/status", serving.child.id());
        let owner = std::fs::metadata(files).unwrap().uid();
        serving.must_end_at_once();
        owner
    };
    assert_eq!(owner(""), 0);
    assert_ne!(owner("1"), 0);
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn forward_relays_one_port() {
    let origin = Origin::echo();
    let to = origin.listen_addr().to_string();
    let serving = Serving::start(&["forward", "--listen", "127.0.0.1:0", "--to", &to]);
    let client = Stream::dial(&serving.listen_addr()).unwrap();
    client.must_echo(b"through");
    client.end();
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    let line = serving.stdout.wait(TIMEOUT, |lines| lines.pop());
    let line = line.expect("one line for the connection");
    assert!(
        line.contains("mode=forward") && line.contains("reason=ok"),
        "{line}"
    );
    serving.must_end_at_once();
}

#[test]
fn forward_limits_the_rate_and_delays_chunks() {
    let origin = Origin::echo();
    let to = origin.listen_addr().to_string();
    let serve = |more: &[&str]| {
        let words = ["forward", "--listen", "127.0.0.1:0", "--to", &to];
        Serving::start(&[&words[..], more].concat())
    };
    let echoes = |serving: &Serving, data: &[u8]| {
        let client = Stream::dial(&serving.listen_addr()).unwrap();
        let start = Instant::now();
        client.must_echo(data);
        start.elapsed()
    };
    let serving = serve(&["--rate", "64KiB/s"]);
    // A tenth of a second's worth is there at once.
    let took = echoes(&serving, &[1; 64 << 10]);
    assert!(took >= Duration::from_millis(850), "{took:?}");
    serving.must_end_at_once();
    let serving = serve(&["--delay", "300ms"]);
    let took = echoes(&serving, b"x");
    assert!(took >= Duration::from_millis(590), "{took:?}");
    serving.must_end_at_once();
}

#[test]
fn forward_terminates_and_originates_tls_by_its_flags() {
    let directory = Directory::new();
    let path = |name: &str| directory.join(name).display().to_string();
    let edge = pki().edge(&["a.test"]);
    directory.write("edge.pem", format!("{}{}", edge.cert, edge.key));
    for (name, text) in pki().files() {
        directory.write(name, text);
    }
    let origin = Origin::with_tls().echo();
    let to = format!("tls://{}", origin.listen_addr());
    let serving = Serving::start(&[
        "forward",
        "--listen",
        "tls://127.0.0.1:0",
        "--cert",
        &path("edge.pem"),
        "--to",
        &to,
        "--ca",
        &path("origin-ca.pem"),
        "--server-name",
        "origin.test",
    ]);
    let client = crate::harness::Client::new(&serving.listen_addr(), "a.test");
    let stream = client.without_sni().connect();
    stream.must_echo(b"TLS on both sides");
    serving.must_end_at_once();
}

#[test]
fn forward_shows_a_client_certificate_to_an_origin_that_requires_one() {
    let directory = Directory::new();
    let path = |name: &str| directory.join(name).display().to_string();
    let client = pki().client("forward");
    directory.write("client.pem", format!("{}{}", client.cert, client.key));
    for (name, text) in pki().files() {
        directory.write(name, text);
    }
    let origin = Origin::with_tls().requiring_certificate().echo();
    let to = format!("tls://{}", origin.listen_addr());
    let serving = Serving::start(&[
        "forward",
        "--listen",
        "127.0.0.1:0",
        "--to",
        &to,
        "--ca",
        &path("origin-ca.pem"),
        "--server-name",
        "origin.test",
        "--client-cert",
        &path("client.pem"),
    ]);
    let stream = Stream::dial(&serving.listen_addr()).unwrap();
    stream.must_echo(b"the origin has seen a certificate");
    serving.must_end_at_once();
}

#[test]
fn forward_names_missing_flags() {
    let to = ["--to", "127.0.0.1:1"];
    for (flags, what) in [
        (vec!["--listen", "tls://127.0.0.1:0"], "needs --cert"),
        (
            vec!["--listen", "127.0.0.1:0", "--client-ca", "x"],
            "needs --listen tls://",
        ),
        (
            vec!["--listen", "127.0.0.1:0", "--client-cert", "x"],
            "--client-cert needs --to tls://",
        ),
        (
            vec!["--listen", "127.0.0.1:0", "--ca", "x"],
            "needs --to tls://",
        ),
        (
            vec![
                "--listen",
                "tls://127.0.0.1:0",
                "--cert",
                "x",
                "--delay",
                "1s",
            ],
            "--delay is for tests of applications",
        ),
        (
            vec!["--listen", "127.0.0.1:0", "--rate", "10MB/s"],
            "write `10MiB/s`",
        ),
        (
            vec!["--listen", "127.0.0.1:0", "--rate", "0"],
            "would let nothing through",
        ),
        (
            vec!["--listen", "127.0.0.1:0", "--delay", "soon"],
            "is not a duration",
        ),
        (
            vec!["--listen", "nonsense"],
            "is not an address to listen on",
        ),
    ] {
        let arguments: Vec<_> = ["forward"].into_iter().chain(flags).chain(to).collect();
        reseal(&arguments).must_exit_with(2).must_print(what);
    }
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
