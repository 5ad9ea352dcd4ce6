//! Code of this test runs inside of a proxy that serves, as code of an attacker would who has found a way in.
//! What the sandbox is for must fail there, and what the proxy needs must not.
//!
//! Without a test harness, since that starts threads before the sandbox: the program runs itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use rustix::net::SendFlags;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use socket2::{Domain, Protocol, Socket, Type};

/// Where the plan of a run is; set in the program that is the proxy.
const PLAN: &str = "RESEAL_ATTACK_PLAN";

const MSG_FASTOPEN: u32 = 0x2000_0000;
const IPPROTO_MPTCP: i32 = 262;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        if !has("--ignored") {
            println!("an_attacker_inside_of_the_process_reaches_nothing: test");
        }
        return ExitCode::SUCCESS;
    }
    if let Some(plan) = std::env::var_os(PLAN) {
        return be_the_proxy(&PathBuf::from(plan));
    }
    for mode in ["required", "best-effort"] {
        attack(mode);
    }
    ExitCode::SUCCESS
}

/// What the attacker tries, and what outcome is expected in `required` and in `best-effort`.
const EXPECTED: [(&str, bool, bool); 23] = [
    ("reads a file of the configuration", true, true),
    ("connects to the origin", true, true),
    ("starts a thread", true, true),
    ("signals itself", true, true),
    ("reads another file", false, true),
    ("lists another directory", false, true),
    ("connects to another port", false, true),
    ("connects with the first data", false, true),
    ("writes another file", false, false),
    ("writes the configuration", false, false),
    ("makes a file beside it", false, false),
    ("makes a directory", false, false),
    ("removes the configuration", false, false),
    ("executes a program", false, false),
    ("makes memory executable", false, false),
    ("listens on another port", false, false),
    ("connects past the rules on TCP", false, false),
    ("signals another process", false, false),
    ("traces another process", false, false),
    ("reads the memory of another process", false, false),
    ("takes a descriptor of another process", false, false),
    ("reaches an abstract socket", false, false),
    ("becomes root", false, false),
];

