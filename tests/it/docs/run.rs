//! The commands of each page run in their order, in one shell, as a reader pastes them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::page::{Block, blocks, pages, read, root};
use crate::harness::{Directory, Service, command};
use crate::interop;

/// A page that is being run.
struct Run {
    directory: Directory,
    /// A loopback address of its own, so that the ports of the page are free.
    address: [u8; 4],
    /// Addresses of the page, and where the services are that the test started instead.
    moved: Vec<(String, String)>,
    services: Vec<Service>,
}

impl Run {
    fn new(number: u8) -> Self {
        let [_, _, high, low] = std::process::id().to_be_bytes();
        Self {
            directory: Directory::new(),
            address: [127, 86 + number, high, low.max(1)],
            moved: Vec::new(),
            services: Vec::new(),
        }
    }

    /// Starts the service of a comment such as `origin: redis at 127.0.0.1:6380`.
    fn start(&mut self, origin: &str) {
        let (service, place) = origin.split_once(" at ").expect("`SERVICE at ADDRESS`");
        let directory = &self.directory;
        let service = match service {
            "redis" => interop::redis(directory, false),
            "mosquitto" => interop::mosquitto(directory, false),
            "postgresql" => interop::postgres(directory, false),
            _ => panic!("no such service: {service}"),
        };
        self.moved
            .push((place.to_owned(), format!("127.0.0.1:{}", service.port())));
        self.services.push(service);
    }

    /// The text with this run's addresses and directories in place of the page's.
    fn adapt(&self, text: &str) -> String {
        let own = self.address.map(|part| part.to_string()).join(".");
        let mut text = text.to_owned();
        for (n, (from, _)) in self.moved.iter().enumerate() {
            text = text.replace(from, &format!("\0{n}\0"));
        }
        text = text
            .replace("127.0.0.1", &own)
            .replace("\"*:", &format!("\"{own}:"));
        for (n, (_, to)) in self.moved.iter().enumerate() {
            text = text.replace(&format!("\0{n}\0"), to);
        }
        text = text.replace("$(pidof reseal)", "$(jobs -p)");
        let root = self.directory.path().display();
        for system in [
            "/run/reseal",
            "/etc/reseal",
            "/etc/letsencrypt",
            "/usr/share/reseal",
            "/var/log/reseal",
        ] {
            text = text.replace(system, &format!("{root}{system}"));
        }
        text
    }

    /// A line of the shell that waits until a port is listened on.
    fn wait(&self, port: u16) -> String {
        let address = u32::from_le_bytes(self.address);
        format!("listening {address:08X}:{port:04X}\n")
    }

    /// The output of the last block that ran.
    fn last_output(&self) -> String {
        let files = (0..1000).map(|number| self.directory.join(&format!("out-{number}")));
        let last = files.rev().find(|file| file.is_file());
        let text = last.and_then(|file| fs::read(file).ok());
        String::from_utf8_lossy(&text.unwrap_or_default()).into_owned()
    }

    fn script(&mut self, blocks: &[Block]) -> String {
        let mut script = String::from(PRELUDE);
        let mut previous = None;
        for (number, block) in blocks.iter().enumerate() {
            if let Some(origin) = block.mark("origin") {
                self.start(origin);
            }
            if let Some(file) = block.mark("file") {
                let name = format!("block-{number}");
                self.directory.write(&name, self.adapt(&block.text));
                writeln!(script, "install_file {name} {}", self.adapt(file)).unwrap();
            } else if block.is_run() {
                let text = self.adapt(&block.text);
                writeln!(script, "begin {number} {}\n", block.line).unwrap();
                match block.mark("fails") {
                    Some(_) => writeln!(
                        script,
                        "trap - ERR; set +e\n{text}status=$?; set -e; must_fail"
                    ),
                    None => writeln!(script, "{text}"),
                }
                .unwrap();
                previous = Some(number);
            } else if block.mark("prints").is_some() {
                let of = previous.expect("`prints` is behind commands");
                let name = format!("expected-{number}");
                self.directory.write(&name, self.adapt(&block.text));
                writeln!(script, "printed {of} {name} {}", block.line).unwrap();
            }
            for port in block.mark("wait").unwrap_or_default().split_whitespace() {
                script += &self.wait(port.parse().expect("a port"));
            }
        }
        script + "echo 'the page has ended' >&3\n"
    }
}

/// What the script of a page uses.
const PRELUDE: &str = include_str!("page.sh");

