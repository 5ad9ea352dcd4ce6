//! Routes and certificates: what checking, starting, one change and a connection by SNI cost.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, CertifiedIssuer, Issuer, KeyPair, RsaKeySize};

use super::{Bench, routes_configs};
use crate::load::{CLIENTS, Client, Clients, end};
use crate::machine::{cpu, cpu_of_ended_children, memory, settle};
use crate::peers::{Peer, Running, Setting, free_address};
use crate::report::Results;

const CONNECTIONS: usize = 3000;

/// The numbers of routes, and whether each has an RSA certificate beside that with ECDSA.
const SIZES: [(usize, bool); 4] = [(10, false), (1000, false), (10_000, false), (1000, true)];

/// Routes, each with an own name and certificate.
pub(super) struct Site {
    pub(super) dir: PathBuf,
    pub(super) count: usize,
    pub(super) with_rsa: bool,
    ca: CertifiedIssuer<'static, KeyPair>,
}

pub(super) fn name(n: usize) -> String {
    format!("host-{n}.bench.test")
}

impl Site {
    fn new(dir: PathBuf, count: usize, with_rsa: bool) -> Self {
        fs::create_dir_all(dir.join("pairs")).expect("a directory of pairs");
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a CA");
        fs::write(dir.join("ca.pem"), ca.pem()).expect("the CA is written");
        let site = Self {
            dir,
            count,
            with_rsa,
            ca,
        };
        // To make one takes a tenth of a second.
        let rsa: Vec<_> = (0..if with_rsa { 8 } else { 0 })
            .map(|_| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048))
            .map(|key| key.expect("a key"))
            .collect();
        for n in 0..count {
            site.issue(n);
            if with_rsa {
                write_pair(&site.pair(n, "rsa"), n, &rsa[n % rsa.len()], &site.ca);
            }
        }
        site
    }

    /// The file of a certificate and its key.
    pub(super) fn pair(&self, n: usize, kind: &str) -> PathBuf {
        self.dir.join(format!("pairs/{n}.{kind}.pem"))
    }

    /// Issues an ECDSA certificate, the first or a new one.
    fn issue(&self, n: usize) {
        let key = KeyPair::generate().expect("a key");
        write_pair(&self.pair(n, "ecdsa"), n, &key, &self.ca);
    }

    fn case(&self) -> String {
        let kind = if self.with_rsa {
            "RSA + ECDSA"
        } else {
            "ECDSA"
        };
        format!("{} routes, {kind}", self.count)
    }
}

fn write_pair(file: &Path, n: usize, key: &KeyPair, ca: &Issuer<'_, KeyPair>) {
    let leaf = CertificateParams::new(vec![name(n)]).expect("a name");
    let leaf = leaf.signed_by(key, ca).expect("a certificate");
    let new = file.with_extension("new");
    let mut options = OpenOptions::new();
    let mut written = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .expect("a file");
    written
        .write_all((leaf.pem() + &key.serialize_pem()).as_bytes())
        .expect("a pair is written");
    fs::rename(&new, file).expect("it is renamed");
}

pub(super) fn measure(bench: &Bench<'_>, results: &mut Results) {
    for (count, with_rsa) in SIZES {
        let dir = bench.scratch.join(format!("routes-{count}-{with_rsa}"));
        let site = Site::new(dir, count, with_rsa);
        for peer in &bench.peers {
            measure_peer(bench, peer, &site, results);
        }
    }
}

fn measure_peer(bench: &Bench<'_>, peer: &Peer, site: &Site, results: &mut Results) {
    let setting = Setting {
        reloads: true,
        ..Setting::default()
    };
    let case = site.case();
    let address = free_address();
    let origin = bench.origins.plain;
    let Some(text) = routes_configs::text(peer.name, site, address, origin) else {
        return;
    };
    let clients = Clients::new(address, &site.dir);
    let began = Instant::now();
    let Some(running) = peer.run(&text, address, &site.dir, &case, &setting) else {
        return;
    };
    exchange(&clients, 0);
    let started = began.elapsed();
    settle(running.pid());
    let cpu_of_start = cpu(running.pid());
    let memory = memory(running.pid());
    let mut add = |what, figure| results.add(what, &case, peer.name, figure);

    let before = cpu_of_ended_children();
    let status = peer.check(&site.dir).status();
    assert!(status.is_ok_and(|status| status.success()), "{case}");
    add("check, CPU ms", (cpu_of_ended_children() - before) * 1e3);
    add("start, ms", started.as_secs_f64() * 1e3);
    add("start, CPU ms", cpu_of_start * 1e3);
    add("memory, MiB", memory / 1024.0);
    add(
        "connection by SNI, us",
        connections(&clients, &running, site.count),
    );

    let before = cpu(running.pid());
    let took = reload(peer, &running, &clients, site);
    settle(running.pid());
    add("reload, ms", took.as_secs_f64() * 1e3);
    add("reload, CPU ms", (cpu(running.pid()) - before) * 1e3);
}

/// The CPU of a connection, with all names in turn.
fn connections(clients: &Clients, running: &Running, count: usize) -> f64 {
    let next = AtomicUsize::new(0);
    let before = cpu(running.pid());
    clients.at_once(|| {
        for _ in 0..CONNECTIONS / CLIENTS as usize {
            // A stride that has no divisor in common with any of the sizes.
            exchange(clients, next.fetch_add(7919, Ordering::Relaxed) % count);
        }
    });
    (cpu(running.pid()) - before) * 1e6 / CONNECTIONS as f64
}

/// A request that an echo and a web server answer.
fn exchange(clients: &Clients, n: usize) {
    let name = name(n);
    end(answered(clients, &name));
}

fn answered(clients: &Clients, name: &str) -> Client {
    let mut client = clients.connect_to(name);
    let request = format!("GET / HTTP/1.0\r\nHost: {name}\r\n\r\n");
    client.write_all(request.as_bytes()).expect("a request");
    client.read_exact(&mut [0]).expect("a byte back");
    client
}

/// The time from a reload until the one new certificate is served.
fn reload(peer: &Peer, running: &Running, clients: &Clients, site: &Site) -> Duration {
    let changed = site.count / 2;
    let served = || {
        let client = answered(clients, &name(changed));
        let chain = client.conn.peer_certificates().expect("a chain");
        chain[0].to_vec()
    };
    let old = served();
    site.issue(changed);
    let began = Instant::now();
    peer.reload(running);
    while served() == old {
        assert!(began.elapsed() < Duration::from_secs(60), "no reload");
        thread::sleep(Duration::from_millis(10));
    }
    began.elapsed()
}