/// Starts a proxy in this mode that attacks from within, and compares what it could do.
fn attack(mode: &str) {
    let own = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let name = format!("reseal-attack-{}-{mode}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = UnixListener::bind_addr(&address).unwrap();
    fs::write(other.path().join("secret"), "of somebody").unwrap();
    let config = own.path().join("config.yaml");
    // A port of its own, since the kernel's choice would be any port.
    let listen = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let text = format!(
        "process: {{ sandbox: {mode} }}\nlog: {{ output: none }}\naccess_log: {{ output: none }}\n\
         endpoints: [{{ name: e, listen: \"{listen}\", protocol: tcp, routes: [{{ name: r, mode: forward, \
         upstream: u }}] }}]\nupstreams: {{ u: {{ origins: [\"{}\"] }} }}\n",
        origin.local_addr().unwrap()
    );
    fs::write(&config, text).unwrap();
    let mut victim = Command::new("sleep").arg("1000").spawn().unwrap();
    let plan = json!({
        "config": config,
        "other": other.path(),
        "origin": origin.local_addr().unwrap(),
        "elsewhere": elsewhere.local_addr().unwrap(),
        "abstract": name,
        "victim": victim.id(),
    });
    let plan_file = own.path().join("plan.json");
    fs::write(&plan_file, plan.to_string()).unwrap();
    let proxy = Command::new(std::env::current_exe().unwrap())
        .env(PLAN, &plan_file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let is_unharmed = victim.try_wait().unwrap().is_none();
    victim.kill().unwrap();
    victim.wait().unwrap();
    let output = String::from_utf8(proxy.stdout).unwrap();
    assert!(
        proxy.status.success(),
        "{mode}: {:?}\n{output}",
        proxy.status
    );
    assert!(is_unharmed, "{mode}: the other process has ended");
    let could: BTreeMap<String, String> = serde_json::from_str(&output).unwrap();
    println!("{mode}: {could:#?}");
    for (what, required, best_effort) in EXPECTED {
        let expected = if mode == "required" {
            required
        } else {
            best_effort
        };
        assert_eq!(
            could[what] == "done",
            expected,
            "{mode}: {what}: {}",
            could[what]
        );
    }
    assert_eq!(could.len(), EXPECTED.len());
}

/// Serves, attacks from a thread of its own once clients can connect, and stops.
fn be_the_proxy(plan: &Path) -> ExitCode {
    let plan: Value = serde_json::from_str(&fs::read_to_string(plan).unwrap()).unwrap();
    let config = PathBuf::from(plan["config"].as_str().unwrap());
    reseal::internals::serve(config, move |_| {
        // A second thread: what a worker would be.
        std::thread::spawn(move || {
            let could = tried(&plan);
            println!("{}", json!(could));
            let own = Pid::from_raw(std::process::id().cast_signed()).unwrap();
            let _ = kill_process(own, Signal::TERM);
        });
    })
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Tries everything; for each, `done`, or why not.
fn tried(plan: &Value) -> BTreeMap<&'static str, String> {
    let text = |key: &str| plan[key].as_str().unwrap();
    let address = |key: &str| text(key).parse::<SocketAddr>().unwrap();
    let config = Path::new(text("config"));
    let other = Path::new(text("other"));
    let victim = i32::try_from(plan["victim"].as_u64().unwrap()).unwrap();
    let victim = Pid::from_raw(victim).unwrap();
    let number = victim.as_raw_nonzero();
    let own = Pid::from_raw(std::process::id().cast_signed()).unwrap();
    let outcomes: [(&'static str, Outcome); 23] = [
        ("reads a file of the configuration", done(fs::read(config))),
        (
            "connects to the origin",
            done(TcpStream::connect(address("origin"))),
        ),
        (
            "starts a thread",
            done(std::thread::Builder::new().spawn(|| ())),
        ),
        (
            "signals itself",
            done(rustix::process::test_kill_process(own)),
        ),
        ("reads another file", done(fs::read(other.join("secret")))),
        ("lists another directory", done(fs::read_dir(other))),
        (
            "connects to another port",
            done(TcpStream::connect(address("elsewhere"))),
        ),
        (
            "connects with the first data",
            fast_open(address("elsewhere")),
        ),
        (
            "writes another file",
            done(fs::write(other.join("secret"), "x")),
        ),
        ("writes the configuration", done(fs::write(config, "x"))),
        (
            "makes a file beside it",
            done(fs::write(config.with_extension("new"), "x")),
        ),
        ("makes a directory", done(fs::create_dir(other.join("new")))),
        ("removes the configuration", done(fs::remove_file(config))),
        (
            "executes a program",
            done(Command::new("/bin/true").status()),
        ),
        ("makes memory executable", executable_memory()),
        (
            "listens on another port",
            listen_on_another(address("elsewhere")),
        ),
        (
            "connects past the rules on TCP",
            multipath(address("elsewhere")),
        ),
        (
            "signals another process",
            done(kill_process(victim, Signal::TERM)),
        ),
        ("traces another process", trace(victim)),
        (
            "reads the memory of another process",
            memory(&format!("/proc/{number}/mem")),
        ),
        ("takes a descriptor of another process", descriptor(victim)),
        ("reaches an abstract socket", reach(text("abstract"))),
        ("becomes root", become_root()),
    ];
    let why =
        |outcome: Outcome| outcome.map_or_else(|error| error.to_string(), |()| "done".to_owned());
    outcomes
        .into_iter()
        .map(|(what, outcome)| (what, why(outcome)))
        .collect()
}

fn done<T, E: std::error::Error + 'static>(result: Result<T, E>) -> Outcome {
    result.map(drop).map_err(Into::into)
}

/// Connects by sending, which asks no rule on connecting.
fn fast_open(to: SocketAddr) -> Outcome {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let flags = SendFlags::from_bits_retain(MSG_FASTOPEN);
    rustix::net::sendto(&socket, b"x", flags, &to)?;
    Ok(())
}

fn multipath(to: SocketAddr) -> Outcome {
    let socket = Socket::new(
        Domain::IPV4,
        Type::STREAM,
        Some(Protocol::from(IPPROTO_MPTCP)),
    )?;
    done(socket.connect(&to.into()))
}

/// A port beside one that is in use; several, since another may be, too.
fn listen_on_another(near: SocketAddr) -> Outcome {
    let mut last = Ok(());
    for step in 1..20 {
        let port = near.port().checked_sub(step).unwrap_or(2000);
        last = done(TcpListener::bind((near.ip(), port)));
        if last.is_ok() {
            break;
        }
    }
    last
}

fn memory(path: &str) -> Outcome {
    let mut file = fs::File::open(path)?;
    let mut byte = [0];
    done(file.read(&mut byte))
}

fn descriptor(of: Pid) -> Outcome {
    let process = rustix::process::pidfd_open(of, rustix::process::PidfdFlags::empty())?;
    let flags = rustix::process::PidfdGetfdFlags::empty();
    done(rustix::process::pidfd_getfd(process, 0, flags))
}

fn reach(name: &str) -> Outcome {
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    done(UnixStream::connect_addr(&address).and_then(|mut stream| stream.write_all(b"x")))
}

/// As root, whatever user runs this test.
fn become_root() -> Outcome {
    done(rustix::thread::set_thread_uid(rustix::process::Uid::ROOT))
}

#[allow(unsafe_code, reason = "no crate attaches to a process")]
fn trace(process: Pid) -> Outcome {
    // SAFETY: attaching reads and writes no memory of this process.
    let result = unsafe { libc::ptrace(libc::PTRACE_SEIZE, process.as_raw_nonzero().get(), 0, 0) };
    match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

#[allow(
    unsafe_code,
    reason = "memory is mapped in other ways by the standard library"
)]
fn executable_memory() -> Outcome {
    // SAFETY: a new mapping of a page that nothing else uses.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    match page {
        libc::MAP_FAILED => Err(std::io::Error::last_os_error().into()),
        _ => Ok(()),
    }
}
