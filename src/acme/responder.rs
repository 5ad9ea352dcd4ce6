//! The answers to validations by http-01 (RFC 8555 section 8.3): listeners that know pending tokens, and
//! nothing else.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::definition::HttpPlace;
use crate::sync::Mutex;

/// Where a CA looks for a token.
const PREFIX: &str = "/.well-known/acme-challenge/";

/// The most connections to one listener at a time, and how long each may last.
const CONNECTIONS: usize = 64;
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

const HEAD_TIMEOUT: Duration = Duration::from_secs(3);
const HEAD_MAX: usize = 8 * 1024;
const BACKLOG: i32 = 128;

/// The pause after a failed accept, which happens when descriptors run out.
const PAUSE: Duration = Duration::from_millis(100);

/// The pending validations: key authorizations by token.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<HashMap<String, String>>);

impl Tokens {
    /// Answers requests for this token until the result is dropped.
    pub(super) fn answer(self: &Arc<Self>, token: &str, authorization: &str) -> AnsweringHttp {
        self.0
            .lock()
            .insert(token.to_owned(), authorization.to_owned());
        AnsweringHttp {
            tokens: Arc::clone(self),
            token: token.to_owned(),
        }
    }

    fn get(&self, token: &str) -> Option<String> {
        self.0.lock().get(token).cloned()
    }
}

/// A pending validation. Dropping it ends the answers.
#[derive(Debug)]
pub(super) struct AnsweringHttp {
    tokens: Arc<Tokens>,
    token: String,
}

impl Drop for AnsweringHttp {
    fn drop(&mut self) {
        self.tokens.0.lock().remove(&self.token);
    }
}

/// A socket that listens for validations, and is not served yet.
#[derive(Debug)]
pub struct Responder {
    place: HttpPlace,
    listener: StdTcpListener,
}

impl Responder {
    /// The most descriptors of one.
    pub const DESCRIPTORS: usize = CONNECTIONS + 1;

    /// Listens there, also where a process listens that this one takes over from: until it ends, a CA may be
    /// answered by either.
    ///
    /// # Errors
    ///
    /// If the address cannot be had.
    pub fn bind(place: HttpPlace) -> io::Result<Self> {
        let address = place.address;
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking(),
            None,
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!place.both)?;
        }
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            place,
            listener: socket.into(),
        })
    }

    /// Answers on this thread's runtime until it is aborted.
    async fn serve(self, tokens: Arc<Tokens>) {
        let Ok(listener) = TcpListener::from_std(self.listener) else {
            return;
        };
        let permits = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let (stream, _): (_, SocketAddr) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let response = respond(&request, &tokens);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIMEOUT)
                    .keep_alive(false)
                    .max_buf_size(HEAD_MAX)
                    .serve_connection(TokioIo::new(stream), service);
                let _ = timeout(CONNECTION_TIMEOUT, connection).await;
                drop(permit);
            });
        }
    }
}

/// The tasks that answer, by their places.
#[derive(Debug)]
pub(super) struct Responders {
    control: Handle,
    tokens: Arc<Tokens>,
    tasks: HashMap<HttpPlace, AbortHandle>,
}

impl Responders {
    /// Those of sockets that listen already. Tasks run on `control`.
    pub(super) fn of(control: &Handle, tokens: &Arc<Tokens>, open: Vec<Responder>) -> Self {
        let mut responders = Self {
            control: control.clone(),
            tokens: Arc::clone(tokens),
            tasks: HashMap::new(),
        };
        for responder in open {
            responders.serve(responder);
        }
        responders
    }

    /// Answers at these places from now on, and nowhere else.
    pub(super) fn apply(&mut self, places: &BTreeSet<HttpPlace>) {
        let left = |place: &HttpPlace, _: &mut AbortHandle| !places.contains(place);
        for (_, task) in self.tasks.extract_if(left) {
            task.abort();
        }
        for place in places {
            if self.tasks.contains_key(place) {
                continue;
            }
            match Responder::bind(*place) {
                Ok(responder) => self.serve(responder),
                Err(error) => {
                    let address = place.address;
                    warn!(%address, %error, "validations by http-01 cannot be answered: restart Reseal");
                }
            }
        }
    }

    fn serve(&mut self, responder: Responder) {
        let place = responder.place;
        let task = self
            .control
            .spawn(responder.serve(Arc::clone(&self.tokens)));
        self.tasks.insert(place, task.abort_handle());
    }
}

fn respond(request: &Request<Incoming>, tokens: &Tokens) -> Response<Full<Bytes>> {
    let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
    let token = request.uri().path().strip_prefix(PREFIX).filter(|_| is_get);
    let authorization = token.and_then(|token| tokens.get(token));
    let is_known = authorization.is_some();
    let body = authorization.unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    if !is_known {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}
