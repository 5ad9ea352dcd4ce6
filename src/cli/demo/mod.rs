//! `reseal demo`: every mode on loopback, with throw-away certificates and an origin of its own.

mod origin;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tempfile::TempDir;

use super::certs::Authority;
use super::exit::Exit;
use super::output::{eprint_line, print};
use super::start;
use crate::config::load::Source;
use crate::server::StopMode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Port for TLS [default: a free one]
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
    let setup = match Setup::new() {
        Ok(setup) => setup,
        Err(error) => {
            eprint_line(&format!("reseal: the demo cannot be set up: {error}"));
            return Exit::Internal;
        }
    };
    let source = match setup.source(args.port) {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    start::serve(source, StopMode::Immediate, |addresses| {
        let _ = print(&setup.instructions(addresses));
    })
}

/// The certificates, in a directory that is removed at the end, and the origins.
struct Setup {
    dir: TempDir,
    plain: SocketAddr,
    /// The origin of the route that demands a certificate. No other route leads to it.
    guarded: SocketAddr,
    tls_origin: SocketAddr,
}

impl Setup {
    fn new() -> io::Result<Self> {
        let mut setup = Self {
            dir: TempDir::with_prefix("reseal-demo-")?,
            plain: ([127, 0, 0, 1], 0).into(),
            guarded: ([127, 0, 0, 1], 0).into(),
            tls_origin: ([127, 0, 0, 1], 0).into(),
        };
        let authority = Authority::open_or_create(setup.dir.path())?;
        for name in NAMES.iter().chain(&["origin.test"]) {
            authority.server(setup.dir.path(), name)?;
        }
        authority.client(setup.dir.path(), "client")?;
        setup.plain = origin::plain()?;
        setup.guarded = origin::plain()?;
        // The passthrough route leaves TLS to this origin, so it needs a certificate of that name, too.
        let certificates = ["origin.test", "passthrough.test"].map(|name| {
            let file = |extension| setup.dir.path().join(format!("{name}.{extension}"));
            (name, file("pem"), file("key"))
        });
        setup.tls_origin = origin::tls(&certificates)?;
        Ok(setup)
    }

    /// Writes the configuration.
    fn source(&self, port: u16) -> Result<Source, Exit> {
        let path = self.dir.path().join("config.yaml");
        let text = self.configuration(port);
        if let Err(error) = fs::write(&path, &text) {
            eprint_line(&format!("reseal: {}: {error}", path.display()));
            return Err(Exit::Internal);
        }
        Ok(Source::File(path))
    }

    fn configuration(&self, port: u16) -> String {
        let certificates: String = NAMES
            .iter()
            .skip(1)
            .map(|name| format!("        - {{ cert: {name}.pem, key: {name}.key }}\n"))
            .collect();
        format!(
            "# The demo's configuration: all five modes. Its origins are in the process, and it removes its files.
process: {{ sandbox: off }}
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
      - {{ name: reencrypt, match: {{ sni: reencrypt.test }}, mode: reencrypt, upstream: tls }}
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
    routes: [{{ name: originate, mode: originate, upstream: tls }}]
upstreams:
  plain: {{ origins: [\"{plain}\"] }}
  guarded: {{ origins: [\"{guarded}\"] }}
  untouched: {{ origins: [\"{tls_origin}\"] }}
  tls:
    origins: [\"{tls_origin}\"]
    tls: {{ ca: ca.pem, server_name: origin.test }}
",
            plain = self.plain,
            guarded = self.guarded,
            tls_origin = self.tls_origin,
        )
    }

    /// The text with the commands to paste.
    fn instructions(&self, addresses: &[(Arc<str>, String)]) -> String {
        let mut tour = String::from(
            "Reseal is running with every mode on loopback. Paste these into another terminal:\n\n",
        );
        for (what, command) in self.commands(addresses) {
            tour.push_str(&format!("# {what}\n{command}\n"));
        }
        tour.push_str(&format!(
            "The configuration is {}. Below, one line for each connection; Ctrl-C ends the demo.\n\n",
            self.file("config.yaml")
        ));
        tour
    }

    /// Commands with what they show.
    fn commands(&self, addresses: &[(Arc<str>, String)]) -> [(&'static str, String); 9] {
        let at = |name: &str| {
            let mut addresses = addresses.iter();
            let found = addresses.find(|(endpoint, _)| **endpoint == *name);
            found.map_or_else(String::new, |(_, address)| address.clone())
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
        [
            (
                "passthrough: TLS goes to the origin untouched",
                curl("passthrough.test", ""),
            ),
            (
                "terminate: TLS ends here, the origin gets plaintext",
                curl("terminate.test", ""),
            ),
            (
                "reencrypt: TLS ends here, a new TLS connection goes to the origin",
                curl("reencrypt.test", ""),
            ),
            ("client certificate required", curl("mtls.test", &client)),
            (
                "without a client certificate: refused, no connection to the origin",
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
                "an unknown name is refused with an alert",
                format!(
                    "  openssl s_client -brief -connect {edge} -servername unknown.test </dev/null\n"
                ),
            ),
            (
                "the handshake in detail",
                format!(
                    "  openssl s_client -brief -connect {edge} -servername terminate.test -CAfile {} \
                     </dev/null\n",
                    ca.display()
                ),
            ),
        ]
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}
