//! HTTP responses.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use super::request::{RefusalKind, RequestResult};

pub(super) type HttpResponse = Response<Full<Bytes>>;

/// An HTTP error response.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    message: String,
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(super) fn reply(&self) -> HttpResponse {
        let mut reply = json(self.status, &json!({ "error": self.message }));
        if self.status == StatusCode::UNAUTHORIZED {
            let headers = reply.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        reply
    }
}

/// The response with the control loop's result.
pub(super) fn control(result: RequestResult) -> HttpResponse {
    match result {
        Ok(value) => json(StatusCode::OK, &value),
        Err(refusal) => {
            let status = match refusal.kind {
                RefusalKind::Invalid => StatusCode::BAD_REQUEST,
                RefusalKind::NotFound => StatusCode::NOT_FOUND,
                RefusalKind::Conflict => StatusCode::CONFLICT,
                RefusalKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            };
            ErrorResponse::new(status, refusal.message).reply()
        }
    }
}

fn json(status: StatusCode, value: &Value) -> HttpResponse {
    with_type(status, "application/json", format!("{value}\n"))
}

/// A one-line response to a probe.
pub(super) fn text(status: StatusCode, text: &str) -> HttpResponse {
    with_type(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// The metrics page.
pub(super) fn metrics(page: String) -> HttpResponse {
    with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        page,
    )
}

fn with_type(status: StatusCode, kind: &'static str, body: String) -> HttpResponse {
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
