//! HTTP/1.1 with one member of the cluster: a connection for requests, which is kept, and one for each watch.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::EtcdError;
use crate::fleet::settings::StoreEndpoint;

/// How long a request may take, its connection included. A member that hangs is noticed within this and the
/// time between two keepalives.
const TIMEOUT: Duration = Duration::from_secs(4);

/// The longest answer that is read: a list of 10 000 revocations, or of 1000 instances that all refuse for a long
/// reason, has a fifth of it.
const ANSWER_MAX: usize = 32 * 1024 * 1024;

/// The gRPC codes that a member answers with which cannot serve: deadline exceeded, unavailable.
const ELSEWHERE: [u64; 2] = [4, 14];

type Failed = Box<dyn Error + Send + Sync>;

/// A connection to a member.
#[derive(Debug)]
pub(super) struct Connection(SendRequest<Full<Bytes>>);

/// What a request is sent with.
pub(super) struct Call<'a> {
    pub(super) endpoint: &'a StoreEndpoint,
    pub(super) token: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) body: &'a Value,
}

impl Connection {
    /// Connects to a member.
    pub(super) async fn open(
        endpoint: &StoreEndpoint,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<Self, EtcdError> {
        in_time(endpoint, connect(endpoint, tls)).await
    }

    pub(super) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn exchange(&mut self, call: &Call<'_>) -> Result<Value, EtcdError> {
        let exchange = async {
            let response = self.send(call).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_MAX).collect();
            Ok::<_, Failed>((status, body.await?.to_bytes()))
        };
        let (status, body) = in_time(call.endpoint, exchange).await?;
        answer(call.endpoint, status, &body)
    }

    /// Sends a request, and returns the body of its answer as it comes.
    pub(super) async fn begin(&mut self, call: &Call<'_>) -> Result<Incoming, EtcdError> {
        let response = in_time(call.endpoint, self.send(call)).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(response.into_body());
        }
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect();
        let body = in_time(call.endpoint, body).await?.to_bytes();
        Err(match answer(call.endpoint, status, &body) {
            Err(error) => error,
            Ok(_) => EtcdError::unreachable(call.endpoint, format!("status {status}")),
        })
    }

    async fn send(&mut self, call: &Call<'_>) -> Result<Response<Incoming>, Failed> {
        let mut request = Request::post(call.path)
            .header(HOST, call.endpoint.place.to_string())
            .header(CONTENT_TYPE, "application/json")
            // Metadata of gRPC: a member without a leader refuses, and ends a watch.
            .header("grpc-metadata-hasleader", "true");
        if let Some(token) = call.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(Bytes::from(call.body.to_string())))?;
        self.0.ready().await?;
        Ok(self.0.send_request(request).await?)
    }
}

/// The answer of the gateway: JSON, or the error that it says.
fn answer(endpoint: &StoreEndpoint, status: StatusCode, body: &[u8]) -> Result<Value, EtcdError> {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    match value {
        Some(value) if status.is_success() => Ok(value),
        Some(value) if value["code"].is_u64() || value["error"].is_string() => {
            Err(refusal(endpoint, &value))
        }
        _ => Err(EtcdError::unreachable(
            endpoint,
            format!("status {status}, which is no answer of etcd's JSON gateway"),
        )),
    }
}

/// The error that the gateway says: `{ error, code }` of an answer, `{ grpc_code, message }` within a stream.
pub(super) fn refusal(endpoint: &StoreEndpoint, error: &Value) -> EtcdError {
    let code = error["code"]
        .as_u64()
        .or_else(|| error["grpc_code"].as_u64());
    let text = error["error"]
        .as_str()
        .or_else(|| error["message"].as_str());
    let (code, text) = (code.unwrap_or_default(), text.unwrap_or("an unknown error"));
    match ELSEWHERE.contains(&code) || text.contains("no leader") {
        true => EtcdError::unreachable(endpoint, text),
        false => EtcdError::Refused {
            code,
            message: text.to_owned(),
        },
    }
}

async fn in_time<T, E: Into<Failed>>(
    endpoint: &StoreEndpoint,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, EtcdError> {
    match timeout(TIMEOUT, work).await {
        Ok(done) => done.map_err(|error| {
            let error: Failed = error.into();
            EtcdError::unreachable(endpoint, phrase(&*error))
        }),
        Err(_) => {
            let why = format!("no answer in {} s", TIMEOUT.as_secs());
            Err(EtcdError::unreachable(endpoint, why))
        }
    }
}

async fn connect(
    endpoint: &StoreEndpoint,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Connection, Failed> {
    let place = &endpoint.place;
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
    stream.set_nodelay(true)?;
    match (tls, endpoint.is_tls) {
        (Some(tls), true) => {
            let name = ServerName::try_from(place.host.clone())?;
            let connector = TlsConnector::from(Arc::clone(tls));
            begin(connector.connect(name, stream).await?).await
        }
        (_, false) => begin(stream).await,
        // The configuration gives a policy to endpoints that are reached over TLS.
        (None, true) => Err("no policy of TLS".into()),
    }
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Connection, Failed> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Connection(sender))
}

/// An error with what caused it.
fn phrase(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
