//! `reseal ctl`: queries and controls a running process.

mod address;
mod ask;
mod cells;
mod client;
mod columns;
mod dashboard;
mod facts;
mod filter;
mod kill;
mod names;
mod place;
mod show;
mod tables;
mod times;
mod top;
mod trace;
mod trust;

use std::net::IpAddr;
use std::path::Path;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use self::ask::send;
use self::client::{LONG_TIMEOUT, TIMEOUT};
use self::filter::{FailureArgs, KillArgs, ListArgs};
use self::names::NamesArgs;
pub(super) use self::place::Place;
use self::top::TopArgs;
use self::trace::TraceArgs;
use super::exit::Exit;
use super::output::{eprint_line, print};
use super::paint::Paint;

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
    /// Show counters and rates by endpoint, route, origin and reason
    Stats {
        /// Do not wait a second for rates
        #[arg(long)]
        no_rates: bool,
    },
    /// Reload the configuration
    Reload {
        /// Only show what a reload would change
        #[arg(long)]
        plan: bool,
    },
    /// List the latest reloads, with what each has changed, or why not
    Reloads,
    /// Close an endpoint and let its connections finish, until `undrain` or a reload opens it again
    Drain {
        /// The endpoint; the process keeps running
        #[arg(long, value_name = "ENDPOINT")]
        endpoint: Option<String>,
        /// What `stop` does now
        #[arg(long, hide = true)]
        all: bool,
    },
    /// Open an endpoint again that was drained
    Undrain {
        /// The endpoint
        #[arg(long, value_name = "ENDPOINT")]
        endpoint: String,
    },
    /// Stop accepting, let existing connections finish, then exit
    Stop,
    /// List the live connections, those before their relay included
    Connections(ListArgs),
    /// Close a connection, or all that match
    Kill(KillArgs),
    /// List the latest failures, and what to do about them
    Failures(FailureArgs),
    /// Show every step of the connections of one source, server name or id, as they happen
    Trace(TraceArgs),
    /// Watch rates, connections, origins and failures live at a terminal
    Top(TopArgs),
    /// List certificates, CAs and revocation lists with their expiry dates
    Certificates,
    /// Order a certificate, and do not install it: `reseal acme try`
    #[command(hide = true)]
    TryOrder {
        /// Name of the certificate, or one of the hosts that it is for
        certificate: String,
    },
    /// Show the effective configuration
    Config,
    /// Show the log level, or change it until the next start
    LogLevel {
        /// error, warn, info, debug or trace
        level: Option<String>,
    },
    /// List origins and their state
    Origins {
        /// Show their latest checks and failures, too
        #[arg(long)]
        history: bool,
    },
    /// Serve the dashboard on loopback, until ctrl-C, and print an address for a browser that works once
    Dashboard {
        /// Port on 127.0.0.1 [default: one that is free]
        #[arg(
            long,
            value_name = "PORT",
            default_value_t = 0,
            hide_default_value = true
        )]
        port: u16,
    },
    /// Show how full the limits of an endpoint are, and what happens to the next client
    Limits {
        /// Name of the endpoint
        #[arg(value_name = "ENDPOINT")]
        endpoint: String,
        /// Name of a route, for its limits as well
        #[arg(long, value_name = "ROUTE")]
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
    /// Print names of the running process, for completions of the shell
    #[command(hide = true)]
    Names(NamesArgs),
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
            Self::Status | Self::Dashboard { .. } => ("/status", None),
            Self::Stats { no_rates } => ("/stats", Some(json!({ "rates": !no_rates }))),
            Self::Connections(args) => ("/connections", Some(args.body())),
            Self::Failures(args) => ("/failures", Some(args.body())),
            Self::Trace(_) => ("/trace", None),
            Self::Top(_) => ("/status", None),
            Self::Certificates => ("/certificates", None),
            Self::Config => ("/config", None),
            Self::TryOrder { certificate } => {
                ("/try-order", Some(json!({ "certificate": certificate })))
            }
            Self::Reloads => ("/reloads", None),
            Self::Origins { .. } => ("/origins", None),
            Self::LogLevel { level: None } => ("/log-level", None),
            Self::LogLevel { level: Some(level) } => {
                ("/log-level", Some(json!({ "level": level })))
            }
            Self::Reload { plan } => ("/reload", Some(json!({ "plan": plan }))),
            Self::Drain { endpoint, .. } => ("/drain", Some(json!({ "endpoint": endpoint }))),
            Self::Stop => ("/stop", Some(json!({}))),
            Self::Undrain { endpoint } => ("/undrain", Some(json!({ "endpoint": endpoint }))),
            Self::Kill(args) => ("/kill", Some(args.body())),
            Self::Names(_) => ("/origins", None),
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

    fn show(&self, response: &Value, paint: Paint) -> String {
        match self {
            Self::Status => show::status(response, paint),
            Self::Stats { .. } => show::stats(response, paint),
            Self::Connections(_) => show::connections(response, paint),
            Self::Failures(_) => show::failures(response, paint),
            Self::Certificates => show::certificates(response, paint),
            Self::Origins { history } => show::origins(response, *history, paint),
            Self::Origin { .. } => show::origins(response, false, paint),
            Self::Limits { .. } => show::limits(response, paint),
            Self::Config => facts::text(response, "yaml"),
            Self::Reloads => show::reloads(response, paint),
            Self::LogLevel { .. } => format!("{}\n", facts::text(response, "level")),
            Self::Reload { plan: true } => show::changes(response, "no changes", paint),
            Self::Reload { plan: false } => show::changes(
                response,
                "configuration unchanged; certificates and other files re-read",
                paint,
            ),
            Self::Trace(_) | Self::Top(_) => String::new(),
            Self::Kill(_) | Self::Drain { .. } | Self::Undrain { .. } | Self::Stop => {
                show::done(response)
            }
            Self::TryOrder { .. } => facts::text(response, "result") + "\n",
            Self::Names(_) | Self::Dashboard { .. } => String::new(),
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
    if let CtlCommand::Names(names) = &args.command {
        return print(&names::print(names, &args.place));
    }
    let good = |()| Exit::Good;
    let done = match &args.command {
        CtlCommand::Trace(trace) => trace::run(&args.place, trace, args.json).map(good),
        CtlCommand::Top(top) => top::run(&args.place, top).map(good),
        _ => complete(args).and_then(|()| match run(args, Paint::of_stdout()) {
            Ok(text) => Ok(print(&text)),
            Err(error) => Err((Exit::Bad, error)),
        }),
    };
    done.unwrap_or_else(|(exit, error)| {
        eprint_line(&format!("reseal: {}", cells::plain(&error)));
        exit
    })
}

/// Whether a command says enough to be carried out, by an answer at the terminal where it must.
fn complete(args: &Args) -> Result<(), (Exit, String)> {
    match &args.command {
        CtlCommand::Kill(kill) => kill::confirm(kill, |body| {
            let found = send(&args.place, "/connections", Some(&body), TIMEOUT)?;
            let matched = found.get("matched").and_then(Value::as_u64);
            matched.ok_or_else(|| "the connections cannot be counted".to_owned())
        }),
        CtlCommand::Drain { endpoint: None, .. } => Err((
            Exit::Refused,
            "drain what? --endpoint NAME drains one endpoint; to stop the process, use `reseal ctl stop`"
                .to_owned(),
        )),
        _ => Ok(()),
    }
}

/// Has the running process order a certificate that it does not install; what came of it, as text.
pub(super) fn try_order(place: &Place, certificate: &str) -> Result<String, String> {
    let certificate = certificate.to_owned();
    let args = Args::new(place, CtlCommand::TryOrder { certificate });
    run(&args, Paint::of_stdout())
}

/// What a reload would change in the process that runs `config` and has its admin socket at `place`, as text.
pub(super) fn plan(config: &Path, place: &Place) -> Result<String, String> {
    let status = query(&Args::new(place, CtlCommand::Status))?;
    if !is_of(&status, config) {
        let running = status.get("config").and_then(Value::as_str);
        let running = running.unwrap_or_default();
        return Err(format!(
            "the running process uses another file: {}",
            cells::plain(running)
        ));
    }
    let plan = Args::new(place, CtlCommand::Reload { plan: true });
    run(&plan, Paint::of_stdout())
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

fn run(args: &Args, paint: Paint) -> Result<String, String> {
    let response = query(args)?;
    if let CtlCommand::Dashboard { port } = args.command {
        // The process answers.
        dashboard::serve(args.place.resolve()?, port)?;
        return Ok(String::new());
    }
    Ok(if args.json {
        cells::json(&response)
    } else {
        args.command.show(&response, paint)
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
    let (path, body) = args.command.request();
    let limit = match args.command {
        CtlCommand::Reload { .. } | CtlCommand::TryOrder { .. } => LONG_TIMEOUT,
        _ => TIMEOUT,
    };
    send(&args.place, path, body.as_ref(), limit)
}
