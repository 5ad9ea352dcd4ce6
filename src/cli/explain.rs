//! `reseal explain`: shows how a connection would be handled, by the code that handles it.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::config_file::ConfigFile;
use super::connect::{self, Answer, Client};
use super::exit::Exit;
use super::explanation::Explanation;
use super::output::{eprint_line, print};
use super::{ctl, start};
use crate::config::compile::{Files, LoadOptions, Purpose};
use crate::config::spec::server_name;
use crate::config::{Spec, load};
use crate::connection::decision;
use crate::hostname::HostName;
use crate::outcome::Reason;
use crate::route::Query;
use crate::snapshot::{Endpoint, Listen, Protocol, Route, Snapshot, Sources};
use crate::tls::hello::{self, Hello};
use crate::tls::sessions::Sessions;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Endpoint that the client connects to
    #[arg(long, value_name = "NAME")]
    endpoint: String,
    /// Server name that the client sends
    #[arg(long, value_name = "NAME", conflicts_with = "hello")]
    sni: Option<String>,
    /// ALPN protocol that the client offers; repeatable
    #[arg(long, value_name = "PROTOCOL", conflicts_with = "hello")]
    alpn: Vec<String>,
    /// Client's address
    #[arg(long, value_name = "IP")]
    source: Option<IpAddr>,
    /// Client's certificate and its issuers, in PEM
    #[arg(long, value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// Captured ClientHello (TLS records), instead of --sni and --alpn
    #[arg(long, value_name = "FILE")]
    hello: Option<PathBuf>,
    /// The client does not begin with TLS (for an endpoint with `protocol: any`)
    #[arg(long, conflicts_with_all = ["sni", "alpn", "hello"])]
    not_tls: bool,
    /// List every route of the endpoint, not only those that came near
    #[arg(long)]
    all: bool,
    /// Connect to the origin that the connection would get, as it would, if it is not refused before
    #[arg(long)]
    connect: bool,
    /// Print the verdict, and how the origin answered, as JSON
    #[arg(long, requires = "connect")]
    json: bool,
}

pub(super) fn main(args: &Args) -> Exit {
    let Some(path) = args.config.find() else {
        return Exit::Refused;
    };
    let sessions = Sessions::default();
    let loaded = match load::file(
        &path,
        LoadOptions::first(Files::Read, Purpose::Check, &sessions),
    ) {
        Ok(loaded) => loaded,
        Err(error) => return start::unreadable(&path, &error),
    };
    let (Some(spec), Some(snapshot)) = (&loaded.spec, &loaded.snapshot) else {
        eprint_line(&loaded.report());
        return Exit::Refused;
    };
    let ask = |endpoint: &Endpoint, route: &Route| {
        let names = (&*endpoint.name, &*route.name);
        let place = ctl::Place::of(&path, Some(spec));
        ctl::limits(&path, &place, names, args.source).unwrap_or_default()
    };
    match explain(args, spec, snapshot, &ask) {
        Ok((said, reason)) => {
            print(&match args.json {
                true => format!("{:#}\n", as_json(args, &said, reason)),
                false => said.text,
            });
            if reason.is_none() {
                Exit::Good
            } else {
                Exit::Bad
            }
        }
        Err(invalid) => {
            eprint_line(&format!("reseal: {invalid}"));
            Exit::Refused
        }
    }
}

/// The verdict, for programs.
fn as_json(args: &Args, said: &Explanation, reason: Option<Reason>) -> Value {
    json!({
        "endpoint": args.endpoint,
        "route": said.route.as_deref(),
        "verdict": match reason {
            None => "allowed",
            Some(_) => "refused",
        },
        "reason": reason.unwrap_or(Reason::Ok).code(),
        "origin": said.answer.as_ref().map(Answer::json),
    })
}

/// Asks the running process how full the limits of an endpoint and route are; nothing if there is none.
type AskRunning<'a> = dyn Fn(&Endpoint, &Route) -> Vec<Value> + 'a;

