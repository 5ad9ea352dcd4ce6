//! One connection of a listener: one request and its response, within limits.

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
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::audit::AuditLine;
use super::auth::{self, Auth, Caller, Peer, is_page};
use super::commands::{self, RequestKind, Route};
use super::dashboard::Feed;
use super::dashboard::stream::StreamState;
use super::permits::ConnPermit;
use super::refused::RefusedRequests;
use super::request::{Handle, Refusal, RefusalKind, Request};
use super::response::{self, ErrorResponse, HttpResponse};
use crate::observe::metrics::Metrics;
use crate::observe::trace::{TraceRequest, Traces};
use crate::phase::{Phase, PhaseRx};
use crate::snapshot::admin::Role;

/// From accept to the complete request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// From the complete request to the control loop's result; it may have certificates to read.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(60);

/// From accept to the end of the connection, whatever the peer does.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(75);

/// The same for requests that the control loop does not handle.
const OPEN_CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// From the end of a trace to that of its connection, whatever the peer does: what is left has to fit into
/// the socket.
const GRACE: Duration = Duration::from_secs(5);

/// The request line and all headers.
const HEAD_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
const BODY_MAX: usize = 64 * 1024;

/// The endpoints that an operator has drained, until a reload opens them again.
#[derive(Clone, Debug, Default)]
pub struct DrainedEndpoints {
    /// Their names.
    pub names: Vec<Arc<str>>,
    /// Whether no endpoint listens any more.
    pub is_all: bool,
}

/// The certificates that issuers have yet to issue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingCertificates {
    /// One line for each: whose it is, and why it is not there.
    pub lines: Vec<String>,
    /// Whether the process is not ready before they are there.
    pub is_awaited: bool,
}

/// What every listener can report.
#[derive(Clone, Debug)]
pub struct Probes {
    /// The endpoints that were drained on request.
    pub drained: watch::Receiver<DrainedEndpoints>,
    /// The certificates that are not there yet.
    pub pending: watch::Receiver<PendingCertificates>,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// The phase of the process.
    pub phases: PhaseRx,
    /// The traces of connections.
    pub traces: Arc<Traces>,
}

/// One connection, as its requests see it.
#[derive(Clone, Copy)]
struct Client<'a> {
    permit: &'a ConnPermit,
    peer: &'a Peer,
    stream: &'a StreamState,
}

/// A listener's rules, and its way to the control loop.
#[derive(Debug)]
pub(super) struct AdminService {
    pub(super) auth: Auth,
    pub(super) probes: Probes,
    /// Absent on the metrics listener.
    pub(super) control: Option<Handle>,
    /// What the dashboard shows; likewise.
    pub(super) feed: Option<Feed>,
    /// Those that were not admitted.
    pub(super) refused: RefusedRequests,
}

