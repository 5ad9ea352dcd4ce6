//! The paths of the admin socket. Matching is exact: nothing is decoded, folded or normalised, so that
//! each path has one spelling.

#[cfg(test)]
mod tests;

use std::time::Duration;

use hyper::{Method, StatusCode};
use tracing::level_filters::LevelFilter;

use super::body::{Body, invalid};
use super::dashboard::{self, Asset};
use super::query::{ConnFilter, ConnQuery, FailureQuery};
use super::read_query::id;
use super::request::{OriginAction, Request};
use super::response::ErrorResponse;
use crate::observe::format::Format;
use crate::observe::trace::{TraceFilter, TraceRequest};

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Liveness of the process.
    Health,
    /// Readiness for traffic.
    Ready,
    /// The metrics page.
    Metrics,
    /// A part of the dashboard.
    Page(&'static Asset),
    /// What the dashboard shows, as a stream of events.
    Events,
    /// A request to the control loop.
    Control(RequestKind),
    /// A trace of connections.
    Trace,
}

/// A request to the control loop whose body is not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    Status,
    Stats,
    StatsWithRates,
    Connections,
    SelectConnections,
    Failures,
    SelectFailures,
    Certificates,
    Config,
    Origins,
    Reloads,
    Limits,
    ShowLogLevel,
    SetLogLevel,
    Reload,
    Drain,
    Undrain,
    Stop,
    Kill,
    Origin,
    TryOrder,
}

/// The paths of requests that change nothing.
const READING: [(&str, RequestKind); 9] = [
    ("/status", RequestKind::Status),
    ("/stats", RequestKind::Stats),
    ("/failures", RequestKind::Failures),
    ("/connections", RequestKind::Connections),
    ("/certificates", RequestKind::Certificates),
    ("/config", RequestKind::Config),
    ("/origins", RequestKind::Origins),
    ("/reloads", RequestKind::Reloads),
    ("/log-level", RequestKind::ShowLogLevel),
];

/// The paths of requests that change something, or have arguments.
const CHANGING: [(&str, RequestKind); 12] = [
    ("/stats", RequestKind::StatsWithRates),
    ("/connections", RequestKind::SelectConnections),
    ("/failures", RequestKind::SelectFailures),
    ("/limits", RequestKind::Limits),
    ("/reload", RequestKind::Reload),
    ("/drain", RequestKind::Drain),
    ("/undrain", RequestKind::Undrain),
    ("/stop", RequestKind::Stop),
    ("/kill", RequestKind::Kill),
    ("/log-level", RequestKind::SetLogLevel),
    ("/origin", RequestKind::Origin),
    ("/try-order", RequestKind::TryOrder),
];

/// The path of traces.
const TRACE: &str = "/trace";

/// The route of a method and path. `control` is whether this listener accepts more than metrics.
pub(super) fn find(method: &Method, path: &str, control: bool) -> Result<Route, ErrorResponse> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let open = match path {
        "/healthz" => Some(Route::Health),
        "/readyz" => Some(Route::Ready),
        "/metrics" => Some(Route::Metrics),
        "/events" if control => Some(Route::Events),
        path => dashboard::asset(path).filter(|_| control).map(Route::Page),
    };
    if let Some(route) = open {
        return if reads {
            Ok(route)
        } else {
            Err(wrong_method("GET"))
        };
    }
    if control && path == TRACE {
        return match *method {
            Method::POST => Ok(Route::Trace),
            _ => Err(wrong_method("POST")),
        };
    }
    let of = |table: &[(&str, RequestKind)]| {
        let found = table.iter().find(|(known, _)| control && *known == path);
        found.map(|(_, command)| *command)
    };
    match (of(&READING), of(&CHANGING)) {
        (Some(command), _) if reads => Ok(Route::Control(command)),
        (_, Some(command)) if *method == Method::POST => Ok(Route::Control(command)),
        (Some(_), Some(_)) => Err(wrong_method("GET and POST")),
        (Some(_), None) => Err(wrong_method("GET")),
        (None, Some(_)) => Err(wrong_method("POST")),
        (None, None) => Err(ErrorResponse::new(
            StatusCode::NOT_FOUND,
            "there is no such path",
        )),
    }
}

fn wrong_method(allowed: &str) -> ErrorResponse {
    ErrorResponse::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("this path takes {allowed}"),
    )
}

