//! The dashboard in a real browser, where there is one: Debian's Chromium, driven by playwright-core.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::{Leaf, Origin, Proxy, pki};

const READ: &str = "0b5e1e0f6a7c49d2b1a8c3d4e5f60718";
const OPERATE: &str = "1b5e1e0f6a7c49d2b1a8c3d4e5f60718";

/// Between two messages of clients, so that they leave time for the browser.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// What the tests in a browser need, which scripts/test.sh installs.
struct Browser {
    chromium: PathBuf,
    node: PathBuf,
    modules: PathBuf,
}

impl Browser {
    /// `None` where it is not installed; the test is skipped then, and says so.
    fn find() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = root.join("target/browser");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = |name: &str| {
            let mut places = std::env::split_paths(&path).map(|directory| directory.join(name));
            places.find(|file| file.is_file())
        };
        let found = (program("chromium"), program("node"));
        let has_modules = modules.join("node_modules/playwright-core").is_dir();
        match found {
            (Some(chromium), Some(node)) if has_modules => Some(Self {
                chromium,
                node,
                modules,
            }),
            _ => {
                eprintln!("skipped: it needs chromium, node and target/browser (scripts/test.sh)");
                None
            }
        }
    }

    /// Runs a case of tests/browser/drive.mjs at this address. `step` does what the case asks for.
    #[track_caller]
    fn drive(&self, case: &str, url: &str, password: &str, mut step: impl FnMut(&str)) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let profile = crate::harness::Directory::new();
        let mut child = Command::new(&self.node)
            .arg(root.join("tests/browser/drive.mjs"))
            .arg(case)
            .env("URL_OF_PAGE", url)
            .env("PASSWORD", password)
            .env("MODULES", &self.modules)
            .env("CHROMIUM", &self.chromium)
            .env("PROFILE", profile.path())
            .env("SHOTS", screenshots(&profile))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let errors = crate::harness::Lines::of(child.stderr.take().unwrap());
        let mut is_done = false;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(what) = line.strip_prefix("next: ") {
                step(what);
                writeln!(stdin, "did it").unwrap();
            }
            is_done |= line == "done";
        }
        let status = child.wait().unwrap();
        assert!(
            is_done && status.success(),
            "{case}: {status}\n{}",
            errors.all().join("\n")
        );
    }
}

/// Where pictures are kept for people, or if another user made that place, nowhere.
fn screenshots(otherwise: &crate::harness::Directory) -> PathBuf {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dashboard");
    let is_ours = std::fs::create_dir_all(&place).is_ok()
        && std::fs::write(place.join(".written"), "").is_ok();
    if is_ours {
        place
    } else {
        otherwise.path().to_owned()
    }
}

/// `reseal ctl dashboard`, ended on drop.
struct Opened {
    child: Child,
    url: String,
}

impl Opened {
    #[track_caller]
    fn of(proxy: &Proxy) -> Self {
        let place = format!("unix:{}", proxy.admin_socket());
        let mut child = Command::new(env!("CARGO_BIN_EXE_reseal"))
            .args(["ctl", "--admin", &place, "dashboard"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut url).unwrap();
        Self {
            child,
            url: url.trim().to_owned(),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_dashboard_shows_live_traffic_filters_and_ends_connections() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: optional, ca: client-ca.pem }")
        .on_upstream("health: { check: tcp, interval: 1s }")
        .terminate("b.test", &origin)
        .terminate("*.wild.test", &origin)
        .top("acme: { le: { directory: \"https://127.0.0.1:1/dir\", state: state } }")
        .with_certificate("{ acme: le, names: [c.test] }")
        .admin()
        .start();
    let hostile = Leaf::client("x").common_name("<img src=x onerror=alert(1)>");
    let hostile = pki().clients.issue(&hostile);
    let hostile = proxy.client("a.test").certificate(&hostile).connect();
    let killed = proxy.client("b.test").connect();
    let busy = proxy.client("some.wild.test").connect();
    proxy.client("nobody.test").refusal();
    let opened = Opened::of(&proxy);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                busy.must_echo([b'x'; 4096]);
                hostile.must_echo(b"x");
                // It is ended meanwhile.
                let _ = killed.try_send(b"x");
                std::thread::sleep(PAUSE);
            }
        });
        let run = std::panic::AssertUnwindSafe(|| {
            browser.drive("operate", &opened.url, "", |_| {
                proxy.outcome_of(&killed).must_be("killed");
            });
        });
        let result = std::panic::catch_unwind(run);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
    });
}

/// An admin listener with tokens, and TLS, beside one live connection.
fn on_tcp(origin: &Origin) -> Proxy {
    let admin = pki().edge(&["127.0.0.1"]);
    Proxy::builder()
        .forward(origin)
        .file("token", format!("read:{READ}\noperate:{OPERATE}\n"))
        .file("admin.pem", format!("{}{}", admin.cert, admin.key))
        .top("admin: { listen: \"127.0.0.1:0\", token_file: token, tls: { cert: admin.pem } }")
        .start()
}

#[test]
fn with_a_read_token_the_dashboard_shows_everything_and_changes_nothing() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let origin = Origin::echo();
    let proxy = on_tcp(&origin);
    let client = proxy.dial("forward");
    client.must_echo(b"live");
    let url = format!("https://{}/dashboard", proxy.admin_listener("admin"));
    browser.drive("read", &url, READ, |what| panic!("{what}"));
    client.must_echo(b"still live");
    let line = proxy.log_line(|line| line.contains("\"change\":\"/log-level"));
    assert!(
        line.contains("\"by\":\"token read\"") && line.contains("403"),
        "{line}"
    );
}

#[test]
fn a_page_of_another_site_can_neither_read_nor_change_anything() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let origin = Origin::echo();
    let proxy = on_tcp(&origin);
    let url = format!("https://{}/dashboard", proxy.admin_listener("admin"));
    browser.drive("strange", &url, OPERATE, |what| panic!("{what}"));
    // And behind `ctl dashboard`, where a cookie admits.
    let local = Proxy::builder().forward(&origin).admin().start();
    let opened = Opened::of(&local);
    browser.drive("strange", &opened.url, "", |what| panic!("{what}"));
    for proxy in [&proxy, &local] {
        let changes = proxy
            .log()
            .into_iter()
            .filter(|line| line.contains("\"change\""));
        assert_eq!(changes.collect::<Vec<_>>(), Vec::<String>::new());
    }
}

#[test]
fn the_dashboard_says_when_the_process_is_gone_and_comes_back_by_itself() {
    let Some(browser) = Browser::find() else {
        return;
    };
    let origin = Origin::echo();
    let draft = || {
        Proxy::builder()
            .forward(&origin)
            .top("admin: { listen: \"unix:admin.sock\" }")
    };
    let mut running = Some(draft().start());
    let opened = Opened::of(running.as_ref().unwrap());
    let text = running.as_ref().unwrap().text().to_owned();
    let directory = running.as_ref().unwrap().directory().clone();
    browser.drive("gone", &opened.url, "", |what| match what {
        "stop the process" => drop(running.take()),
        "start the process" => running = Some(Proxy::again(&directory, &text)),
        other => panic!("{other}"),
    });
}
