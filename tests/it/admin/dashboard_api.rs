//! The dashboard without a browser: its parts, its stream of events, and `reseal ctl dashboard`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{Origin, Proxy, TIMEOUT, curl, eventually};

const READ: &str = "0b5e1e0f6a7c49d2b1a8c3d4e5f60718";

/// The head of a response, in lower case.
fn head_of(stream: &mut impl BufRead) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
    }
    head.to_ascii_lowercase()
}

/// A client that reads the stream of events.
fn events(proxy: &Proxy) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(proxy.admin_socket()).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream
        .write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    BufReader::new(stream)
}

/// The data of the next event of this name.
fn event(stream: &mut impl BufRead, name: &str) -> Value {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(
            stream.read_line(&mut line).unwrap(),
            0,
            "the stream has ended"
        );
        if line.trim() == format!("event: {name}") {
            line.clear();
            stream.read_line(&mut line).unwrap();
            return serde_json::from_str(line.strip_prefix("data: ").unwrap()).unwrap();
        }
    }
}

#[test]
fn the_page_has_a_strict_policy_and_no_outside_resource() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    for path in ["/", "/dashboard"] {
        let page = proxy.admin(path, &["-i"]);
        page.must_be(200);
        let (head, body) = page.body.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.contains("content-type: text/html"), "{head}");
        let policy = head
            .lines()
            .find_map(|line| line.strip_prefix("content-security-policy: "))
            .unwrap();
        for part in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "script-src 'self'",
        ] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(
            !policy.contains("unsafe-") && !policy.contains('*'),
            "{policy}"
        );
        for wanted in ["x-frame-options: deny", "x-content-type-options: nosniff"] {
            assert!(head.contains(wanted), "{head}");
        }
        assert!(body.contains("/dashboard/main.js"), "{body}");
    }
    proxy.admin("/dashboard/style.css", &[]).must_be(200);
    proxy.admin("/dashboard/main.js", &[]).must_be(200);
    for wrong in [
        "/dashboard/",
        "/dashboard/../status",
        "/dashboard/%2e%2e/status",
        "/dashboard/page/index.html",
        "/dashboard/main.js/",
        "/dashboard//main.js",
        "/Dashboard",
    ] {
        proxy.admin(wrong, &["--path-as-is"]).must_be(404);
    }
    proxy.admin("/dashboard", &["-d", ""]).must_be(405);
    proxy.admin("/events", &["-d", ""]).must_be(405);
    // The metrics listener has none of it.
    for path in ["/", "/dashboard", "/events", "/dashboard/main.js"] {
        assert_eq!(proxy.probe(path).status, 404, "{path}");
    }
}

#[test]
fn a_browser_asks_its_user_for_the_token_of_the_page() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .file("token", format!("read:{READ}\n"))
        .top("admin: { listen: \"127.0.0.1:0\", token_file: token }")
        .start();
    let at = |path: &str| format!("http://{}{path}", proxy.admin_listener("admin"));
    let refused = curl(&["-i", &at("/dashboard")]);
    refused.must_be(401);
    let head = refused.body.to_ascii_lowercase();
    assert!(head.contains("www-authenticate: basic realm="), "{head}");
    // A program is not asked for it, nor is a user by a request of the page.
    let refused = curl(&["-i", &at("/status")]);
    refused.must_be(401);
    let head = refused.body.to_ascii_lowercase();
    assert!(
        head.contains("www-authenticate: bearer") && !head.contains("basic"),
        "{head}"
    );
    let user = format!("anyone:{READ}");
    curl(&["-u", &user, &at("/dashboard")]).must_be(200);
    curl(&[&at("/events")]).must_be(401);
    curl(&[&at("/dashboard/main.js")]).must_be(401);
}

#[test]
fn the_stream_tells_what_changes() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let mut stream = events(&proxy);
    let head = head_of(&mut stream);
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert_eq!(event(&mut stream, "you")["role"], "all");
    assert_eq!(event(&mut stream, "status")["connections"], 0);
    let client = proxy.dial("forward");
    client.must_echo(b"live");
    while event(&mut stream, "status")["connections"] != 1 {}
    drop(client);
    while event(&mut stream, "status")["connections"] != 0 {}
}

#[test]
fn open_pages_are_bounded_and_take_no_place_of_other_clients() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let mut pages: Vec<_> = (0..16)
        .map(|_| {
            let mut page = events(&proxy);
            assert!(head_of(&mut page).starts_with("http/1.1 200"));
            page
        })
        .collect();
    let mut more = events(&proxy);
    assert!(head_of(&mut more).starts_with("http/1.1 503"));
    let metrics = proxy.metrics();
    let used = metrics.count("reseal_limit_used", &[("limit", "admin_connections")]);
    assert!(used < 16.0, "{used}");
    // Each is told, and a closed one makes room.
    for page in &mut pages {
        event(page, "status");
    }
    pages.clear();
    eventually("there is room again", || {
        head_of(&mut events(&proxy)).starts_with("http/1.1 200")
    });
}