impl AdminService {
    /// The listener's name.
    pub(super) const fn name(&self) -> &'static str {
        match self.control {
            Some(_) => "admin",
            None => "metrics",
        }
    }

    /// Serves one connection. Errors on it end this connection alone.
    pub(super) async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        permit: &ConnPermit,
        peer: &Peer,
    ) {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let stream_state = StreamState::default();
        let client = Client {
            permit,
            peer,
            stream: &stream_state,
        };
        let service = service_fn(|request| async move {
            let response = self.respond(request, deadline, client).await;
            Ok::<_, Infallible>(response.unwrap_or_else(|refused| refused.reply()))
        });
        // One request per connection: requests are rare, and an idle connection would hold a permit.
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_TIMEOUT)
            .keep_alive(false)
            .half_close(true)
            .max_buf_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let whole = if self.control.is_some() {
            CONNECTION_TIMEOUT
        } else {
            OPEN_CONNECTION_TIMEOUT
        };
        tokio::select! {
            _ = permit.unless_displaced(connection) => {}
            () = stream_state.deadline(whole) => {}
        }
    }

    /// The metrics page, rendered on a thread of its own: there may be very many connections and routes.
    async fn metrics(&self) -> Result<HttpResponse, ErrorResponse> {
        let metrics = Arc::clone(&self.probes.metrics);
        let page = tokio::task::spawn_blocking(move || metrics.render()).await;
        page.map(response::metrics).map_err(|_| {
            let message = "the metrics could not be rendered";
            ErrorResponse::new(StatusCode::INTERNAL_SERVER_ERROR, message)
        })
    }

    async fn respond(
        &self,
        request: HttpRequest<Incoming>,
        deadline: Instant,
        client: Client<'_>,
    ) -> Result<HttpResponse, ErrorResponse> {
        let permit = client.permit;
        let (head, body) = request.into_parts();
        if head.headers.contains_key(TRANSFER_ENCODING) {
            // With both Content-Length and Transfer-Encoding, two parsers could see two requests
            // (RFC 9112 section 6.1), and hyper does not report whether both were there. `reseal ctl` never
            // sends chunked bodies.
            let message = "a body comes with Content-Length, and without Transfer-Encoding";
            return Err(ErrorResponse::new(StatusCode::LENGTH_REQUIRED, message));
        }
        let caller = auth::admit(&head, client.peer);
        let caller = caller.map_err(|refused| {
            self.refused
                .count(self.name(), (&head, client.peer), &refused);
            match is_page(head.uri.path()) {
                true => refused.of_page(),
                false => refused,
            }
        })?;
        let path = path(&head)?;
        let route = commands::find(&head.method, path, self.control.is_some())?;
        let is_probe = matches!(route, Route::Health | Route::Ready);
        if permit.only_probes && !is_probe {
            return Err(ErrorResponse::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many requests at a time: only /healthz and /readyz are answered now",
            ));
        }
        if !matches!(route, Route::Control(_) | Route::Trace) {
            permit.protect();
        }
        match route {
            Route::Health => Ok(response::text(StatusCode::OK, "alive")),
            Route::Ready => Ok(self.ready()),
            Route::Metrics => self.metrics().await,
            Route::Page(asset) => Ok(asset.response()),
            Route::Events => self.events(&caller, client).await,
            Route::Control(command) => {
                let body = whole(body, deadline).await?;
                permit.protect();
                self.request(command, (path, &body), &caller).await
            }
            Route::Trace => {
                let body = whole(body, deadline).await?;
                permit.protect();
                self.trace((path, &body), &caller, client)
            }
        }
    }

    /// A stream of events. It has a place of its own, and its own deadlines.
    async fn events(
        &self,
        caller: &Caller,
        client: Client<'_>,
    ) -> Result<HttpResponse, ErrorResponse> {
        let joined = match &self.feed {
            Some(feed) => feed.join(caller).await,
            None => None,
        };
        let Some((stream, given_up)) = joined else {
            let message = "too many dashboards are open";
            return Err(ErrorResponse::new(StatusCode::SERVICE_UNAVAILABLE, message));
        };
        client.permit.release();
        client.stream.begin(given_up);
        Ok(response::events(stream))
    }

    /// Begins a trace, whose lines are the response. It costs all connections, so that reading alone is no
    /// right to it.
    fn trace(
        &self,
        (path, body): (&str, &[u8]),
        caller: &Caller,
        client: Client<'_>,
    ) -> Result<HttpResponse, ErrorResponse> {
        let request = commands::trace(body)?;
        let line = AuditLine::new(caller, path, body);
        let begun = caller
            .must_be(Role::Operate)
            .and_then(|()| self.begin_trace(request, client));
        let status = begun.as_ref().map_err(|refused| refused.status);
        line.answered(status.map_or_else(|status| status, |begun| begun.status()));
        begun
    }

    fn begin_trace(
        &self,
        request: TraceRequest,
        client: Client<'_>,
    ) -> Result<HttpResponse, ErrorResponse> {
        let duration = request.duration;
        let lines = self.probes.traces.begin(request).ok_or_else(|| {
            let message = format!("there are {} traces at a time already", Traces::MAX);
            ErrorResponse::new(StatusCode::SERVICE_UNAVAILABLE, message)
        })?;
        let (alive, over) = oneshot::channel::<()>();
        tokio::spawn(async move {
            sleep(duration + GRACE).await;
            drop(alive);
        });
        client.stream.begin(over);
        Ok(response::lines(lines))
    }

    fn ready(&self) -> HttpResponse {
        let phase = *self.probes.phases.borrow();
        let drained = self.probes.drained.borrow();
        let pending = self.probes.pending.borrow();
        let is_ready = phase == Phase::Run && !drained.is_all && !pending.is_awaited;
        let status = match is_ready {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        if phase != Phase::Run {
            return response::text(status, phase.word());
        }
        let fleet = self.probes.metrics.fleet();
        if fleet.is_some_and(|fleet| !fleet.has_document) {
            let text = "listening on nothing: no document of the fleet yet";
            return response::text(StatusCode::SERVICE_UNAVAILABLE, text);
        }
        let mut text = state(phase, &drained);
        if let Some(age) = fleet.and_then(|fleet| fleet.stale) {
            let age = age.as_secs();
            text.push_str(&format!(
                "; stale for {age} s: the store of the fleet is lost"
            ));
        }
        for line in &pending.lines {
            text.push('\n');
            text.push_str(line);
        }
        response::text(status, &text)
    }

    async fn request(
        &self,
        command: RequestKind,
        (path, body): (&str, &[u8]),
        caller: &Caller,
    ) -> Result<HttpResponse, ErrorResponse> {
        let request = command.with(body)?;
        let role = request.role();
        let line = (role > Role::Read).then(|| AuditLine::new(caller, path, body));
        let response = match caller.must_be(role) {
            Ok(()) => self.control(request).await,
            Err(refused) => Err(refused),
        };
        if let Some(line) = line {
            let refused = response.as_ref().map_err(|refused| refused.status);
            line.answered(refused.map_or_else(|status| status, |response| response.status()));
        }
        response
    }

    /// The control loop's answer.
    async fn control(&self, request: Request) -> Result<HttpResponse, ErrorResponse> {
        let Some(control) = &self.control else {
            return Err(ErrorResponse::new(
                StatusCode::NOT_FOUND,
                "this listener serves metrics only",
            ));
        };
        let late = || {
            Err(Refusal::new(
                RefusalKind::Unavailable,
                "no response in time",
            ))
        };
        let result = timeout(CONTROL_TIMEOUT, control.request(request)).await;
        Ok(response::control(result.unwrap_or_else(|_| late())))
    }
}

