//! `reseal demo`: every mode on loopback, with throw-away certificates and an origin of its own.

mod origin;

use std::fs;
use std::io;
use std::net::SocketAddr;

use tempfile::TempDir;

use super::certs::Authority;
use super::{Exit, eprint_line, print, start};
use crate::config::load::Source;
use crate::server::{Server, StopMode};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The port for TLS [default: one that is free]
    #[arg(
        long,
        value_name = "PORT",
        default_value_t = 0,
        hide_default_value = true
    )]
    port: u16,
}

const NAMES: [&str; 4] = [
    "passthrough.test",
    "terminate.test",
    "reencrypt.test",
    "mtls.test",
];

pub(super) fn main(args: &Args) -> Exit {
    let scene = match Setup::set() {
        Ok(scene) => scene,
        Err(error) => {
            eprint_line(&format!("reseal: the demo cannot be set up: {error}"));
            return Exit::Internal;
        }
    };
    match scene.open(args.port) {
        Ok(server) => {
            let _ = print(&scene.instructions(&server));
            start::serve(server, StopMode::None)
        }
        Err(exit) => exit,
    }
}

/// A directory with certificates, removed at the end, and the origins.
struct Setup {
    dir: TempDir,
    plain: SocketAddr,
    /// Of the route that demands a certificate: nobody comes to it by another one.
    guarded: SocketAddr,
    sealed: SocketAddr,
}

impl Setup {
    fn set() -> io::Result<Self> {
        let mut scene = Self {
            dir: TempDir::with_prefix("reseal-demo-")?,
            plain: ([127, 0, 0, 1], 0).into(),
            guarded: ([127, 0, 0, 1], 0).into(),
            sealed: ([127, 0, 0, 1], 0).into(),
        };
        let authority = Authority::open_or_create(scene.dir.path())?;
        for name in NAMES.iter().chain(&["origin.test"]) {
            authority.server(scene.dir.path(), name)?;
        }
        authority.client(scene.dir.path(), "client")?;
        scene.plain = origin::plain()?;
        scene.guarded = origin::plain()?;
        // The passthrough route hands the client's TLS to this origin, so it must have that name, too.
        let certificates = ["origin.test", "passthrough.test"].map(|name| {
            let file = |extension| scene.dir.path().join(format!("{name}.{extension}"));
            (name, file("pem"), file("key"))
        });
        scene.sealed = origin::sealed(&certificates)?;
        Ok(scene)
    }

    fn open(&self, port: u16) -> Result<Server, Exit> {
        let path = self.dir.path().join("config.yaml");
        let text = self.configuration(port);
        if let Err(error) = fs::write(&path, &text) {
            eprint_line(&format!("reseal: {}: {error}", path.display()));
            return Err(Exit::Internal);
        }
        start::server(Source::File(path))
    }

    fn configuration(&self, port: u16) -> String {
        let certificates: String = NAMES
            .iter()
            .skip(1)
            .map(|name| format!("        - {{ cert: {name}.pem, key: {name}.key }}\n"))
            .collect();
        format!(
            "# The demo's configuration: all five modes.
log: {{ level: warn }}
access_log: {{ format: text }}
endpoints:
  - name: edge
    listen: 127.0.0.1:{port}
    tls:
      certificates:
{certificates}    routes:
      - {{ name: passthrough, match: {{ sni: passthrough.test }}, mode: passthrough, upstream: untouched }}
      - {{ name: terminate, match: {{ sni: terminate.test }}, mode: terminate, upstream: plain }}
      - {{ name: reencrypt, match: {{ sni: reencrypt.test }}, mode: reencrypt, upstream: sealed }}
      - name: mtls
        match: {{ sni: mtls.test }}
        mode: terminate
        client_auth: {{ mode: required, ca: ca.pem }}
        upstream: guarded
  - name: forward
    listen: 127.0.0.1:0
    protocol: tcp
    routes: [{{ name: forward, mode: forward, upstream: plain }}]
  - name: originate
    listen: 127.0.0.1:0
    protocol: tcp
    routes: [{{ name: originate, mode: originate, upstream: sealed }}]
upstreams:
  plain: {{ origins: [\"{plain}\"] }}
  guarded: {{ origins: [\"{guarded}\"] }}
  untouched: {{ origins: [\"{sealed}\"] }}
  sealed:
    origins: [\"{sealed}\"]
    tls: {{ ca: ca.pem, server_name: origin.test }}
",
            plain = self.plain,
            guarded = self.guarded,
            sealed = self.sealed,
        )
    }

    /// What to try, as commands to paste.
    fn instructions(&self, server: &Server) -> String {
        let at = |name: &str| {
            server
                .addresses()
                .into_iter()
                .find(|(endpoint, _)| **endpoint == *name)
                .map_or_else(String::new, |(_, address)| address)
        };
        let edge = at("edge");
        let port = edge.rsplit(':').next().unwrap_or_default().to_owned();
        let ca = self.dir.path().join("ca.pem");
        let curl = |name: &str, more: &str| {
            format!(
                "  curl --cacert {} --resolve {name}:{port}:127.0.0.1 {more}https://{name}:{port}/\n",
                ca.display()
            )
        };
        let client = format!(
            "--cert {} --key {} ",
            self.file("client.pem"),
            self.file("client.key")
        );
        let mut tour = String::from(
            "Reseal is running with every mode on loopback. Paste these into another terminal:\n\n",
        );
        for (what, command) in [
            (
                "passthrough: TLS goes to the origin unopened",
                curl("passthrough.test", ""),
            ),
            (
                "terminate: TLS ends here, the origin gets plaintext",
                curl("terminate.test", ""),
            ),
            (
                "reencrypt: TLS ends here, and another begins",
                curl("reencrypt.test", ""),
            ),
            ("client certificate required", curl("mtls.test", &client)),
            (
                "the same without one: refused, and the origin never hears of it",
                curl("mtls.test", ""),
            ),
            (
                "forward: plain on both sides",
                format!("  curl http://{}/\n", at("forward")),
            ),
            (
                "originate: plain from you, TLS to the origin",
                format!("  curl http://{}/\n", at("originate")),
            ),
            (
                "an unknown name is refused by an alert",
                format!(
                    "  openssl s_client -brief -connect {edge} -servername unknown.test </dev/null\n"
                ),
            ),
            (
                "the handshake in detail",
                format!(
                    "  openssl s_client -brief -connect {edge} -servername terminate.test -CAfile {} </dev/null\n",
                    ca.display()
                ),
            ),
        ] {
            tour.push_str(&format!("# {what}\n{command}\n"));
        }
        tour.push_str(&format!(
            "The configuration is {}. Below, one line for each connection; Ctrl-C ends the demo.\n\n",
            self.file("config.yaml")
        ));
        tour
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}
