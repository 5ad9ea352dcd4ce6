//! USR2: the process starts its own program, which takes over.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::{forwarding, served_by};
use crate::harness::{Origin, Proxy, TIMEOUT, becomes_true};

/// A proxy that was started by a symbolic link in its directory.
fn by_link(origin: &Origin) -> (Proxy, PathBuf) {
    let draft = forwarding(origin).top("process: { sandbox: off }");
    let link = PathBuf::from(draft.path("reseal"));
    symlink(env!("CARGO_BIN_EXE_reseal"), &link).unwrap();
    let start = "exec \"$0\" \"${@:2}\"";
    let proxy = draft
        .under(&["bash", "-c", start, link.to_str().unwrap()])
        .start();
    (proxy, link)
}

fn point(link: &PathBuf, program: &str) {
    std::fs::remove_file(link).unwrap();
    symlink(program, link).unwrap();
}

/// A process that the proxy has started, killed on drop.
struct Started(Pid);

impl Started {
    /// The one that answers at the admin socket, which must not be the proxy.
    #[track_caller]
    fn serving(proxy: &Proxy) -> Self {
        proxy.log_line(|line| line.contains("took over from"));
        let pid = i32::try_from(served_by(proxy)).unwrap();
        assert_ne!(u32::try_from(pid).unwrap(), proxy.pid());
        Self(Pid::from_raw(pid).unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn usr2_starts_the_program_that_is_there_now_and_a_broken_one_changes_nothing() {
    let origin = Origin::echo();
    let (mut proxy, link) = by_link(&origin);
    let good = proxy.text().to_owned();
    let must_go_on = |proxy: &mut Proxy, count: usize| {
        let ended = |line: &&String| line.contains("the new process has ended");
        let is_logged = || proxy.log().iter().filter(ended).count() == count;
        assert!(becomes_true(TIMEOUT, is_logged), "{:?}", proxy.log());
        assert_eq!(served_by(proxy), u64::from(proxy.pid()));
        proxy.dial("forward").must_echo(b"as before");
    };
    point(&link, "/bin/false");
    proxy.signal(Signal::USR2);
    must_go_on(&mut proxy, 1);
    point(&link, env!("CARGO_BIN_EXE_reseal"));
    proxy.directory().write("config.yaml", "endpoints: 7\n");
    proxy.signal(Signal::USR2);
    must_go_on(&mut proxy, 2);
    proxy.log_line(|line| line.contains("exit status: 2"));
    proxy.directory().write("config.yaml", &good);
    let client = proxy.dial("forward");
    client.must_echo(b"before");
    proxy.signal(Signal::USR2);
    let started = Started::serving(&proxy);
    client.must_echo(b"through the old one");
    drop(client);
    assert_eq!(proxy.exit_code(), 0);
    proxy.dial("forward").must_echo(b"through the new one");
    drop(started);
}

#[test]
fn usr2_in_a_sandbox_is_ignored_with_a_warning_and_a_takeover_by_hand_works() {
    let origin = Origin::echo();
    let mut proxy = forwarding(&origin).start();
    proxy.signal(Signal::USR2);
    proxy.log_line(|line| line.contains("in a sandbox a process may start no program"));
    let new = proxy.successor(proxy.text());
    assert_eq!(proxy.exit_code(), 0);
    new.dial("forward").must_echo(b"through the new one");
}

/// It takes a minute: `scripts/takeover.sh` runs it.
#[test]
#[ignore = "waits for the limit of a minute"]
fn a_program_that_hangs_is_killed_and_changes_nothing() {
    let origin = Origin::echo();
    let (mut proxy, link) = by_link(&origin);
    let hangs = proxy
        .directory()
        .write_with_mode("hangs", "#!/bin/sh\nexec sleep 600\n", 0o700);
    point(&link, hangs.to_str().unwrap());
    proxy.signal(Signal::USR2);
    let is_killed = || {
        let log = proxy.log();
        log.iter()
            .any(|line| line.contains("has not taken over in time and is killed"))
    };
    assert!(
        becomes_true(Duration::from_secs(90), is_killed),
        "{:?}",
        proxy.log()
    );
    assert_eq!(served_by(&proxy), u64::from(proxy.pid()));
    proxy.dial("forward").must_echo(b"as before");
    assert!(proxy.is_running());
}

#[test]
fn usr2_without_an_admin_socket_is_ignored_with_a_warning() {
    let origin = Origin::echo();
    let off = "process: { sandbox: off }";
    let mut proxy = Proxy::builder().forward(&origin).top(off).start();
    proxy.signal(Signal::USR2);
    proxy.log_line(|line| line.contains("USR2 is ignored"));
    proxy.dial("forward").must_echo(b"as before");
    assert!(proxy.is_running());
}