/// The phase of a process that runs, and the endpoints that are drained.
fn state(phase: Phase, drained: &DrainedEndpoints) -> String {
    if drained.names.is_empty() {
        return phase.word().to_owned();
    }
    let names = drained.names.join(", ");
    let rest = if drained.is_all {
        "listening on nothing"
    } else {
        phase.word()
    };
    format!("{rest}; drained endpoints: {names}")
}

/// The path; a request target with anything else is refused.
fn path(head: &Parts) -> Result<&str, ErrorResponse> {
    let uri = &head.uri;
    if uri.authority().is_some() || uri.scheme().is_some() {
        return Err(ErrorResponse::new(
            StatusCode::BAD_REQUEST,
            "this is no proxy",
        ));
    }
    if uri.query().is_some() {
        return Err(ErrorResponse::new(
            StatusCode::BAD_REQUEST,
            "paths take no query: what there is to say goes into the body, as JSON",
        ));
    }
    Ok(uri.path())
}

/// The complete body.
async fn whole(body: Incoming, deadline: Instant) -> Result<Bytes, ErrorResponse> {
    let reading = Limited::new(body, BODY_MAX).collect();
    match timeout_at(deadline, reading).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ErrorResponse::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the body is longer than 64 KiB",
            ))
        }
        Ok(Err(_)) => Err(ErrorResponse::new(
            StatusCode::BAD_REQUEST,
            "the body has no end",
        )),
        Err(_) => Err(ErrorResponse::new(
            StatusCode::REQUEST_TIMEOUT,
            "the request was not whole within 5 s",
        )),
    }
}