/// The explanation, and the reason if the connection would be refused.
fn explain(
    args: &Args,
    spec: &Spec,
    snapshot: &Snapshot,
    ask: &AskRunning<'_>,
) -> Result<(Explanation, Option<Reason>), String> {
    let endpoint = snapshot.endpoint(&args.endpoint).ok_or_else(|| {
        let names = snapshot.endpoints.iter().map(|e| format!("`{}`", e.name));
        let names: Vec<_> = names.collect();
        format!(
            "there is no endpoint `{}`; there is {}",
            args.endpoint,
            names.join(", ")
        )
    })?;
    let mut said = Explanation::default();
    let reason = match greeting(args, endpoint)? {
        Ok(greeting) => decide(args, (spec, snapshot), endpoint, &greeting, &mut said, ask)?,
        Err(reason) => Some(reason),
    };
    let verdict = match reason {
        None => "allowed".to_owned(),
        Some(reason) => format!("refused: {reason} ({})", reason.meaning()),
    };
    said.line("verdict", &verdict);
    Ok((said, reason))
}

/// What a client begins with.
struct Greeting {
    hello: Hello,
    speaks_tls: bool,
}

impl Greeting {
    const fn of(hello: Hello) -> Self {
        Self {
            hello,
            speaks_tls: true,
        }
    }

    fn plain() -> Self {
        Self {
            hello: Hello::default(),
            speaks_tls: false,
        }
    }
}

/// The ClientHello, behind the dialogue of the endpoint; or the reason for which it is refused at once.
fn greeting(args: &Args, endpoint: &Endpoint) -> Result<Result<Greeting, Reason>, String> {
    match (endpoint.protocol, &endpoint.negotiate) {
        (Protocol::Tcp, _) => return Ok(Ok(Greeting::plain())),
        (Protocol::Any, _) if args.not_tls => return Ok(Ok(Greeting::plain())),
        (Protocol::Tls, Some(_)) if args.not_tls => return Ok(Err(Reason::NegotiateRefused)),
        (Protocol::Tls, None) if args.not_tls => return Ok(Err(Reason::NotTls)),
        (Protocol::Tls | Protocol::Any, _) => {}
    }
    match &args.hello {
        Some(path) => {
            let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            if endpoint.protocol == Protocol::Any && !decision::begins_with_tls(&bytes) {
                return Ok(Ok(Greeting::plain()));
            }
            let bytes = match &endpoint.negotiate {
                Some(negotiate) => match negotiate.behind_dialogue(bytes) {
                    Some(bytes) => bytes,
                    None => return Ok(Err(Reason::NegotiateRefused)),
                },
                None => bytes,
            };
            let hello = hello::captured(bytes);
            Ok(hello.map(Greeting::of).map_err(|failure| failure.reason))
        }
        None => Ok(Ok(Greeting::of(Hello {
            // rustls lowercases server names.
            server_name: args.sni.as_ref().map(|name| name.to_ascii_lowercase()),
            alpn: args.alpn.iter().map(|p| p.clone().into_bytes()).collect(),
            ..Hello::default()
        }))),
    }
}

/// A ClientHello makes no sense for an endpoint that reads none.
fn refuse_hello_of_tcp(args: &Args, endpoint: &Endpoint) -> Result<(), String> {
    let has_hello = args.sni.is_some() || args.hello.is_some() || !args.alpn.is_empty();
    if endpoint.protocol == Protocol::Tcp && has_hello {
        return Err(format!(
            "`{}` has `protocol: tcp`: it reads no ClientHello",
            endpoint.name
        ));
    }
    Ok(())
}

