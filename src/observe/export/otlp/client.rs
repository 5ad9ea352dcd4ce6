//! The HTTP client: one connection, kept as long as the collector keeps it.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::settings::{OtlpEndpoint, OtlpTerms};

/// The longest answer that is read.
const ANSWER_MAX: usize = 64 * 1024;

type Failed = Box<dyn Error + Send + Sync>;
type Sender = SendRequest<Full<Bytes>>;

/// A connection to the collector, if there is one, and the terms that it was made under.
#[derive(Debug, Default)]
pub(super) struct Client(Option<(Sender, Arc<OtlpTerms>)>);

/// What the collector says to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

impl Client {
    /// Sends a request and reads its answer.
    ///
    /// # Errors
    ///
    /// One phrase, if there is no answer.
    pub(super) async fn post(
        &mut self,
        endpoint: &OtlpEndpoint,
        terms: &Arc<OtlpTerms>,
        body: String,
    ) -> Result<Answer, String> {
        let body = Bytes::from(body);
        let kept = self.0.take();
        let kept = kept.filter(|(sender, made)| !sender.is_closed() && Arc::ptr_eq(made, terms));
        if let Some((sender, _)) = kept {
            // A connection that the collector has closed meanwhile says nothing about the collector.
            if let Ok(answer) = self.exchange(sender, endpoint, terms, body.clone()).await {
                return Ok(answer);
            }
        }
        let answer = async {
            let sender = connect(endpoint, terms).await?;
            self.exchange(sender, endpoint, terms, body).await
        };
        answer.await.map_err(|error| phrase(&*error))
    }

    async fn exchange(
        &mut self,
        mut sender: Sender,
        endpoint: &OtlpEndpoint,
        terms: &Arc<OtlpTerms>,
        body: Bytes,
    ) -> Result<Answer, Failed> {
        let mut request = Request::post(endpoint.path.as_str())
            .header(HOST, endpoint.place.to_string())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        for (name, value) in &terms.headers.0 {
            request.headers_mut().append(name, value.clone());
        }
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let answer = answer(response).await?;
        self.0 = Some((sender, Arc::clone(terms)));
        Ok(answer)
    }
}

async fn answer(response: Response<hyper::body::Incoming>) -> Result<Answer, Failed> {
    let status = response.status();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(pause);
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect();
    Ok(Answer {
        status,
        retry_after,
        body: body.await?.to_bytes(),
    })
}

/// The pause of `Retry-After`: seconds, or until a date (RFC 9110 section 10.2.3).
fn pause(value: &HeaderValue) -> Option<Duration> {
    let text = value.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

async fn connect(endpoint: &OtlpEndpoint, terms: &OtlpTerms) -> Result<Sender, Failed> {
    let place = &endpoint.place;
    let stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
    stream.set_nodelay(true)?;
    match (&terms.tls, endpoint.is_tls) {
        (Some(tls), true) => {
            let name = ServerName::try_from(place.host.clone())?;
            let stream = TlsConnector::from(Arc::clone(tls))
                .connect(name, stream)
                .await?;
            begin(stream).await
        }
        (None, false) => begin(stream).await,
        // The configuration gives a policy to each endpoint that is reached over TLS, and to no other.
        _ => Err("no policy of TLS".into()),
    }
}

async fn begin(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Sender, Failed> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let of = |text: &'static str| pause(&HeaderValue::from_static(text));
        assert_eq!(of("7"), Some(Duration::from_secs(7)));
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert!(of("Fri, 31 Dec 9999 23:59:59 GMT").unwrap() > Duration::from_secs(1_000_000));
        assert_eq!(of("soon"), None);
    }
}
