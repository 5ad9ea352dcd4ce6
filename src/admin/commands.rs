//! The paths of the admin socket. Matching is exact: nothing is decoded, folded or normalised, so that
//! each path has one spelling.

use hyper::{Method, StatusCode};
use serde_json::{Map, Value};
use tracing::level_filters::LevelFilter;

use super::request::{OriginAction, Request};
use super::response::ErrorResponse;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Liveness of the process.
    Health,
    /// Readiness for traffic.
    Ready,
    /// The metrics page.
    Metrics,
    /// A request to the control loop.
    Control(RequestKind),
}

/// A request to the control loop whose body is not read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    Status,
    Connections,
    Certificates,
    Config,
    Origins,
    Limits,
    ShowLogLevel,
    SetLogLevel,
    Reload,
    Drain,
    Stop,
    Kill,
    Origin,
}

/// The paths of requests that change nothing.
const READING: [(&str, RequestKind); 6] = [
    ("/status", RequestKind::Status),
    ("/connections", RequestKind::Connections),
    ("/certificates", RequestKind::Certificates),
    ("/config", RequestKind::Config),
    ("/origins", RequestKind::Origins),
    ("/log-level", RequestKind::ShowLogLevel),
];

/// The paths of requests that change something, or have arguments.
const CHANGING: [(&str, RequestKind); 7] = [
    ("/limits", RequestKind::Limits),
    ("/reload", RequestKind::Reload),
    ("/drain", RequestKind::Drain),
    ("/stop", RequestKind::Stop),
    ("/kill", RequestKind::Kill),
    ("/log-level", RequestKind::SetLogLevel),
    ("/origin", RequestKind::Origin),
];

/// The route of a method and path. `control` is whether this listener accepts more than metrics.
pub(super) fn find(method: &Method, path: &str, control: bool) -> Result<Route, ErrorResponse> {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let open = match path {
        "/healthz" => Some(Route::Health),
        "/readyz" => Some(Route::Ready),
        "/metrics" => Some(Route::Metrics),
        _ => None,
    };
    if let Some(route) = open {
        return if reads {
            Ok(route)
        } else {
            Err(wrong_method("GET"))
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
            Self::Connections => Request::Connections,
            Self::Certificates => Request::Certificates,
            Self::Config => Request::Config,
            Self::Origins => Request::Origins,
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
            Self::Drain => Request::Drain {
                endpoint: body.maybe_text("endpoint")?,
            },
            Self::Stop => Request::Drain { endpoint: None },
            Self::Kill => Request::Kill(id(&body.text("id")?)?),
            Self::Origin => Request::Origin {
                upstream: body.text("upstream")?,
                origin: body.text("origin")?,
                action: body.action()?,
            },
        };
        body.end()?;
        Ok(request)
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

/// A connection id as the access log writes it.
fn id(text: &str) -> Result<u64, ErrorResponse> {
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(text, 16)
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| invalid("an id is up to 16 hexadecimal digits, as in the access log"))
}

fn invalid(message: impl Into<String>) -> ErrorResponse {
    ErrorResponse::new(StatusCode::BAD_REQUEST, message)
}

struct Body(Map<String, Value>);

impl Body {
    fn parse(bytes: &[u8]) -> Result<Self, ErrorResponse> {
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            _ => Err(invalid("the body is no JSON object")),
        }
    }

    fn maybe_text(&mut self, key: &str) -> Result<Option<String>, ErrorResponse> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(format!("`{key}` must be a text"))),
        }
    }

    fn text(&mut self, key: &str) -> Result<String, ErrorResponse> {
        let found = self.maybe_text(key)?;
        found.ok_or_else(|| invalid(format!("`{key}` is missing")))
    }

    fn switch(&mut self, key: &str) -> Result<bool, ErrorResponse> {
        match self.0.remove(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(_) => Err(invalid(format!("`{key}` must be true or false"))),
        }
    }

    fn action(&mut self) -> Result<OriginAction, ErrorResponse> {
        Ok(match &*self.text("action")? {
            "drain" => OriginAction::Drain,
            "disable" => OriginAction::Disable,
            "enable" => OriginAction::Enable,
            "weight" => {
                let weight = self.0.remove("weight").and_then(|weight| weight.as_u64());
                let weight = weight.and_then(|weight| u32::try_from(weight).ok());
                OriginAction::Weight(weight.ok_or_else(|| invalid("`weight` must be a number"))?)
            }
            _ => {
                return Err(invalid("`action` is drain, disable, enable or weight"));
            }
        })
    }

    /// Refuses keys that the path does not know.
    fn end(self) -> Result<(), ErrorResponse> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(invalid("the body has a key that this path does not know"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, path: &str) -> u16 {
        match find(&method, path, true) {
            Ok(_) => 200,
            Err(refused) => refused.status.as_u16(),
        }
    }

    #[test]
    fn there_is_one_way_to_write_a_path() {
        assert_eq!(status(Method::GET, "/status"), 200);
        for path in [
            "",
            "/",
            "//status",
            "/status/",
            "/./status",
            "/x/../status",
            "/Status",
            "/%73tatus",
            "/status;x",
            "/status%00",
            "/status#",
            "*",
            "status",
        ] {
            assert_eq!(status(Method::GET, path), 404, "{path}");
        }
    }

    #[test]
    fn what_changes_something_is_a_post_and_metrics_change_nothing() {
        for (path, _) in CHANGING.iter().filter(|(path, _)| *path != "/log-level") {
            for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
                assert_eq!(status(method, path), 405, "{path}");
            }
            assert!(find(&Method::POST, path, false).is_err(), "{path}");
        }
        assert_eq!(status(Method::DELETE, "/log-level"), 405);
        assert_eq!(status(Method::POST, "/metrics"), 405);
        assert_eq!(
            find(&Method::GET, "/metrics", false).unwrap(),
            Route::Metrics
        );
        assert!(find(&Method::GET, "/config", false).is_err());
    }

    #[test]
    fn a_body_says_what_is_meant_or_is_refused() {
        let plan = |body: &str| RequestKind::Reload.with(body.as_bytes());
        assert_eq!(plan("").unwrap(), Request::Reload { plan: false });
        assert_eq!(
            plan("{\"plan\":true}").unwrap(),
            Request::Reload { plan: true }
        );
        for body in ["[]", "{", "{\"plan\":\"yes\"}", "{\"paln\":true}", "\u{0}"] {
            assert!(plan(body).is_err(), "{body}");
        }
        let kill = |id: &str| RequestKind::Kill.with(format!("{{\"id\":\"{id}\"}}").as_bytes());
        assert_eq!(kill("00000000000000ff").unwrap(), Request::Kill(255));
        for id in ["", "+1", "0x1", "10000000000000000", " 1"] {
            assert!(kill(id).is_err(), "{id}");
        }
    }
}
