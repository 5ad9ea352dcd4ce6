//! The Debian package, in a Debian root of its own.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use super::{Serving, Tree, can_use, forward_to, root, run};
use crate::harness::{Directory, ListenAddr, Origin, Stream, TIMEOUT, becomes_true, pki};

/// A Debian root without systemd, and packages of two versions.
struct Debian {
    tree: Tree,
    _directory: Directory,
}

impl Debian {
    /// `None` where the means are missing.
    fn make() -> Option<Self> {
        let has_builder = || {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let own = root().join("target/tools/bin");
            let found = std::env::split_paths(&path)
                .chain([own])
                .any(|directory| directory.join("cargo-deb").is_file());
            if !found {
                println!("skipped: cargo-deb is not installed; scripts/test.sh installs it");
            }
            found
        };
        if !can_use("target/debian-root.tar") || !has_builder() {
            return None;
        }
        let directory = Directory::new();
        let tree = Tree(directory.join("root"));
        fs::create_dir(&tree.0).unwrap();
        run(Command::new("tar")
            .args(["--extract", "--numeric-owner", "--file"])
            .arg(root().join("target/debian-root.tar"))
            .arg("--directory")
            .arg(&tree.0));
        run(Command::new(root().join("scripts/package.sh"))
            .args(["--profile", "dev", "--no-build", "--out"])
            .arg(directory.join("out"))
            .args(["--", "--fast", "--no-dbgsym"]));
        let package = fs::read_dir(directory.join("out")).unwrap();
        let package = package.map(|entry| entry.unwrap().path()).next().unwrap();
        fs::copy(&package, tree.at("one.deb")).unwrap();
        // The next version has another configuration, too.
        let unpacked = directory.join("unpacked");
        run(Command::new("dpkg-deb")
            .arg("-R")
            .arg(&package)
            .arg(&unpacked));
        for (file, from, to) in [
            ("DEBIAN/control", "\nVersion: ", "\nVersion: 1:"),
            ("etc/reseal/config.yaml", "127.0.0.1:8443", "127.0.0.1:8444"),
        ] {
            let text = fs::read_to_string(unpacked.join(file)).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(unpacked.join(file), text.replace(from, to)).unwrap();
        }
        run(Command::new("dpkg-deb")
            .args(["-Zgzip", "-z1", "--root-owner-group", "-b"])
            .arg(&unpacked)
            .arg(tree.at("two.deb")));
        Some(Self {
            tree,
            _directory: directory,
        })
    }

    /// Starts the installed program as the service does, with this configuration.
    fn start(&self, configuration: &str) -> (Serving, ListenAddr) {
        self.tree.write("etc/reseal/config.yaml", configuration);
        self.tree
            .sh("install -d -o reseal -g reseal -m 0755 /run/reseal");
        let user = self.tree.sh("echo $(id -u reseal):$(id -g reseal)");
        let arguments = ["/usr/bin/reseal", "run", "/etc/reseal/config.yaml"];
        let mut command = self.tree.command(user.trim(), &arguments);
        command.env("RUNTIME_DIRECTORY", "/run/reseal");
        let serving = Serving::start(command);
        let address = serving.listen_addr();
        (serving, address)
    }

    fn pid(&self) -> String {
        self.tree.sh("reseal ctl status | sed -n 's/^pid: //p'")
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        // A process that took over is nobody's child.
        let mut stop = self
            .tree
            .command("0:0", &["/usr/bin/reseal", "ctl", "stop"]);
        let _ = stop.output();
    }
}

