//! `reseal ctl`: queries and controls a running process.

mod address;
mod client;
mod place;
mod show;
mod trust;

use std::net::IpAddr;
use std::path::Path;

use clap::{ArgGroup, Subcommand, ValueEnum};
use serde_json::{Value, json};

use self::client::{LONG_TIMEOUT, Response, TIMEOUT};
pub(super) use self::place::Place;
use super::exit::Exit;
use super::output::{eprint_line, print};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    place: Place,
    /// Print the response as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Debug, Subcommand)]
enum CtlCommand {
    /// Show the status of the process
    Status,
    /// Reload the configuration
    Reload {
        /// Only show what a reload would change
        #[arg(long)]
        plan: bool,
    },
    /// Close an endpoint and let its connections finish, until a reload opens it again
    #[command(group(ArgGroup::new("which").required(true).args(["endpoint", "all"])))]
    Drain {
        /// Drain this endpoint; the process keeps running
        #[arg(long, value_name = "NAME")]
        endpoint: Option<String>,
        /// Drain all endpoints, then exit, as `stop` does
        #[arg(long)]
        all: bool,
    },
    /// Stop accepting, let existing connections finish, then exit
    Stop,
    /// List the live connections
    Connections,
    /// Close a connection
    Kill {
        /// Connection id, as in `connections` and the access log
        id: String,
    },
    /// List certificates, CAs and revocation lists with their expiry dates
    Certificates,
    /// Show the effective configuration
    Config,
    /// Show the log level, or change it until the next start
    LogLevel {
        /// error, warn, info, debug or trace
        level: Option<String>,
    },
    /// List origins and their state
    Origins,
    /// Show how full the limits of an endpoint are, and what happens to the next client
    Limits {
        /// Name of the endpoint
        endpoint: String,
        /// Name of a route, for its limits as well
        #[arg(long, value_name = "NAME")]
        route: Option<String>,
        /// Client's address, for the limits by source
        #[arg(long, value_name = "IP")]
        source: Option<IpAddr>,
    },
    /// Change how an origin is used, until its configuration changes or the process restarts
    Origin {
        /// Name of the upstream
        upstream: String,
        /// Name of the origin, for all of its addresses, or one address
        origin: String,
        /// The change
        action: OriginAction,
        /// New weight
        #[arg(required_if_eq("action", "weight"))]
        weight: Option<u32>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OriginAction {
    /// No new connections; existing ones may finish
    Drain,
    /// No new connections; existing ones are closed
    Disable,
    /// Back to the configured use
    Enable,
    /// A new weight
    Weight,
}

impl OriginAction {
    const fn word(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Weight => "weight",
        }
    }
}

impl CtlCommand {
    /// The path of the request, and its body; requests that change nothing have none.
    fn request(&self) -> (&'static str, Option<Value>) {
        match self {
            Self::Status => ("/status", None),
            Self::Connections => ("/connections", None),
            Self::Certificates => ("/certificates", None),
            Self::Config => ("/config", None),
            Self::Origins => ("/origins", None),
            Self::LogLevel { level: None } => ("/log-level", None),
            Self::LogLevel { level: Some(level) } => {
                ("/log-level", Some(json!({ "level": level })))
            }
            Self::Reload { plan } => ("/reload", Some(json!({ "plan": plan }))),
            Self::Drain { endpoint, .. } => ("/drain", Some(json!({ "endpoint": endpoint }))),
            Self::Stop => ("/stop", Some(json!({}))),
            Self::Kill { id } => ("/kill", Some(json!({ "id": id }))),
            Self::Limits {
                endpoint,
                route,
                source,
            } => {
                let body = json!({ "endpoint": endpoint, "route": route, "source": source });
                ("/limits", Some(body))
            }
            Self::Origin {
                upstream,
                origin,
                action,
                weight,
            } => {
                let mut body = json!({
                    "upstream": upstream,
                    "origin": origin,
                    "action": action.word(),
                });
                if let (OriginAction::Weight, Some(weight)) = (action, weight) {
                    body["weight"] = json!(weight);
                }
                ("/origin", Some(body))
            }
        }
    }

