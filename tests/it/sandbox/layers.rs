//! Which layers hold, and what happens where the kernel has none.

use super::{json, layers, of_threads, required};
use crate::harness::{ConfigCheck, Origin, Proxy, finish_under};

/// Runs a program in which one system call fails as on a kernel that does not have it.
const WITHOUT: &str = "
import ctypes, os, struct, sys
number, program = int(sys.argv[1]), sys.argv[2:]
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (6, 0, 0, 0x50026), (6, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
class Filter(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('steps', ctypes.c_void_p)]
filter = Filter(len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(filter), 0, 0) == 0
os.execvp(program[0], program)
";

fn without(number: libc::c_long) -> [String; 4] {
    ["python3", "-c", WITHOUT, &number.to_string()].map(str::to_owned)
}

fn config(sandbox: &str) -> String {
    format!(
        "process: {{ sandbox: {sandbox} }}\n\
         log: {{ format: json }}\n\
         endpoints: [{{ name: e, listen: \"127.0.0.1:0\", protocol: tcp, routes: [{{ name: r, mode: forward, \
         upstream: u }}] }}]\n\
         upstreams: {{ u: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
    )
}

#[test]
fn the_status_and_the_log_name_the_layers_that_hold() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { sandbox: best-effort }")
        .admin()
        .forward(&origin)
        .start();
    let [mode, landlock, seccomp, user] = layers(&proxy);
    assert_eq!((mode.as_str(), seccomp.as_str()), ("best-effort", "on"));
    assert!(
        landlock.starts_with("writing, executing, binding"),
        "{landlock}"
    );
    let line = json(&proxy.log_line(|line| line.contains("\"message\":\"sandbox\"")));
    assert_eq!(line["mode"], "best-effort");
    assert_eq!(line["landlock"], landlock.as_str());
    assert_eq!(
        (&line["seccomp"], &line["user"]),
        (&"on".into(), &user.as_str().into())
    );
    let text = proxy.ctl(&["status"]);
    text.must_print("landlock")
        .must_print("seccomp")
        .must_print("user");

    let proxy = required(&origin, "").start();
    let [mode, landlock, ..] = layers(&proxy);
    assert_eq!(mode, "required");
    for what in [
        "reading",
        "writing",
        "executing",
        "binding",
        "connecting",
        "signals",
    ] {
        assert!(landlock.contains(what), "{landlock}");
    }
    proxy.dial("forward").must_echo(b"x");

    let proxy = Proxy::builder()
        .top("process: { sandbox: off }")
        .admin()
        .forward(&origin)
        .start();
    let [mode, landlock, seccomp, _] = layers(&proxy);
    assert_eq!([mode, landlock, seccomp], ["off"; 3]);
    assert!(of_threads(&proxy, "Seccomp:").iter().all(|mode| *mode == 0));
}

/// With logs in files, each of which has a thread, and connections on all workers.
#[test]
fn every_thread_is_in_the_sandbox() {
    let origin = Origin::echo();
    let proxy = required(&origin, "")
        .top("access_log: { output: access.log }")
        .start();
    for _ in 0..8 {
        proxy.dial("forward").must_echo(b"x");
    }
    let threads = of_threads(&proxy, "Seccomp:");
    assert!(threads.len() >= 4, "{threads:?}");
    assert!(threads.iter().all(|mode| *mode == 2), "{threads:?}");
    let unprivileged = of_threads(&proxy, "NoNewPrivs:");
    assert!(unprivileged.iter().all(|set| *set == 1), "{unprivileged:?}");
}

#[test]
fn a_kernel_without_a_layer_is_refused_where_it_is_required_and_told_where_it_is_not() {
    for (number, layer, what) in [
        (
            libc::SYS_landlock_create_ruleset,
            "landlock",
            "this kernel has no Landlock",
        ),
        (libc::SYS_seccomp, "seccomp", "system calls"),
    ] {
        let launcher = without(number);
        let launcher: Vec<_> = launcher.iter().map(String::as_str).collect();
        let check = ConfigCheck::new(&config("required"));
        finish_under(&launcher, &check.path())
            .must_exit_with(2)
            .must_print("`process.sandbox: required`, but")
            .must_print(what);
        let mut command = std::process::Command::new(launcher[0]);
        command
            .args(&launcher[1..])
            .args([env!("CARGO_BIN_EXE_reseal"), "check", "--config"])
            .arg(check.path());
        crate::harness::finish(command, b"")
            .must_exit_with(0)
            .must_print(what)
            .must_print("would end with exit code 2");

        let origin = Origin::echo();
        let proxy = Proxy::builder()
            .top("process: { sandbox: best-effort }")
            .admin()
            .forward(&origin)
            .under(&launcher)
            .start();
        proxy.dial("forward").must_echo(b"x");
        let warned = proxy.log_line(|line| line.contains("a part of the sandbox is missing"));
        assert!(warned.contains("\"level\":\"warn\""), "{warned}");
        let status = proxy.ctl_json(&["status"]);
        let state = status[layer].as_str().unwrap();
        assert!(
            state.starts_with("missing: ") && state.contains(what),
            "{state}"
        );
    }
}

#[test]
fn ports_of_a_service_have_to_be_named_where_connecting_is_restricted() {
    let text = config("required").replace("127.0.0.1:9", "srv:_db._tcp.example.test");
    ConfigCheck::new(&text).must_report(
        "\"srv:",
        &["ports of a service", "also: { connect: [PORT] }"],
    );
    let room = "{ mode: required, also: { connect: [5432] } }";
    let text = text.replace("sandbox: required", &format!("sandbox: {room}"));
    ConfigCheck::new(&text).must_be_good();
}

#[test]
fn room_for_what_does_not_exist_is_warned_about() {
    let text = config("{ mode: required, also: { read: [/no/such/place] } }");
    ConfigCheck::new(&text).must_warn("/no/such", &["does not exist", "when Reseal starts"]);
}