impl RequestKind {
    /// The request with the fields of its body: no body, or a JSON object without unknown keys.
    pub(super) fn with(self, body: &[u8]) -> Result<Request, ErrorResponse> {
        let mut body = Body::parse(body)?;
        let request = match self {
            Self::Status => Request::Status,
            Self::Stats => Request::Stats { rates: false },
            Self::StatsWithRates => Request::Stats {
                rates: body.switch("rates")?,
            },
            Self::Connections => Request::Connections(ConnQuery::all()),
            Self::SelectConnections => Request::Connections(ConnQuery::read(&mut body)?),
            Self::Failures => Request::Failures(FailureQuery::ALL),
            Self::SelectFailures => Request::Failures(FailureQuery::read(&mut body)?),
            Self::Certificates => Request::Certificates,
            Self::Config => Request::Config,
            Self::Origins => Request::Origins,
            Self::Reloads => Request::Reloads,
            Self::Limits => Request::Limits {
                endpoint: body.text("endpoint")?,
                route: body.maybe_text("route")?,
                source: match body.maybe_text("source")? {
                    Some(text) => {
                        let source = text.parse();
                        Some(source.map_err(|_| invalid("`source` is no IP address"))?)
                    }
                    None => None,
                },
            },
            Self::ShowLogLevel => Request::LogLevel(None),
            Self::SetLogLevel => Request::LogLevel(Some(level(&body.text("level")?)?)),
            Self::Reload => Request::Reload {
                plan: body.switch("plan")?,
            },
            Self::Drain => match body.maybe_text("endpoint")? {
                Some(endpoint) => Request::Drain { endpoint },
                None => return Err(invalid(NO_ENDPOINT)),
            },
            Self::Undrain => Request::Undrain {
                endpoint: body.text("endpoint")?,
            },
            Self::Stop => Request::Stop,
            Self::Kill => {
                let filter = ConnFilter::read(&mut body)?;
                if filter.is_empty() {
                    return Err(invalid("`id` is missing, or another condition"));
                }
                Request::Kill(filter)
            }
            Self::TryOrder => Request::TryOrder(body.text("certificate")?),
            Self::Origin => Request::Origin {
                upstream: body.text("upstream")?,
                origin: body.text("origin")?,
                action: action(&mut body)?,
            },
        };
        body.end()?;
        Ok(request)
    }
}

/// Forgetting the name of an endpoint must not stop the process.
const NO_ENDPOINT: &str =
    "`endpoint` is missing: a drain is of one endpoint; to stop the process, use `stop`";

fn action(body: &mut Body) -> Result<OriginAction, ErrorResponse> {
    Ok(match &*body.text("action")? {
        "drain" => OriginAction::Drain,
        "disable" => OriginAction::Disable,
        "enable" => OriginAction::Enable,
        "weight" => {
            let weight = body.number("weight")?;
            let weight = weight.and_then(|weight| u32::try_from(weight).ok());
            OriginAction::Weight(weight.ok_or_else(|| invalid("`weight` must be a number"))?)
        }
        _ => return Err(invalid("`action` is drain, disable, enable or weight")),
    })
}

/// The trace that a body asks for.
pub(super) fn trace(body: &[u8]) -> Result<TraceRequest, ErrorResponse> {
    let mut body = Body::parse(body)?;
    let source = body.maybe_text("source")?;
    let sni = body.maybe_text("sni")?;
    let filter = match (source, sni, body.maybe_text("id")?) {
        (Some(source), None, None) => {
            let source = source.parse();
            TraceFilter::Source(source.map_err(|_| invalid("`source` is no IP address"))?)
        }
        (None, Some(name), None) => {
            let name = name.strip_suffix('.').unwrap_or(&name);
            TraceFilter::Sni(name.to_ascii_lowercase())
        }
        (None, None, Some(text)) => {
            let id = id(&text);
            let message = "`id` must be up to 16 hexadecimal digits, as in the access log";
            TraceFilter::Id(id.ok_or_else(|| invalid(message))?)
        }
        _ => return Err(invalid("a trace is of one of `source`, `sni` and `id`")),
    };
    let seconds_max = TraceRequest::DURATION_MAX.as_secs() as usize;
    let seconds = within(&mut body, "seconds", seconds_max)?;
    let connections = within(&mut body, "connections", TraceRequest::CONNECTIONS_MAX)?;
    let request = TraceRequest {
        filter,
        duration: seconds.map_or(TraceRequest::DURATION, |n| Duration::from_secs(n as u64)),
        connections: connections.unwrap_or(TraceRequest::CONNECTIONS),
        format: match body.maybe_text("format")?.as_deref() {
            None | Some("json") => Format::Json,
            Some("text") => Format::Text,
            Some(_) => return Err(invalid("`format` is json or text")),
        },
    };
    body.end()?;
    Ok(request)
}

/// A number from 1 to `max`.
fn within(body: &mut Body, key: &str, max: usize) -> Result<Option<usize>, ErrorResponse> {
    let number = body.number(key)?;
    match number {
        Some(number) if !(1..=max).contains(&number) => {
            Err(invalid(format!("`{key}` is a number from 1 to {max}")))
        }
        number => Ok(number),
    }
}

fn level(text: &str) -> Result<LevelFilter, ErrorResponse> {
    Ok(match text {
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return Err(invalid("a level is error, warn, info, debug or trace")),
    })
}
