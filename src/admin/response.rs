//! Answers as HTTP responses.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Answer, RefusalKind};

pub(super) type Reply = Response<Full<Bytes>>;

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    message: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(super) fn reply(&self) -> Reply {
        let mut reply = json(self.status, &json!({ "error": self.message }));
        if self.status == StatusCode::UNAUTHORIZED {
            let headers = reply.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        reply
    }
}

/// The control loop's answer.
pub(super) fn control(answer: Answer) -> Reply {
    match answer {
        Ok(value) => json(StatusCode::OK, &value),
        Err(refusal) => {
            let status = match refusal.kind {
                RefusalKind::Invalid => StatusCode::BAD_REQUEST,
                RefusalKind::NotFound => StatusCode::NOT_FOUND,
                RefusalKind::Conflict => StatusCode::CONFLICT,
                RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            };
            Refused::new(status, refusal.message).reply()
        }
    }
}

fn json(status: StatusCode, value: &Value) -> Reply {
    with_type(status, "application/json", format!("{value}\n"))
}

/// One line for a probe.
pub(super) fn text(status: StatusCode, text: &str) -> Reply {
    with_type(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// A page for Prometheus.
pub(super) fn metrics(page: String) -> Reply {
    with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        page,
    )
}

fn with_type(status: StatusCode, kind: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    *reply.status_mut() = status;
    let fixed: [(HeaderName, &'static str); 3] = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        reply
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    reply
}