/// Whether every program is there that the page needs. One that is not Debian's is reported, and then nothing
/// runs.
fn has_programs(blocks: &[Block], path: &str) -> bool {
    let needed: BTreeSet<_> = blocks
        .iter()
        .filter_map(|block| block.mark("needs"))
        .collect();
    needed.into_iter().all(|program| {
        let found = std::env::split_paths(path).any(|directory| directory.join(program).is_file());
        if !found {
            println!("skipped: {program} is missing; scripts/test.sh installs it");
        }
        found
    })
}

/// Where programs are: Reseal's own directory first, environments of Python, and servers' directories.
fn search_path() -> String {
    let own = Path::new(env!("CARGO_BIN_EXE_reseal")).parent().unwrap();
    let python = ["openbao", "grpc", "psycopg"].map(|name| {
        root()
            .join("target")
            .join(name)
            .join("bin")
            .display()
            .to_string()
    });
    let system = std::env::var("PATH").unwrap();
    format!(
        "{}:{system}:/usr/sbin:/sbin:{}",
        own.display(),
        python.join(":")
    )
}

fn run(page: &str) {
    for program in ["openssl", "curl", "python3"] {
        let _ = command(program);
    }
    let number = PAGES.iter().position(|name| *name == page).unwrap();
    let mut run = Run::new(u8::try_from(number).unwrap());
    let blocks = blocks(&read(page));
    let path = search_path();
    if !has_programs(&blocks, &path) {
        return;
    }
    let script = run.script(&blocks);
    let file: PathBuf = run.directory.write("page.sh", script);
    run.directory.write(".curlrc", "no-progress-meter\n");
    let output = Command::new("timeout")
        .args(["--kill-after", "5", "100", "bash"])
        .arg(file)
        .current_dir(run.directory.path())
        .env("PATH", path)
        .env("CURL_HOME", run.directory.path())
        .env("REPOSITORY", root())
        .env_remove("RESEAL_CONFIG")
        .env("no_proxy", "*")
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let ended = output.status.success() && said.contains("the page has ended");
    assert!(
        ended,
        "{page}: {}: {said}\n{}",
        output.status,
        run.last_output()
    );
}

/// A test for each page with commands.
macro_rules! pages_with_commands {
    ($($name:ident: $page:literal,)*) => {
        /// The place of a page is the number of its loopback network.
        const PAGES: &[&str] = &[$($page),*];
        $(#[test] fn $name() { run($page); })*
    };
}

pages_with_commands! {
    the_tour_of_the_readme: "README.md",
    development_certificates: "certs/README.md",
    admin_socket: "docs/admin.md",
    command_line: "docs/commands.md",
    five_minute_start: "docs/start.md",
    install: "docs/install.md",
    metrics: "docs/metrics.md",
    reload: "docs/reload.md",
    upgrades: "docs/upgrades.md",
    fleet: "docs/fleet.md",
    audit: "docs/how-to/audit.md",
    certificates_by_acme: "docs/how-to/acme.md",
    certificates: "docs/how-to/certificates.md",
    client_ca: "docs/how-to/client-ca.md",
    grpc_and_http: "docs/how-to/grpc-http.md",
    load_balancer: "docs/how-to/load-balancer.md",
    night: "docs/how-to/night.md",
    one_port: "docs/how-to/one-port.md",
    passthrough: "docs/how-to/passthrough.md",
    postgresql: "docs/how-to/postgresql.md",
    redis_and_mqtt: "docs/how-to/redis-mqtt.md",
    remote_origin: "docs/how-to/remote-origin.md",
    vault: "docs/how-to/vault.md",
    moving_from_ghostunnel: "docs/moving/ghostunnel.md",
    moving_from_haproxy: "docs/moving/haproxy.md",
    moving_from_hitch: "docs/moving/hitch.md",
    moving_from_nginx: "docs/moving/nginx.md",
    moving_from_socat: "docs/moving/socat.md",
    moving_from_stunnel: "docs/moving/stunnel.md",
    moving_from_traefik: "docs/moving/traefik.md",
}

#[test]
fn every_page_with_commands_is_run() {
    let runs = |page: &String| blocks(&read(page)).iter().any(Block::is_run);
    let found: BTreeSet<_> = pages().into_iter().filter(runs).collect();
    let listed = PAGES.iter().map(|page| (*page).to_owned());
    assert_eq!(found, listed.collect());
}
