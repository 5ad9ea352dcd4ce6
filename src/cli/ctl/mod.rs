//! `reseal ctl`: asks a running process, or tells it what to do.

mod client;
mod show;

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use self::client::{Place, Response};
use super::{Exit, eprint_line, print};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the process listens: unix:PATH or http://ADDRESS:PORT [default: $RESEAL_ADMIN, then
    /// admin.sock in $RUNTIME_DIRECTORY, then in /run/reseal]
    #[arg(long, global = true, value_name = "PLACE")]
    admin: Option<String>,
    /// The file with the token, for http://
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How the process is
    Status,
    /// Read the configuration again
    Reload {
        /// Only say what that would change
        #[arg(long)]
        plan: bool,
    },
    /// Take no new connections and let those that are there finish
    Drain {
        /// Of this endpoint alone
        #[arg(long, value_name = "NAME")]
        endpoint: Option<String>,
    },
    /// The live connections
    Connections,
    /// End a connection
    Kill {
        /// Its id, as `connections` and the access log show it
        id: String,
    },
    /// The certificates that are presented to clients, and when they expire
    Certificates,
    /// The effective configuration
    Config,
    /// Show what level is logged, or change it until the next start
    LogLevel {
        /// error, warn, info, debug or trace
        level: Option<String>,
    },
    /// The origins and how they are
    Origins,
    /// Change how an origin is used, until its line of the configuration changes or the next start
    Origin {
        /// The upstream's name
        upstream: String,
        /// The origin's name, for all of its addresses, or one address
        origin: String,
        /// What is to become of it
        action: Action,
        /// The new weight
        #[arg(required_if_eq("action", "weight"))]
        weight: Option<u32>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Action {
    /// No new connections; those that are there may finish
    Drain,
    /// No new connections, and those that are there end
    Disable,
    /// As configured
    Enable,
    /// Another weight
    Weight,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Weight => "weight",
        }
    }
}

impl Command {
    /// Its path, and what it says there; a command that changes nothing says nothing.
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
            Self::Drain { endpoint } => ("/drain", Some(json!({ "endpoint": endpoint }))),
            Self::Kill { id } => ("/kill", Some(json!({ "id": id }))),
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
                if let (Action::Weight, Some(weight)) = (action, weight) {
                    body["weight"] = json!(weight);
                }
                ("/origin", Some(body))
            }
        }
    }

    fn show(&self, answer: &Value) -> String {
        match self {
            Self::Connections => show::table(answer, "connections", &show::CONNECTIONS),
            Self::Certificates => show::certificates(answer),
            Self::Origins | Self::Origin { .. } => show::table(answer, "origins", &show::ORIGINS),
            Self::Config => show::text(answer, "yaml"),
            Self::LogLevel { .. } => format!("{}\n", show::text(answer, "level")),
            Self::Reload { plan: true } => show::changes(answer, "nothing would change"),
            Self::Reload { plan: false } => show::changes(
                answer,
                "the text has changed nothing; files were read again",
            ),
            Self::Status | Self::Drain { .. } | Self::Kill { .. } => show::facts(answer),
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

/// What a reload would change in the process that runs `config`, for people. `admin` is where it
/// listens, and `token_file` what it wants to see there, if that is known.
pub(super) fn plan(
    config: &Path,
    admin: Option<String>,
    token_file: Option<PathBuf>,
) -> Result<String, String> {
    let ask = |command| Args {
        admin: admin.clone(),
        token_file: token_file.clone(),
        json: false,
        command,
    };
    let status = answer(&ask(Command::Status))?;
    let running = status
        .get("config")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let absolute = |path: &Path| std::fs::canonicalize(path).ok();
    if absolute(Path::new(running)) != absolute(config) {
        return Err(format!(
            "the running process reads another file: {}",
            show::plain(running)
        ));
    }
    run(&ask(Command::Reload { plan: true }))
}

fn run(args: &Args) -> Result<String, String> {
    let answer = answer(args)?;
    Ok(if args.json {
        format!("{answer:#}\n")
    } else {
        args.command.show(&answer)
    })
}

fn answer(args: &Args) -> Result<Value, String> {
    if let Command::Origin {
        action,
        weight: Some(_),
        ..
    } = &args.command
        && !matches!(action, Action::Weight)
    {
        return Err(format!("`{}` takes no number", action.word()));
    }
    let named = args.admin.clone().or_else(|| variable("RESEAL_ADMIN"));
    let place = match &named {
        Some(named) => Place::parse(named)?,
        None => Place::usual(variable("RUNTIME_DIRECTORY").as_deref()),
    };
    let token = args.token_file.as_deref().map(token).transpose()?;
    let (path, body) = args.command.request();
    let Response { status, body } = place.ask(path, body.as_ref(), token.as_deref())?;
    let answer: Value = serde_json::from_slice(&body)
        .map_err(|_| format!("{place} does not answer as Reseal does (status {status})"))?;
    if status != 200 {
        let reason = answer.get("error").and_then(Value::as_str);
        return Err(reason.map_or_else(|| format!("refused with status {status}"), show::plain));
    }
    Ok(answer)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn token(path: &Path) -> Result<String, String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(format!("{}: cannot be read: {error}", path.display())),
    }
}