/// Ends the load, also when the test fails.
struct Load<'a>(&'a AtomicBool);

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clients that come all the time, until the end of `body`. Each must be served. Their number.
fn under_load(address: &ListenAddr, body: impl FnOnce()) -> u64 {
    let ends = AtomicBool::new(false);
    let served = AtomicU64::new(0);
    let load = || {
        while !ends.load(Ordering::Relaxed) {
            let client = Stream::dial(address).expect("no connection is refused");
            client.must_echo(b"under load");
            client.end();
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..2).map(|_| scope.spawn(load)).collect();
        let load = Load(&ends);
        body();
        drop(load);
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
    served.into_inner()
}

#[test]
fn the_package_installs_serves_upgrades_under_load_and_leaves_nothing() {
    let Some(debian) = Debian::make() else {
        return;
    };
    let tree = &debian.tree;
    tree.sh("dpkg -i one.deb");
    what_is_installed(tree);
    a_renewed_certificate_is_readable_by_the_service(tree);
    let origin = Origin::echo();
    let own = format!("# edited\n{}", forward_to(origin.listen_addr()));
    let (mut serving, address) = debian.start(&own);
    let long = Stream::dial(&address).unwrap();
    long.must_echo(b"before");
    let old = debian.pid();
    let served = under_load(&address, || {
        tree.sh("RESEAL_TAKEOVER=yes dpkg --force-confdef -i two.deb");
        // The process has been replaced, and the old one serves what it had.
        assert_ne!(debian.pid(), old);
        long.must_echo(b"after");
    });
    assert!(served > 10, "{served}");
    long.end();
    assert_eq!(tree.read("etc/reseal/config.yaml"), own);
    assert!(
        tree.read("etc/reseal/config.yaml.dpkg-dist")
            .contains("8444")
    );

    tree.sh("dpkg -r reseal");
    assert!(!tree.has("usr/bin/reseal"));
    assert_eq!(tree.read("etc/reseal/config.yaml"), own);
    assert!(becomes_true(TIMEOUT, || Stream::dial(&address).is_err()));
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
    tree.sh("rm -r /etc/reseal/certs/* && dpkg -P reseal");
    assert!(!tree.has("etc/reseal"));
    assert!(!tree.read("etc/passwd").contains("reseal"));
    let left = tree.sh("find / -xdev -name '*reseal*' -not -path '/proc/*' -not -path '/run/*'");
    assert_eq!(left, "");
}

/// The files, the account, and a configuration that runs.
fn what_is_installed(tree: &Tree) {
    tree.sh("reseal check --strict");
    let account = tree.read("etc/passwd");
    let account = account.lines().find(|line| line.starts_with("reseal:"));
    assert!(
        account
            .unwrap()
            .ends_with(":/nonexistent:/usr/sbin/nologin")
    );
    assert_eq!(
        tree.sh("stat -c '%U:%G %a' /etc/reseal/certs").trim(),
        "root:reseal 750"
    );
    for file in [
        "usr/lib/systemd/system/reseal.service",
        "usr/lib/systemd/system/reseal.socket",
        "usr/lib/sysusers.d/reseal.conf",
        "usr/lib/tmpfiles.d/reseal.conf",
        "etc/logrotate.d/reseal",
        "usr/share/man/man1/reseal.1.gz",
        "usr/share/man/man1/reseal-ctl.1.gz",
        "usr/share/man/man5/reseal.yaml.5.gz",
        "usr/share/bash-completion/completions/reseal",
        "usr/share/zsh/vendor-completions/_reseal",
        "usr/share/fish/vendor_completions.d/reseal.fish",
        "usr/share/reseal/reseal.schema.json",
        "usr/share/doc/reseal/copyright",
    ] {
        assert!(tree.has(file), "{file}");
    }
    for example in [
        "vault",
        "passthrough",
        "upstream-tls",
        "database",
        "datapipe",
        "config",
    ] {
        let file = format!("/usr/share/doc/reseal/examples/{example}.yaml");
        tree.sh(&format!("reseal check --no-files {file}"));
    }
    let bill: serde_json::Value =
        serde_json::from_str(&tree.read("usr/share/reseal/reseal.cdx.json")).unwrap();
    let crates = bill["components"].as_array().unwrap().iter();
    let crates: BTreeSet<_> = crates.filter_map(|entry| entry["name"].as_str()).collect();
    assert!(
        crates.contains("rustls") && crates.contains("aws-lc-sys"),
        "{crates:?}"
    );
    assert!(
        !crates.contains("clap_derive") && !crates.contains("divan"),
        "{crates:?}"
    );
}

/// certbot's own files are for root alone.
fn a_renewed_certificate_is_readable_by_the_service(tree: &Tree) {
    let lineage = "/etc/letsencrypt/live/a.test";
    tree.sh(&format!(
        "mkdir -p {lineage} && chmod 0700 /etc/letsencrypt/live"
    ));
    let pair = pki().edge(&["a.test"]);
    tree.write(&format!("{lineage}/fullchain.pem"), &pair.cert);
    tree.write(&format!("{lineage}/privkey.pem"), &pair.key);
    let hook = format!("RENEWED_LINEAGE={lineage} /usr/share/reseal/certbot-deploy-hook");
    tree.sh(&hook);
    let modes =
        tree.sh("cd /etc/reseal/certs && stat -c '%n %U:%G %a' * .[!.]* 2>/dev/null || true");
    assert_eq!(
        modes.trim(),
        "a.test.key root:reseal 640\na.test.pem root:reseal 644"
    );
    tree.sh("rm -r /etc/letsencrypt");
}
