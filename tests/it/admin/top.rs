//! `ctl top` in a terminal of tmux: what its screen shows, and what its keys do.

use std::process::Command;

use crate::harness::{Directory, Origin, Proxy, Stream, command, dead_address, eventually, finish};

/// A terminal with `ctl top` in it, which ends with this.
struct Screen {
    socket: String,
    _directory: Directory,
}

impl Screen {
    #[track_caller]
    fn open(proxy: &Proxy) -> Self {
        let directory = Directory::new();
        let screen = Self {
            socket: directory.join("tmux").display().to_string(),
            _directory: directory,
        };
        let top = format!(
            "'{}' ctl --admin 'unix:{}' top; echo \"exit code $?\"; exec sleep 1000",
            env!("CARGO_BIN_EXE_reseal"),
            proxy.admin_socket()
        );
        let size = ["new-session", "-d", "-x", "140", "-y", "30", &top];
        screen.tmux(&size);
        screen
    }

    fn tmux(&self, arguments: &[&str]) -> String {
        let mut tmux: Command = command("tmux");
        tmux.args(["-f", "/dev/null", "-S", &self.socket])
            .args(arguments);
        tmux.env("TERM", "xterm")
            .env_remove("TMUX")
            .env_remove("NO_COLOR");
        let finished = finish(tmux, b"");
        finished.must_exit_with(0);
        finished.stdout
    }

    fn press(&self, keys: &str) {
        self.tmux(&["send-keys", keys]);
    }

    fn write(&self, text: &str) {
        self.tmux(&["send-keys", "-l", text]);
    }

    fn text(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    /// Waits until the screen has all of these texts, and returns it.
    #[track_caller]
    fn wait_for(&self, texts: &[&str]) -> String {
        let mut screen = String::new();
        let what = format!("the screen shows {texts:?}");
        eventually(&what, || {
            screen = self.text();
            let missing = texts.iter().find(|text| !screen.contains(**text));
            missing
                .inspect(|text| eprintln!("no {text:?} in\n{screen}"))
                .is_none()
        });
        screen
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut tmux = command("tmux");
        tmux.args(["-S", &self.socket, "kill-server"]);
        let _ = tmux.output();
    }
}

fn connect(proxy: &Proxy, name: &str) -> Stream {
    let client = proxy.client(name).connect();
    client.must_echo(b"hello");
    client
}

#[test]
fn top_shows_connections_origins_and_failures_and_ends_a_connection_after_a_question() {
    let origin = Origin::echo();
    let (dead, _port) = dead_address();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .terminate("b.test", &origin)
        .terminate("c.test", &dead)
        .on_upstream("health: { check: tcp, interval: 100ms, fall: 1 }")
        .admin()
        .start();
    let (kept, ended) = (connect(&proxy, "a.test"), connect(&proxy, "b.test"));
    proxy.client("unknown.test").refusal();
    let screen = Screen::open(&proxy);
    let text = screen.wait_for(&[
        "a.test",
        "b.test",
        "origins 2 of 3 up",
        "down",
        "unknown_sni 1",
    ]);
    for part in [
        "reseal ",
        "serving",
        "live 2",
        "connections 2, by rate",
        "relay",
        "q quit",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    // Sorted by name, the other way round.
    for sort in ["bytes", "up", "down", "age", "idle", "source", "sni"] {
        screen.press("s");
        screen.wait_for(&[&format!("by {sort}")]);
    }
    screen.press("r");
    let text = screen.wait_for(&["by sni, reversed"]);
    let place = |name: &str| text.lines().position(|line| line.contains(name));
    assert!(
        place("a.test").is_some() && place("b.test").is_some(),
        "{text}"
    );
    screen.press("/");
    screen.write("sni=b.test");
    screen.wait_for(&["filter (such as", "sni=b.test_"]);
    screen.press("Enter");
    let text = screen.wait_for(&[
        "connections 1, by sni, reversed, filter sni=b.test",
        "q quit",
    ]);
    assert!(!text.contains("a.test"), "{text}");
    screen.press("k");
    screen.wait_for(&["end connection", "y/n"]);
    screen.press("n");
    screen.wait_for(&["q quit", "b.test"]);
    ended.must_echo(b"still here");
    screen.press("k");
    screen.wait_for(&["y/n"]);
    screen.press("y");
    proxy.outcome_of(&ended).must_be("killed");
    screen.wait_for(&["was ended", "connections 0"]);
    screen.press("Escape");
    screen.wait_for(&["connections 1", "a.test"]);
    for (pane, part) in [
        ("origins", "UPSTREAM"),
        ("routes", "LIVE"),
        ("failures", "unknown_sni"),
    ] {
        screen.press("Tab");
        screen.wait_for(&[pane, part]);
    }
    kept.must_echo(b"still here");
    screen.press("q");
    let text = screen.wait_for(&["exit code 0"]);
    assert!(
        !text.contains("q quit"),
        "the screen is as it was before:\n{text}"
    );
}

#[test]
fn top_says_when_the_process_is_gone_and_ends_with_an_interrupt() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let screen = Screen::open(&proxy);
    screen.wait_for(&["serving"]);
    drop(proxy);
    screen.wait_for(&["cannot connect to unix:"]);
    screen.press("C-c");
    screen.wait_for(&["exit code 0"]);
}

#[test]
fn without_a_terminal_top_says_what_is_for_scripts() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let refused = proxy.ctl(&["top"]);
    refused
        .must_exit_with(2)
        .must_print("needs a terminal")
        .must_print("ctl stats");
}
