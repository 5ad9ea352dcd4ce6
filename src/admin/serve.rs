//! One connection of a listener: one request, within limits, and its answer.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::TRANSFER_ENCODING;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout, timeout_at};

use super::auth::Auth;
use super::commands::{self, Command, Route};
use super::places::Place;
use super::response::{self, Refused, Reply};
use super::{Handle, Refusal, RefusalKind};
use crate::observe::metrics::Metrics;
use crate::phase::{Phase, PhaseRx};

/// From accept to the whole request.
const REQUEST: Duration = Duration::from_secs(5);

/// Then for the control loop, which may have certificates to read.
const ANSWER: Duration = Duration::from_secs(60);

/// From accept to the end of the connection, whatever the peer does.
const WHOLE: Duration = Duration::from_secs(75);

/// The same where nothing is asked of the control loop.
const WHOLE_OPEN: Duration = Duration::from_secs(10);

/// The request line and all headers.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
const BODY_MAX: usize = 64 * 1024;

/// What every listener can tell.
#[derive(Clone, Debug)]
pub struct Probes {
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// The phases of the process.
    pub phases: PhaseRx,
}

/// A listener's rules, and who answers.
#[derive(Debug)]
pub(super) struct AdminService {
    pub(super) auth: Auth,
    pub(super) probes: Probes,
    /// Absent where only metrics are shown.
    pub(super) control: Option<Handle>,
}

impl AdminService {
    /// Serves one connection. What goes wrong on it is its peer's business alone.
    pub(super) async fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin, place: &Place) {
        let deadline = Instant::now() + REQUEST;
        let service = service_fn(move |request| async move {
            let answered = self.answer(request, deadline, place).await;
            Ok::<_, Infallible>(answered.unwrap_or_else(|refused| refused.reply()))
        });
        // A connection for each request: whoever asks does so rarely, and an idle one takes a place.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST)
            .keep_alive(false)
            .half_close(true)
            .max_buf_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let whole = if self.control.is_some() {
            WHOLE
        } else {
            WHOLE_OPEN
        };
        let _ = timeout(whole, place.unless_needed(connection)).await;
    }

    async fn answer(
        &self,
        request: HttpRequest<Incoming>,
        deadline: Instant,
        place: &Place,
    ) -> Result<Reply, Refused> {
        let (head, body) = request.into_parts();
        if head.headers.contains_key(TRANSFER_ENCODING) {
            // Beside a Content-Length, two readers could see two requests (RFC 9112, 6.1), and hyper does
            // not show whether there was one. No client of ours sends a body of unknown length.
            let message = "a body comes with Content-Length, and without Transfer-Encoding";
            return Err(Refused::new(StatusCode::LENGTH_REQUIRED, message));
        }
        self.auth.admit(&head)?;
        let ask = commands::find(&head.method, path(&head)?, self.control.is_some())?;
        let is_probe = matches!(ask, Route::Health | Route::Ready);
        if place.only_probes && !is_probe {
            return Err(Refused::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests at a time: only /healthz and /readyz are answered now",
            ));
        }
        if !matches!(ask, Route::Control(_)) {
            place.has_asked();
        }
        match ask {
            Route::Health => Ok(response::text(StatusCode::OK, "alive")),
            Route::Ready => Ok(self.ready()),
            Route::Metrics => Ok(response::metrics(self.probes.metrics.render())),
            Route::Control(command) => {
                let body = whole(body, deadline).await?;
                place.has_asked();
                self.ask(command, &body).await
            }
        }
    }

    fn ready(&self) -> Reply {
        let phase = *self.probes.phases.borrow();
        let status = match phase {
            Phase::Run => StatusCode::OK,
            Phase::LameDuck | Phase::Drain | Phase::Cut => StatusCode::SERVICE_UNAVAILABLE,
        };
        response::text(status, phase.word())
    }

    async fn ask(&self, command: Command, body: &[u8]) -> Result<Reply, Refused> {
        let request = command.with(body)?;
        let Some(control) = &self.control else {
            return Err(Refused::new(StatusCode::NOT_FOUND, "nobody answers here"));
        };
        let late = || Err(Refusal::new(RefusalKind::Unavailable, "no answer in time"));
        let answer = timeout(ANSWER, control.ask(request)).await;
        Ok(response::control(answer.unwrap_or_else(|_| late())))
    }
}

/// The path, where the request line holds nothing else.
fn path(head: &Parts) -> Result<&str, Refused> {
    let uri = &head.uri;
    if uri.authority().is_some() || uri.scheme().is_some() {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "this is no proxy"));
    }
    if uri.query().is_some() {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "paths take no query: what there is to say goes into the body, as JSON",
        ));
    }
    Ok(uri.path())
}

/// The whole body.
async fn whole(body: Incoming, deadline: Instant) -> Result<Bytes, Refused> {
    let reading = Limited::new(body, BODY_MAX).collect();
    match timeout_at(deadline, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Refused::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is longer than 64 KiB",
        )),
        Ok(Err(_)) => Err(Refused::new(StatusCode::BAD_REQUEST, "the body has no end")),
        Err(_) => Err(Refused::new(
            StatusCode::REQUEST_TIMEOUT,
            "the request was not whole within 5 s",
        )),
    }
}
