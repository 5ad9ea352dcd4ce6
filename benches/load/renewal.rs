//! What the renewal of one certificate costs a process that has very many.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::machine::cpu;

/// How many renewals are measured: the kernel counts in hundredths of a second.
const RENEWALS: usize = 20;

/// How the certificates are named in the configuration.
const SHAPES: [&str; 2] = ["one directory, one route", "a file and a route each"];

/// Prints the CPU of one renewal among `count` certificates.
pub(crate) fn print(count: usize, scratch: &Path) {
    for shape in SHAPES {
        let milliseconds = measure(count, shape, &scratch.join(shape.replace(' ', "-")));
        println!("renewal of 1 of {count} certificates, {shape}: {milliseconds:.1} ms of CPU");
    }
}

fn measure(count: usize, shape: &str, scratch: &Path) -> f64 {
    let pairs = scratch.join("pairs");
    fs::create_dir_all(&pairs).expect("a directory of pairs");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(ca, KeyPair::generate().expect("a key")).expect("a CA");
    let name = |n: usize| format!("host-{n}.bench.test");
    let key = KeyPair::generate().expect("a key");
    let issue = |n: usize| {
        let leaf = CertificateParams::new(vec![name(n)]).expect("a name");
        let leaf = leaf.signed_by(&key, &ca).expect("a certificate");
        let text = format!("{}{}", leaf.pem(), key.serialize_pem());
        fs::write(pairs.join("new"), text).expect("a pair is written");
        // As renewals should be: the file is whole at every moment.
        fs::rename(pairs.join("new"), pairs.join(format!("{n}.pem"))).expect("it is renamed");
    };
    for n in 0..count {
        issue(n);
        let file = pairs.join(format!("{n}.key"));
        fs::write(file, key.serialize_pem()).expect("a key is written");
    }
    let config = scratch.join("config.yaml");
    fs::write(&config, configuration(count, shape, &pairs, name)).expect("a configuration");
    let mut process = Command::new(env!("CARGO_BIN_EXE_reseal"))
        .args(["run", "--config"])
        .arg(&config)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("reseal runs");
    let log = process.stderr.take().expect("its log");
    let (tell, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    wait(&lines, "listening");
    settle();
    let before = cpu(process.id());
    for n in 0..RENEWALS {
        issue(n * (count / RENEWALS));
        wait(&lines, "reloaded");
        settle();
    }
    let spent = cpu(process.id()) - before;
    process.kill().expect("it can be killed");
    let _ = process.wait();
    spent * 1000.0 / RENEWALS as f64
}

fn configuration(
    count: usize,
    shape: &str,
    pairs: &Path,
    name: impl Fn(usize) -> String,
) -> String {
    let mut certificates = String::new();
    let mut routes = String::new();
    let pairs = pairs.display();
    if shape == SHAPES[0] {
        certificates = format!("{{ dir: \"{pairs}\" }}");
        let names: Vec<_> = (0..count).map(&name).collect();
        let names = names.join(", ");
        routes =
            format!("{{ name: all, match: {{ sni: [{names}] }}, mode: terminate, upstream: up }}");
    } else {
        for n in 0..count {
            let _ = write!(certificates, "{{ cert: \"{pairs}/{n}.pem\" }}, ");
            let _ = write!(
                routes,
                "{{ name: r{n}, match: {{ sni: {} }}, mode: terminate, upstream: up }}, ",
                name(n)
            );
        }
    }
    format!(
        "process: {{ reload: {{ debounce: 20ms }}, key_permissions: warn }}
log: {{ format: json }}
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    tls: {{ certificates: [{certificates}] }}
    routes: [{routes}]
upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"] }} }}
"
    )
}

/// Waits for a line of the log.
fn wait(lines: &Receiver<String>, what: &str) {
    let mut seen = Vec::new();
    loop {
        let line = lines.recv_timeout(Duration::from_secs(120));
        assert!(line.is_ok(), "no line with {what} after {seen:?}");
        let line = line.unwrap_or_default();
        if line.contains(what) {
            return;
        }
        seen.push(line);
    }
}

/// Until all that follows a reload is done.
fn settle() {
    thread::sleep(Duration::from_millis(300));
}
