//! `ctl trace`: the steps of chosen connections, as they happen.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use clap::ArgGroup;
use serde_json::{Value, json};

use super::cells::plain;
use super::place::Place;
use super::times::time;
use crate::cli::exit::Exit;

/// Which connections, and for how long.
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("which").required(true).args(["source", "sni", "id"])))]
pub(super) struct TraceArgs {
    /// Connections from this address
    #[arg(long, value_name = "IP")]
    source: Option<IpAddr>,
    /// Connections to this server name
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// One connection, by its id in `connections` and the access log
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// How long, such as 30s or 5m, at most 10m
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = time)]
    duration: Duration,
    /// How many connections it follows, at most 1000
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    connections: u64,
}

impl TraceArgs {
    fn body(&self, is_json: bool) -> Value {
        json!({
            "source": self.source,
            "sni": self.sni,
            "id": self.id,
            "seconds": self.duration.as_secs(),
            "connections": self.connections,
            "format": if is_json { "json" } else { "text" },
        })
    }
}

/// Prints the lines of a trace until it ends, or nobody reads them any more.
pub(super) fn run(place: &Place, args: &TraceArgs, is_json: bool) -> Result<(), (Exit, String)> {
    follow(place, args, is_json).map_err(|error| (Exit::Bad, error))
}

fn follow(place: &Place, args: &TraceArgs, is_json: bool) -> Result<(), String> {
    let mut rest = Vec::new();
    let print_lines = |bytes: &[u8]| {
        rest.extend_from_slice(bytes);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else {
            return true;
        };
        let lines: Vec<u8> = rest.drain(..=end).collect();
        // An empty line says that the process lives.
        let text = String::from_utf8_lossy(&lines);
        let lines = text.lines().filter(|line| !line.is_empty());
        let text: String = lines.map(|line| format!("{}\n", plain(line))).collect();
        let mut out = io::stdout().lock();
        let written = out.write_all(text.as_bytes());
        written.and_then(|()| out.flush()).is_ok()
    };
    let refused = place
        .resolve()?
        .follow("/trace", &args.body(is_json), print_lines)?;
    let Some(refused) = refused else {
        return Ok(());
    };
    let answer: Value = serde_json::from_slice(&refused.body).unwrap_or_default();
    let reason = answer.get("error").and_then(Value::as_str);
    Err(reason.map_or_else(|| format!("refused with status {}", refused.status), plain))
}
