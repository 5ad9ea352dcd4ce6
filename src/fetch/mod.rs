//! HTTP requests of the process itself: each over a connection of its own, bounded in time and size.
//! Redirects are not followed: where a request goes is what the configuration says.
//!
//! Knows nothing of what is fetched. Runs on the control plane alone.

mod addresses;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::tls::words;
use crate::upstream::Lookup;

/// How long one address may take to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The most bytes of a response's status line and headers, and the most headers.
const HEAD_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;

/// What a response may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// From the look-up of the name to the last byte.
    pub time: Duration,
    /// The bytes of its body.
    pub bytes: usize,
}

/// Why there is no response: one sentence that names the host.
#[derive(Debug)]
pub struct FetchError(String);

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FetchError {}

/// Makes requests.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// How the servers of `https` are verified; without it there is no `https`.
    tls: Option<Arc<ClientConfig>>,
    lookup: Lookup,
    only_public: bool,
}

impl Fetcher {
    /// Requests over TLS, whose servers `tls` verifies.
    pub const fn new(tls: Option<Arc<ClientConfig>>, lookup: Lookup) -> Self {
        Self {
            tls,
            lookup,
            only_public: false,
        }
    }

    /// The same, to addresses of the public internet alone: for URLs that no operator has written.
    #[must_use]
    pub const fn only_public(mut self) -> Self {
        self.only_public = true;
        self
    }

    /// Sends a request whose URI is absolute, and waits for the whole response.
    ///
    /// # Errors
    ///
    /// If there is no whole response within the bounds. A status that reports an error is a response.
    pub async fn fetch<B>(
        &self,
        request: Request<B>,
        bounds: Bounds,
    ) -> Result<Response<Bytes>, FetchError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let authority = request.uri().authority().map(ToString::to_string);
        let authority = authority.unwrap_or_default();
        let failed = |why: String| FetchError(format!("{authority}: {why}"));
        match timeout(bounds.time, self.exchange(request, bounds.bytes)).await {
            Ok(response) => response.map_err(failed),
            Err(_) => Err(failed(format!(
                "no whole response within {} s",
                bounds.time.as_secs()
            ))),
        }
    }

    async fn exchange<B>(&self, request: Request<B>, most: usize) -> Result<Response<Bytes>, String>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let uri = request.uri().clone();
        let host = host(&uri).ok_or("the URL names no host")?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("the URL is neither http nor https".to_owned()),
        };
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let socket = self.connect(host, port).await?;
        if !is_tls {
            return send(socket, request, &uri, most).await;
        }
        let tls = self
            .tls
            .clone()
            .ok_or("there is no CA that vouches for it")?;
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| "the URL names no host that a certificate can have")?;
        let connecting = TlsConnector::from(tls).connect(name, socket).await;
        let socket = connecting.map_err(|error| in_words(&error))?;
        send(socket, request, &uri, most).await
    }

    /// Connects to the first address of a host that answers.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self
                .lookup
                .addresses(host)
                .await
                .map_err(|why| why.to_string())?,
        };
        let mut why = "the name has no address".to_owned();
        for address in addresses {
            if self.only_public && !addresses::is_public(address) {
                why = format!("{address} is no public address, and no operator has named it");
                continue;
            }
            let address = SocketAddr::new(address, port);
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => {
                    // A request and its response are one packet each.
                    let _ = socket.set_nodelay(true);
                    return Ok(socket);
                }
                Ok(Err(error)) => why = format!("cannot connect to {address}: {error}"),
                Err(_) => why = format!("{address} does not answer"),
            }
        }
        Err(why)
    }
}

/// Sends a request over a connection, and reads the whole response.
async fn send<B>(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mut request: Request<B>,
    uri: &Uri,
    most: usize,
) -> Result<Response<Bytes>, String>
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let host = uri.authority().map(|authority| authority.as_str());
    let host = HeaderValue::from_str(host.unwrap_or_default());
    let host = host.map_err(|_| "the URL names no host")?;
    request.headers_mut().insert(HOST, host);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().map_err(|_| "the URL has no usable path")?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|error| no_http(&error))?;
    // Ends with this function.
    let mut driving = JoinSet::new();
    driving.spawn(async move {
        let _ = connection.await;
    });
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| no_http(&error))?;
    let (head, body) = response.into_parts();
    let too_long = || format!("the response has more than {most} bytes");
    if body.size_hint().lower() > most as u64 {
        return Err(too_long());
    }
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(Response::from_parts(head, body.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => Err(too_long()),
        Err(_) => Err("the response ended before it was whole".to_owned()),
    }
}

/// The host of a URL, without the brackets of an IPv6 address.
fn host(uri: &Uri) -> Option<&str> {
    let host = uri.host()?;
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    Some(inner.unwrap_or(host)).filter(|host| !host.is_empty())
}

fn no_http(error: &hyper::Error) -> String {
    use std::error::Error;
    match error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>())
    {
        Some(error) => in_words(error),
        None if error.is_parse() => "what it sends is no HTTP".to_owned(),
        None => "the connection ended before the response".to_owned(),
    }
}

/// An error of a connection, without the names of types that the TLS library puts into it.
fn in_words(error: &io::Error) -> String {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    tls.map_or_else(|| error.to_string(), words::tls)
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        time: Duration::from_secs(20),
        bytes: 1000,
    };

    /// What becomes of a request to a server that sends this and keeps the connection open.
    async fn fetched(response: &'static [u8]) -> Result<Response<Bytes>, FetchError> {
        within(BOUNDS, response).await
    }

    async fn within(
        bounds: Bounds,
        response: &'static [u8],
    ) -> Result<Response<Bytes>, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let len = socket.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..len]).into_owned();
            assert!(head.starts_with("GET /list?a=b HTTP/1.1\r\n"), "{head}");
            assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
            socket.write_all(response).await.unwrap();
            std::future::pending::<()>().await;
        });
        let request = Request::get(format!("http://{address}/list?a=b"));
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        let fetcher = Fetcher::new(None, Lookup::default());
        fetcher.fetch(request, bounds).await
    }

    #[tokio::test]
    async fn a_response_is_whole_or_an_error() {
        let good = fetched(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .await
            .unwrap();
        assert_eq!(good.body(), "ok");
        let redirect =
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(
            fetched(redirect).await.unwrap().status(),
            302,
            "it is not followed"
        );
        let large = b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n";
        let why = fetched(large).await.unwrap_err().to_string();
        assert!(
            why.ends_with("the response has more than 1000 bytes"),
            "{why}"
        );
        let why = fetched(b"SSH-2.0-OpenSSH\r\n\r\n")
            .await
            .unwrap_err()
            .to_string();
        assert!(why.ends_with("what it sends is no HTTP"), "{why}");
    }

    #[tokio::test]
    async fn a_body_without_an_end_is_given_up() {
        let bounds = Bounds {
            time: Duration::from_secs(1),
            ..BOUNDS
        };
        let cut = within(bounds, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await;
        let why = cut.unwrap_err().to_string();
        assert!(why.ends_with("no whole response within 1 s"), "{why}");
    }
}