/// A running `reseal ctl dashboard`.
struct Dashboard {
    child: Child,
    url: String,
}

impl Dashboard {
    fn of(place: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_reseal"))
            .args(["ctl", "--admin", place, "dashboard"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        Self {
            child,
            url: url.trim().to_owned(),
        }
    }

    /// The address without the token.
    fn origin(&self) -> &str {
        let path = self.url.match_indices('/').nth(2).unwrap().0;
        &self.url[..path]
    }

    /// Opens it: the head of the answer, the address that all paths are below, and the cookie.
    #[track_caller]
    fn open(&self) -> (String, String, String) {
        let opened = curl(&["-i", &self.url]);
        opened.must_be(303);
        let head = opened.body.to_ascii_lowercase();
        let header = |name: &str| {
            let mut lines = head.lines();
            let found = lines.find_map(|line| line.strip_prefix(name));
            found.unwrap_or_else(|| panic!("no {name} in {head}"))
        };
        let page = header("location: ");
        let place = page.strip_suffix("/dashboard").unwrap();
        let below = format!("{}{place}", self.origin());
        let cookie = header("set-cookie: ");
        assert!(cookie.contains(&format!("path={place}/;")), "{cookie}");
        let pair = cookie.split(';').next().unwrap().to_owned();
        (head.clone(), below, pair)
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ctl_dashboard_prints_a_loopback_address_that_works_once() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let mut dashboard = Dashboard::of(&format!("unix:{}", proxy.admin_socket()));
    let here = dashboard.origin().to_owned();
    assert!(here.starts_with("http://127.0.0.1:"), "{}", dashboard.url);
    // Without the cookie, nothing.
    for path in ["/dashboard", "/events", "/status", "/dashboard/main.js"] {
        curl(&[&format!("{here}{path}")]).must_be(403);
    }
    let wrong = format!("{here}/open/{}", "0".repeat(64));
    curl(&[&wrong]).must_be(403);
    let (head, below, pair) = dashboard.open();
    assert!(
        head.contains("httponly") && head.contains("samesite=strict"),
        "{head}"
    );
    curl(&[&dashboard.url]).must_be(403);
    let pair = format!("Cookie: {pair}");
    // Another server on loopback may see the cookie of its own path alone, and this one's only with its path.
    for path in ["/dashboard", "/events", "/status"] {
        curl(&["-H", &pair, &format!("{here}{path}")]).must_be(403);
    }
    let with = |path: &str, more: &[&str]| {
        let url = format!("{below}{path}");
        curl(&[&["-H", pair.as_str()][..], more, &[url.as_str()]].concat())
    };
    let page = with("/dashboard", &["-i"]);
    page.must_be(200);
    let head = page.body.to_ascii_lowercase();
    assert!(
        head.contains("frame-ancestors 'none'") && !head.contains("unsafe-"),
        "{head}"
    );
    assert_eq!(with("/status", &[]).must_be(200).json()["phase"], "serving");
    // A change comes from the page, and is logged with the user who opened it.
    let change = ["-d", "{\"level\":\"debug\"}"];
    with("/log-level", &change).must_be(403);
    let ours = format!("Origin: {here}");
    let from = |origin: &str| with("/log-level", &[&change[..], &["-H", origin]].concat()).status;
    assert_eq!(from("Origin: http://evil.test"), 403);
    assert_eq!(from("Origin: null"), 403);
    assert_eq!(from(&ours), 200);
    let host = ["-H", "Host: evil.test"];
    with("/status", &host).must_be(403);
    with("/status?a", &[]).must_be(400);
    with("/status", &["-X", "DELETE", "-H", &ours]).must_be(400);
    let line = proxy.log_line(|line| line.contains("\"change\":\"/log-level"));
    assert!(line.contains("\"by\":\"uid "), "{line}");

    let pid = Pid::from_raw(i32::try_from(dashboard.child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert_eq!(dashboard.child.wait().unwrap().code(), Some(0));
    assert!(TcpStream::connect(here.trim_start_matches("http://")).is_err());
}

#[test]
fn ctl_dashboard_passes_the_events_on() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let dashboard = Dashboard::of(&format!("unix:{}", proxy.admin_socket()));
    let (_, below, cookie) = dashboard.open();
    let here = dashboard.origin().trim_start_matches("http://");
    let place = below.strip_prefix(dashboard.origin()).unwrap();
    let mut stream = TcpStream::connect(here).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let request =
        format!("GET {place}/events HTTP/1.1\r\nHost: {here}\r\nCookie: {cookie}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    assert!(head_of(&mut stream).starts_with("http/1.1 200"));
    for _ in 0..3 {
        event(&mut stream, "status");
    }
}

#[test]
fn ctl_dashboard_without_a_process_says_so() {
    let nowhere = crate::harness::Directory::new();
    let place = format!("unix:{}", nowhere.join("none.sock").display());
    crate::harness::ctl(&["--admin", &place, "dashboard"], &[])
        .must_exit_with(1)
        .must_print("cannot connect");
}