fn decide(
    args: &Args,
    (spec, snapshot): (&Spec, &Snapshot),
    endpoint: &Endpoint,
    Greeting { hello, speaks_tls }: &Greeting,
    said: &mut Explanation,
    ask: &AskRunning<'_>,
) -> Result<Option<Reason>, String> {
    said.line("endpoint", &endpoint.name);
    refuse_hello_of_tcp(args, endpoint)?;
    if let Some(reason) = sources(
        args,
        endpoint,
        ("endpoint", endpoint.sources.as_deref()),
        said,
    )? {
        return Ok(Some(reason));
    }
    let name = match decision::name(hello.server_name.as_deref()) {
        Ok(name) => name,
        Err(failure) => return Ok(Some(failure.reason)),
    };
    if endpoint.protocol == Protocol::Any && !speaks_tls {
        said.without_tls(endpoint.sniff);
    }
    if *speaks_tls {
        said.server_name(hello.server_name.as_deref(), name.as_ref());
    }
    let query = Query {
        name: name.as_ref(),
        alpn: &hello.alpn,
        source: args.source,
        speaks_tls: *speaks_tls,
    };
    if args.source.is_none()
        && let Some(route) = depends_on_source(endpoint, &query)
    {
        return Err(format!(
            "whether the route `{route}` matches depends on the client's address: add --source IP"
        ));
    }
    let chosen = decision::route(endpoint, &query);
    let winner = chosen.as_ref().ok().copied();
    said.routes(
        spec,
        endpoint,
        &query,
        winner.map(|route| &**route),
        args.all,
    );
    let route = match chosen {
        Ok(route) => route,
        Err(failure) => return Ok(Some(failure.reason)),
    };
    if let Some(reason) = sources(args, endpoint, ("route", route.sources.as_deref()), said)? {
        return Ok(Some(reason));
    }
    said.route = Some(Arc::clone(&route.name));
    let labels = match decision::labels(endpoint, route, name.as_ref()) {
        Ok(labels) => labels,
        Err(failure) => return Ok(Some(failure.reason)),
    };
    said.line("mode", route.mode.word());
    let client_cert = args.client_cert.as_deref();
    let reason = said.client(route, name.as_ref(), hello, client_cert)?;
    said.upstream(spec, route, labels);
    said.delays(route);
    said.timeouts(endpoint, route);
    let is_limited = endpoint.limits.is_some() || route.limits.is_some();
    let running = is_limited.then(|| ask(endpoint, route));
    let full = said.limits(endpoint, route, &running.unwrap_or_default());
    // Limits come before client auth.
    let refused = full.or(reason);
    if !args.connect || refused.is_some() {
        return Ok(refused);
    }
    connected(args, snapshot, route, (name.as_ref(), labels), hello, said)
}

/// Connects to the origin that the connection would get. Returns the reason if that fails.
fn connected(
    args: &Args,
    snapshot: &Snapshot,
    route: &Route,
    (name, labels): (Option<&HostName>, Option<&str>),
    hello: &Hello,
    said: &mut Explanation,
) -> Result<Option<Reason>, String> {
    let negotiated = route.mode.acceptor();
    let negotiated = negotiated.and_then(|side| side.negotiate(&hello.alpn).ok().flatten());
    let client = Client {
        source: args.source,
        name: name
            .filter(|_| route.named)
            .and_then(|name| server_name(name.as_str())),
        alpn: negotiated.map(<[u8]>::to_vec),
        labels: labels.map(str::to_owned),
    };
    let answer = connect::to_taken(snapshot, route, &client)
        .map_err(|error| format!("cannot connect: {error}"))?;
    said.line("connect", &answer.line());
    let reason = answer.reason();
    said.answer = Some(answer);
    Ok(Some(reason).filter(|reason| *reason != Reason::Ok))
}

/// Whether the rules of an endpoint or route on addresses admit the client; the reason, if not.
fn sources(
    args: &Args,
    endpoint: &Endpoint,
    (owner, sources): (&str, Option<&Sources>),
    said: &mut Explanation,
) -> Result<Option<Reason>, String> {
    let Some(sources) = sources else {
        return Ok(None);
    };
    let Some(source) = args.source else {
        if is_unix(endpoint) {
            return Ok(None);
        }
        return Err(
            "whether `sources` admits the client depends on its address: add --source IP"
                .to_owned(),
        );
    };
    let (text, reason) = match sources.rules.check(source) {
        Ok(()) => (format!("{owner}: {source} is admitted"), None),
        Err(denial) => (
            format!("{owner}: {source} is denied: {denial}"),
            Some(Reason::DeniedSource),
        ),
    };
    said.line("sources", &text);
    Ok(reason)
}

/// Whether all clients of an endpoint come over unix sockets, and so have no address.
fn is_unix(endpoint: &Endpoint) -> bool {
    let is_unix = |listen: &Listen| matches!(listen, Listen::Unix { .. });
    endpoint.listen.iter().all(is_unix)
}

/// The first route that the client's address could make win or lose.
fn depends_on_source(endpoint: &Endpoint, query: &Query<'_>) -> Option<Arc<str>> {
    if is_unix(endpoint) {
        return None;
    }
    for (when, route) in endpoint.routes.candidates(query) {
        if when.is_offered(query) {
            return (!when.sources.is_any()).then(|| Arc::clone(&route.name));
        }
    }
    None
}
