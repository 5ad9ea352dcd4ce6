//! HTTP responses.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::Full;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::dashboard::stream::EventStream;
use super::request::{RefusalKind, RequestResult};

pub(super) type HttpResponse = Response<ResponseBody>;

/// The body of a response.
#[derive(Debug)]
pub(super) enum ResponseBody {
    Whole(Full<Bytes>),
    Events(EventStream),
    /// Lines, as they come.
    Lines(mpsc::Receiver<String>),
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(context),
            Self::Events(body) => Pin::new(body).poll_frame(context),
            Self::Lines(lines) => {
                let line = ready!(lines.poll_recv(context));
                Poll::Ready(line.map(|line| Ok(Frame::data(line.into()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Events(body) => body.is_end_stream(),
            Self::Lines(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(body) => body.size_hint(),
            Self::Lines(_) => SizeHint::default(),
        }
    }
}

/// An HTTP error response.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    pub(super) status: StatusCode,
    pub(super) message: String,
    /// Whether a browser may ask its user for a token.
    asks_user: bool,
}

impl ErrorResponse {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            asks_user: false,
        }
    }

    /// A refusal of the page itself, for which a browser asks its user for a token.
    pub(super) fn of_page(self) -> Self {
        Self {
            asks_user: true,
            ..self
        }
    }

    pub(super) fn reply(&self) -> HttpResponse {
        let mut reply = json(self.status, &json!({ "error": self.message }));
        if self.status == StatusCode::UNAUTHORIZED {
            let headers = reply.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            if self.asks_user {
                let basic =
                    "Basic realm=\"the token of Reseal, as the password\", charset=\"UTF-8\"";
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(basic));
            }
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

/// Lines that are sent as they come.
pub(super) fn lines(lines: mpsc::Receiver<String>) -> HttpResponse {
    let body = ResponseBody::Lines(lines);
    with_body(StatusCode::OK, "application/x-ndjson", body)
}

/// The stream of events of a page.
pub(super) fn events(stream: EventStream) -> HttpResponse {
    let body = ResponseBody::Events(stream);
    with_body(StatusCode::OK, "text/event-stream", body)
}

pub(super) fn with_type(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> HttpResponse {
    with_body(status, kind, ResponseBody::Whole(Full::new(body.into())))
}

fn with_body(status: StatusCode, kind: &'static str, body: ResponseBody) -> HttpResponse {
    let mut reply = Response::new(body);
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