    fn show(&self, response: &Value) -> String {
        match self {
            Self::Connections => show::table(response, "connections", &show::CONNECTIONS),
            Self::Certificates => show::certificates(response),
            Self::Origins | Self::Origin { .. } => show::table(response, "origins", &show::ORIGINS),
            Self::Limits { .. } => show::table(response, "limits", &show::LIMITS),
            Self::Config => show::text(response, "yaml"),
            Self::LogLevel { .. } => format!("{}\n", show::text(response, "level")),
            Self::Reload { plan: true } => show::changes(response, "no changes"),
            Self::Reload { plan: false } => show::changes(
                response,
                "configuration unchanged; certificates and other files re-read",
            ),
            Self::Status | Self::Drain { .. } | Self::Stop | Self::Kill { .. } => {
                show::facts(response)
            }
        }
    }
}

impl Args {
    fn new(place: &Place, command: CtlCommand) -> Self {
        Self {
            place: place.clone(),
            json: false,
            command,
        }
    }
}

pub(super) fn main(args: &Args) -> Exit {
    match run(args) {
        Ok(text) => print(&text),
        Err(invalid) => {
            eprint_line(&format!("reseal: {invalid}"));
            Exit::Bad
        }
    }
}

/// What a reload would change in the process that runs `config` and has its admin socket at `place`, as text.
pub(super) fn plan(config: &Path, place: &Place) -> Result<String, String> {
    let status = query(&Args::new(place, CtlCommand::Status))?;
    if !is_of(&status, config) {
        let running = status.get("config").and_then(Value::as_str);
        let running = running.unwrap_or_default();
        return Err(format!(
            "the running process uses another file: {}",
            show::plain(running)
        ));
    }
    run(&Args::new(place, CtlCommand::Reload { plan: true }))
}

/// How full the limits of an endpoint and a route are in the process that runs `config`, for a client at this
/// address. `None` if no such process answers.
pub(super) fn limits(
    config: &Path,
    place: &Place,
    (endpoint, route): (&str, &str),
    source: Option<IpAddr>,
) -> Option<Vec<Value>> {
    let status = query(&Args::new(place, CtlCommand::Status)).ok()?;
    if !is_of(&status, config) {
        return None;
    }
    let command = CtlCommand::Limits {
        endpoint: endpoint.to_owned(),
        route: Some(route.to_owned()),
        source,
    };
    let response = query(&Args::new(place, command)).ok()?;
    response.get("limits")?.as_array().cloned()
}

/// Whether a process with this status runs this configuration file.
fn is_of(status: &Value, config: &Path) -> bool {
    let running = status.get("config").and_then(Value::as_str);
    let absolute = |path: &Path| std::fs::canonicalize(path).ok();
    absolute(Path::new(running.unwrap_or_default())) == absolute(config)
}

fn run(args: &Args) -> Result<String, String> {
    let response = query(args)?;
    Ok(if args.json {
        format!("{response:#}\n")
    } else {
        args.command.show(&response)
    })
}

fn query(args: &Args) -> Result<Value, String> {
    if let CtlCommand::Origin {
        action,
        weight: Some(_),
        ..
    } = &args.command
        && !matches!(action, OriginAction::Weight)
    {
        return Err(format!("`{}` takes no weight", action.word()));
    }
    let admin = args.place.resolve()?;
    let (path, body) = args.command.request();
    let limit = match args.command {
        CtlCommand::Reload { .. } => LONG_TIMEOUT,
        _ => TIMEOUT,
    };
    let Response { status, body } = admin.send(path, body.as_ref(), limit)?;
    let response: Value = serde_json::from_slice(&body).map_err(|_| {
        let address = &admin.address;
        format!("{address} did not respond as Reseal does (status {status})")
    })?;
    if status != 200 {
        let reason = response.get("error").and_then(Value::as_str);
        return Err(reason.map_or_else(|| format!("refused with status {status}"), show::plain));
    }
    Ok(response)
}
