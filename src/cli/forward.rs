//! `reseal forward`: one route from the command line. The flags become the text of a configuration,
//! which is loaded like any other.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::exit::Exit;
use super::flow::quoted;
use super::output::eprint_line;
use super::start;
use crate::config::load::Source;
use crate::server::StopMode;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Listening address: ADDRESS:PORT, or tls://ADDRESS:PORT to terminate TLS
    #[arg(long, value_name = "[tls://]ADDRESS")]
    listen: String,
    /// Origin: HOST:PORT, or tls://HOST:PORT to connect with TLS
    #[arg(long, value_name = "[tls://]HOST:PORT")]
    to: String,
    /// Certificate of a tls:// listener
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Key of the certificate [default: in the same file]
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Client certificate to show to a tls:// origin that asks for one
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Key of the client certificate [default: in the same file]
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
    /// CA of a tls:// origin [default: the public CAs]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// CA of client certificates on a tls:// listener [default: clients need no certificate]
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Name that the origin's certificate must have [default: its host]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Close a connection that is idle for this long
    #[arg(long, value_name = "DURATION", default_value = "10m")]
    idle: String,
    /// Maximum number of connections [default: what the descriptor limit allows]
    #[arg(long, value_name = "NUMBER")]
    max_connections: Option<u32>,
    /// Bytes per second in each direction, such as 1MiB/s, shared by all connections
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// Pass each chunk of at most 256 KiB on this much later, in both directions; not with --listen tls://
    #[arg(long, value_name = "DURATION")]
    delay: Option<String>,
}

pub(super) fn main(args: &Args) -> Exit {
    let text = match configuration(args) {
        Ok(text) => text,
        Err(invalid) => {
            eprint_line(&format!("reseal: {invalid}"));
            return Exit::Refused;
        }
    };
    let source = Source::Text {
        text,
        path: "(from the flags)".into(),
        dir: PathBuf::new(),
    };
    start::serve(source, StopMode::Immediate, |_| ())
}

/// The flags about TLS must fit the schemes of both addresses.
fn refuse_flags_without_tls(args: &Args) -> Result<(), String> {
    let (listen, terminates) = scheme(&args.listen);
    let (to, is_tls) = scheme(&args.to);
    if terminates && args.cert.is_none() {
        return Err("a tls:// listener needs --cert FILE (and --key FILE)".to_owned());
    }
    if terminates && args.delay.is_some() {
        return Err(
            "--delay is for tests of applications, and a tls:// listener has real clients: listen without \
             tls://"
                .to_owned(),
        );
    }
    for (given, flag) in [
        (args.cert.is_some(), "--cert"),
        (args.client_ca.is_some(), "--client-ca"),
    ] {
        if given && !terminates && flag == "--cert" && is_tls {
            return Err(format!(
                "--cert needs --listen tls://{listen}; a client certificate for the origin is \
                 --client-cert FILE"
            ));
        }
        if given && !terminates {
            return Err(format!("{flag} needs --listen tls://{listen}"));
        }
    }
    for (given, flag) in [
        (args.client_cert.is_some(), "--client-cert"),
        (args.ca.is_some(), "--ca"),
        (args.server_name.is_some(), "--server-name"),
    ] {
        if given && !is_tls {
            return Err(format!("{flag} needs --to tls://{to}"));
        }
    }
    Ok(())
}

fn configuration(args: &Args) -> Result<String, String> {
    let (listen, terminates) = scheme(&args.listen);
    let (to, is_tls) = scheme(&args.to);
    refuse_flags_without_tls(args)?;
    let mode = match (terminates, is_tls) {
        (true, true) => "reencrypt",
        (true, false) => "terminate",
        (false, true) => "originate",
        (false, false) => "forward",
    };
    let mut yaml = String::from("log: { level: info }\naccess_log: { format: text }\n");
    if let Some(max) = args.max_connections {
        let _ = writeln!(yaml, "process: {{ limits: {{ connections: {max} }} }}");
    }
    let _ = writeln!(
        yaml,
        "endpoints:\n  - name: forward\n    listen: {}",
        quoted(listen)
    );
    let _ = writeln!(yaml, "    timeouts: {{ idle: {} }}", quoted(&args.idle));
    if terminates {
        yaml.push_str("    protocol: tls\n    default_route: forward\n    tls:\n");
        push_tls(&mut yaml, args);
    } else {
        yaml.push_str("    protocol: tcp\n");
    }
    let _ = writeln!(
        yaml,
        "    routes:\n      - name: forward\n        mode: {mode}\n        upstream: origin"
    );
    if let Some(rate) = &args.rate {
        let rate = quoted(rate);
        let _ = writeln!(
            yaml,
            "        limits: {{ bandwidth: {{ up: &rate {rate}, down: *rate }} }}"
        );
    }
    if let Some(delay) = &args.delay {
        let _ = writeln!(yaml, "        delay: {{ chunk: {} }}", quoted(delay));
    }
    let _ = writeln!(yaml, "upstreams:\n  origin:\n    origins: [{}]", quoted(to));
    if is_tls {
        yaml.push_str("    tls:\n      alpn: forward\n");
        if let Some(cert) = &args.client_cert {
            let key = args.client_key.as_ref().unwrap_or(cert);
            let pair = cert_and_key(cert, key);
            let _ = writeln!(yaml, "      client_certificate: {pair}");
        }
        if let Some(ca) = &args.ca {
            let _ = writeln!(yaml, "      ca: {}", quote_path(ca));
        }
        if let Some(name) = &args.server_name {
            let _ = writeln!(yaml, "      server_name: {}", quoted(name));
        }
    }
    Ok(yaml)
}

fn cert_and_key(cert: &Path, key: &Path) -> String {
    format!("{{ cert: {}, key: {} }}", quote_path(cert), quote_path(key))
}

fn push_tls(yaml: &mut String, args: &Args) {
    if let Some(cert) = &args.cert {
        let key = args.key.as_ref().unwrap_or(cert);
        let pair = cert_and_key(cert, key);
        let _ = writeln!(yaml, "      certificates: [{pair}]");
    }
    if let Some(ca) = &args.client_ca {
        let _ = writeln!(
            yaml,
            "      client_auth: {{ mode: required, ca: {} }}",
            quote_path(ca)
        );
    }
}

fn scheme(text: &str) -> (&str, bool) {
    match text.strip_prefix("tls://") {
        Some(rest) => (rest, true),
        None => (text.strip_prefix("tcp://").unwrap_or(text), false),
    }
}

fn quote_path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}
