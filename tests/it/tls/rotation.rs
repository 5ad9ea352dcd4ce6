//! Certificates replaced under a running process, in every way that files are replaced.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::harness::{Identity, Origin, Proxy, becomes_true, eventually, noise, pki};

/// The number of rotations; `RESEAL_ROTATIONS` raises it.
fn rotations() -> usize {
    std::env::var("RESEAL_ROTATIONS").map_or(12, |text| text.parse().unwrap())
}

fn proxy(origin: &Origin, files: &str, lay: impl FnOnce(&Path, &Identity)) -> Proxy {
    let draft = Proxy::builder();
    lay(Path::new(&draft.path("")), &pki().edge(&["a.test"]));
    draft
        .yaml(&format!(
            "process: {{ reload: {{ debounce: 50ms }} }}
admin: {{ listen: unix:admin.sock }}
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls: {{ certificates: [{files}] }}
    routes: [{{ name: r, match: {{ sni: a.test }}, mode: terminate, upstream: o }}]
upstreams: {{ o: {{ origins: [\"{origin}\"] }} }}
"
        ))
        .start()
}

/// Writes a file that only its owner may read, as private keys require.
fn put(path: &Path, contents: &str) {
    create(path).write_all(contents.as_bytes()).unwrap();
}

fn create(path: &Path) -> File {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).unwrap()
}

fn put_pair(directory: &Path, identity: &Identity) {
    fs::create_dir_all(directory).unwrap();
    put(&directory.join("pair.pem"), &identity.cert);
    put(&directory.join("pair.key"), &identity.key);
}

/// Makes handshakes without pause until it is dropped; each must succeed.
struct Handshakes {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Handshakes {
    fn with(proxy: &Proxy) -> Self {
        let (stop, count) = (
            Arc::new(AtomicBool::new(false)),
            Arc::<AtomicUsize>::default(),
        );
        let client = proxy.client("a.test");
        let thread = thread::spawn({
            let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    // The client verifies chain, name and the proof of the key.
                    client.connect().must_echo(b"x");
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self {
            stop,
            count,
            thread: Some(thread),
        }
    }

    fn end(mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .take()
            .unwrap()
            .join()
            .expect("every handshake is good");
        self.count.load(Ordering::Relaxed)
    }
}

fn serves(proxy: &Proxy, identity: &Identity) -> bool {
    let leaf = identity.chain()[0].to_vec();
    proxy.client("a.test").connect().peer_certificate() == Some(leaf)
}

#[track_caller]
fn must_eventually_serve(proxy: &Proxy, identity: &Identity) {
    assert!(
        becomes_true(crate::harness::TIMEOUT, || serves(proxy, identity)),
        "{}",
        proxy.log().join("\n")
    );
}

#[test]
fn promise_5_a_pair_that_does_not_match_is_never_served_however_it_is_written() {
    let origin = Origin::echo();
    let proxy = proxy(&origin, "{ cert: pair.pem, key: pair.key }", put_pair);
    let handshakes = Handshakes::with(&proxy);
    let directory = proxy.directory().path().to_owned();
    for round in 0..rotations() {
        let next = pki().edge(&["a.test"]);
        let dice = noise(8, round as u64);
        let mut files = [
            ("pair.pem", next.cert.clone()),
            ("pair.key", next.key.clone()),
        ];
        if dice[0] & 1 == 1 {
            files.reverse();
        }
        for (n, (name, contents)) in files.iter().enumerate() {
            let path = directory.join(name);
            match dice[n + 1] % 3 {
                0 => put(&path, contents),
                1 => write_slowly(&path, contents),
                _ => {
                    let aside = directory.join(format!("{name}.new"));
                    put(&aside, contents);
                    fs::rename(&aside, &path).unwrap();
                }
            }
            if dice[3] & 1 == 1 && n == 0 {
                // Enough time to read the first file without the second.
                serves_for_a_while(&proxy);
            }
        }
        must_eventually_serve(&proxy, &next);
    }
    let count = handshakes.end();
    println!("{} rotations, {count} handshakes", rotations());
}

/// Makes a few handshakes.
fn serves_for_a_while(proxy: &Proxy) {
    for _ in 0..40 {
        proxy.client("a.test").connect().must_echo(b"x");
    }
}

/// Writes in pieces, as an editor or a copy over a network does.
fn write_slowly(path: &Path, contents: &str) {
    let mut file = create(path);
    for piece in contents.as_bytes().chunks(100) {
        file.write_all(piece).unwrap();
        file.flush().unwrap();
        thread::yield_now();
    }
}

#[test]
fn promise_5_a_swap_of_symbolic_links_is_one_change() {
    let origin = Origin::echo();
    let files = "{ cert: live/pair.pem, key: live/pair.key }";
    // In the layout of a kubelet.
    let proxy = proxy(&origin, files, |directory, identity| {
        let live = directory.join("live");
        put_pair(&live.join("..first"), identity);
        symlink("..first", live.join("..data")).unwrap();
        symlink("..data/pair.pem", live.join("pair.pem")).unwrap();
        symlink("..data/pair.key", live.join("pair.key")).unwrap();
    });
    let directory = proxy.directory().path().to_owned();
    let handshakes = Handshakes::with(&proxy);
    for round in 0..rotations() {
        let next = pki().edge(&["a.test"]);
        let data = directory.join("live").join(format!("..{round}"));
        put_pair(&data, &next);
        let swap = directory.join("live/..data_tmp");
        symlink(format!("..{round}"), &swap).unwrap();
        fs::rename(&swap, directory.join("live/..data")).unwrap();
        if round > 0 {
            fs::remove_dir_all(directory.join("live").join(format!("..{}", round - 1))).unwrap();
        }
        must_eventually_serve(&proxy, &next);
    }
    handshakes.end();
}

#[test]
fn a_renewal_without_a_name_that_a_route_needs_keeps_the_old_certificate_and_renews_the_others() {
    let origin = Origin::echo();
    let proxy = proxy(&origin, "{ dir: live }", |directory, identity| {
        put_pair(&directory.join("live"), identity);
    });
    let old = pki().edge(&["a.test"]);
    let directory = proxy.directory();
    put_pair(&directory.join("live"), &old);
    must_eventually_serve(&proxy, &old);
    put_pair(&directory.join("live"), &pki().edge(&["b.test"]));
    proxy.log_line(|line| line.contains("no certificate for `a.test` is there any more"));
    assert!(serves(&proxy, &old));
    // Nor does it vanish with its file.
    let generation = || proxy.ctl_json(&["status"])["generation"].as_u64();
    let before = generation();
    fs::remove_file(directory.join("live/pair.key")).unwrap();
    fs::remove_file(directory.join("live/pair.pem")).unwrap();
    let other = pki().edge(&["other.test"]);
    directory.write("live/other.key", &other.key);
    directory.write("live/other.pem", &other.cert);
    eventually("the change is noticed", || generation() > before);
    assert!(serves(&proxy, &old));
    let next = pki().edge(&["a.test"]);
    put_pair(&directory.join("live"), &next);
    must_eventually_serve(&proxy, &next);
}

#[test]
fn a_damaged_file_keeps_its_old_content_and_others_are_renewed() {
    let origin = Origin::echo();
    let proxy = proxy(&origin, "{ dir: live }", |directory, identity| {
        put_pair(&directory.join("live"), identity);
    });
    let old = pki().edge(&["a.test"]);
    let directory = proxy.directory();
    put_pair(&directory.join("live"), &old);
    must_eventually_serve(&proxy, &old);
    directory.write("live/pair.pem", "no certificate");
    proxy.log_line(|line| line.contains("its previous content stays in use"));
    assert!(serves(&proxy, &old));
    eventually("the failure is reported", || {
        let last = &proxy.ctl_json(&["status"])["last_reload"];
        let why = last["reasons"][0].as_str().unwrap_or_default();
        last["result"] == "partial" && why.contains("pair.pem")
    });
    // A new pair in the directory is served, a broken one is left out.
    let other = pki().edge(&["other.test"]);
    directory.write("live/other.key", &other.key);
    directory.write("live/other.pem", &other.cert);
    directory.write("live/broken.key", "nothing");
    directory.write("live/broken.pem", &other.cert);
    proxy.log_line(|line| line.contains("broken.key") && line.contains("it is left out"));
    assert!(serves(&proxy, &old));
}

#[test]
fn an_incomplete_or_damaged_renewal_keeps_the_old_certificate() {
    let origin = Origin::echo();
    let old = pki().edge(&["a.test"]);
    let proxy = proxy(&origin, "{ dir: live }", |directory, _| {
        put_pair(&directory.join("live"), &old);
    });
    let directory = proxy.directory();
    let live = directory.join("live");
    fs::remove_file(live.join("pair.key")).unwrap();
    proxy.log_line(|line| line.contains("pair.key") && line.contains("stays in use"));
    assert!(serves(&proxy, &old));
    // Two certificates joined on one line: reading only a part would lose one.
    let next = pki().edge(&["a.test"]);
    let joined = format!("{}{}", next.cert.trim_end(), pki().edge.pem());
    put(&live.join("pair.key"), &next.key);
    put(&live.join("pair.pem"), &joined);
    proxy.log_line(|line| line.contains("glued") && line.contains("stays in use"));
    assert!(serves(&proxy, &old));
    put_pair(&live, &next);
    must_eventually_serve(&proxy, &next);
}

#[test]
fn a_default_route_keeps_its_certificate_however_the_directory_changes() {
    let origin = Origin::echo();
    let draft = Proxy::builder();
    let live = PathBuf::from(draft.path("live"));
    let pair = |name: &str, identity: &Identity| {
        put(&live.join(format!("{name}.pem")), &identity.cert);
        put(&live.join(format!("{name}.key")), &identity.key);
    };
    fs::create_dir_all(&live).unwrap();
    pair("b-2025", &pki().edge(&["a.test"]));
    let proxy = draft
        .yaml(&format!(
            "process: {{ reload: {{ debounce: 50ms }} }}
admin: {{ listen: unix:admin.sock }}
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls: {{ certificates: [{{ dir: live }}] }}
    default_route: r
    routes: [{{ name: r, match: {{ sni: a.test }}, mode: terminate, upstream: o }}]
upstreams: {{ o: {{ origins: [\"{origin}\"] }} }}
"
        ))
        .start();
    let generation = || proxy.ctl_json(&["status"])["generation"].as_u64();
    let noticed = |what: &str, act: &dyn Fn()| {
        let before = generation();
        act();
        eventually(what, || generation() > before);
    };
    // The only pair, under another name, is still the only one.
    let only = pki().edge(&["a.test"]);
    noticed("it is renamed", &|| {
        pair("b-2026", &only);
        fs::remove_file(live.join("b-2025.key")).unwrap();
        fs::remove_file(live.join("b-2025.pem")).unwrap();
    });
    must_eventually_serve(&proxy, &only);
    // Other pairs neither replace it nor delay later changes.
    noticed("another joins", &|| pair("a", &pki().edge(&["other.test"])));
    noticed("and one more", &|| pair("c", &pki().edge(&["third.test"])));
    assert!(serves(&proxy, &only));
    let next = pki().edge(&["a.test"]);
    pair("b-2026", &next);
    must_eventually_serve(&proxy, &next);
}
