//! The HTTP client for the admin socket, over a unix socket or TCP.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::snapshot::admin::socket_in;

/// The longest time of a request that reads a configuration's files; longer than the server's own limit.
pub(super) const LONG_TIMEOUT: Duration = Duration::from_secs(90);

/// The longest time of any other one: a health check of a container waits for it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// The longest body of a response, in bytes.
const RESPONSE_MAX: usize = 256 * 1024 * 1024;

/// The runtime directory of the packages.
const RUNTIME_DIRECTORY: &str = "/run/reseal";

/// An address of the admin socket.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AdminAddress {
    Unix(PathBuf),
    Tcp(String),
}

/// An HTTP response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl AdminAddress {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        if text.starts_with("https:") {
            return Err("https:// is not supported yet".to_owned());
        }
        let address = text
            .strip_prefix("http://")
            .map(|a| a.trim_end_matches('/'));
        match address {
            Some(address) if !address.is_empty() && !address.contains(['/', '@']) => {
                Ok(Self::Tcp(address.to_owned()))
            }
            _ => Err(format!(
                "`{text}` is neither unix:PATH nor http://ADDRESS:PORT"
            )),
        }
    }

    /// The default address of the configuration and the packages.
    pub(super) fn default_address(runtime_directories: Option<&str>) -> Self {
        let ours = runtime_directories.and_then(socket_in);
        Self::Unix(
            ours.or_else(|| socket_in(RUNTIME_DIRECTORY))
                .unwrap_or_default(),
        )
    }

    /// Connects, sends a request, a POST if it has a body, and reads the whole response, within `limit`.
    pub(super) fn send(
        &self,
        path: &str,
        body: Option<&Value>,
        token: Option<&str>,
        limit: Duration,
    ) -> Result<Response, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start a runtime: {error}"))?;
        let exchange = self.connect_and_exchange(path, body, token);
        let response = runtime.block_on(async { timeout(limit, exchange).await });
        // Looking up a name has no limit of its own, and its thread would be waited for.
        runtime.shutdown_background();
        response.unwrap_or_else(|_| {
            let seconds = limit.as_secs();
            Err(format!(
                "{self}: no response in {seconds} s: the process is stopped or busy, or this is no Reseal"
            ))
        })
    }

    async fn connect_and_exchange(
        &self,
        path: &str,
        body: Option<&Value>,
        token: Option<&str>,
    ) -> Result<Response, String> {
        match self {
            Self::Unix(socket) => {
                let stream = UnixStream::connect(socket).await;
                let stream = stream.map_err(|error| self.unreachable(&error))?;
                self.exchange(stream, request("localhost", path, body, token))
                    .await
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await;
                let stream = stream.map_err(|error| self.unreachable(&error))?;
                // The server accepts only IP addresses in `Host`, so a host name is not sent.
                let host = stream.peer_addr().map_err(|e| self.failed(&e))?.to_string();
                self.exchange(stream, request(&host, path, body, token))
                    .await
            }
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Result<Request<Full<Bytes>>, hyper::http::Error>,
    ) -> Result<Response, String> {
        let request = request.map_err(|e| self.failed(&e))?;
        let response = async {
            let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let response = sender.send_request(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), RESPONSE_MAX).collect();
            let body = body.await?.to_bytes().to_vec();
            Ok::<_, Box<dyn Error + Send + Sync>>(Response { status, body })
        };
        response.await.map_err(|e| self.failed(&*e))
    }

    fn unreachable(&self, error: &io::Error) -> String {
        let hint = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "`admin.permissions`, `owner` and `group` say who may connect."
            }
            _ => {
                "Does the process run, and does its configuration have `admin.listen`? \
                 --config FILE finds the address there, --admin gives it."
            }
        };
        format!("cannot connect to {self}: {error}\n{hint}")
    }

    /// An error of a library, with what caused it.
    fn failed(&self, error: &dyn Error) -> String {
        let mut text = format!("{self}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "http://{address}"),
        }
    }
}

fn request(
    host: &str,
    path: &str,
    body: Option<&Value>,
    token: Option<&str>,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host)
        .header(header::CONNECTION, "close");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    request.body(Full::from(body))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// Serves one connection with these bytes, and returns what the client makes of them.
    fn response_of(bytes: &'static [u8]) -> Result<Response, String> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(bytes).unwrap();
            request
        });
        let response =
            AdminAddress::Tcp(address.to_string()).send("/x", None, Some("t0ken"), TIMEOUT);
        let request = String::from_utf8(server.join().unwrap()).unwrap();
        assert!(request.starts_with("GET /x HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains(&format!("host: {address}\r\n")),
            "{request}"
        );
        assert!(
            request.contains("authorization: Bearer t0ken\r\n"),
            "{request}"
        );
        response
    }

    #[test]
    fn a_truncated_response_is_refused() {
        let whole = b"HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\n{}\n";
        let response = response_of(whole).unwrap();
        assert_eq!((response.status, &response.body[..]), (404, &b"{}\n"[..]));
        for len in 0..whole.len() {
            assert!(response_of(&whole[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_service_that_says_nothing_or_never_ends_is_given_up() {
        const LIMIT: Duration = Duration::from_millis(100);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = AdminAddress::Tcp(listener.local_addr().unwrap().to_string());
        let mute = address.send("/x", None, None, LIMIT).unwrap_err();
        assert!(mute.contains("no response in"), "{mute}");
        let server = std::thread::spawn(move || {
            let _mute = listener.accept();
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
            while stream.write_all(b" ").is_ok() {}
        });
        let endless = address.send("/x", None, None, LIMIT).unwrap_err();
        assert!(endless.contains("no response in"), "{endless}");
        server.join().unwrap();
    }

    #[test]
    fn a_token_that_no_header_can_hold_is_refused() {
        assert!(request("localhost", "/x", None, Some("a\nb")).is_err());
    }

    #[test]
    fn addresses_parse_and_print_alike() {
        let tcp = AdminAddress::parse("http://127.0.0.1:9090/").unwrap();
        assert_eq!(tcp, AdminAddress::Tcp("127.0.0.1:9090".to_owned()));
        let unix = AdminAddress::parse("unix:/run/x.sock").unwrap();
        assert_eq!(unix.to_string(), "unix:/run/x.sock");
        for wrong in [
            "",
            "/run/x.sock",
            "https://127.0.0.1:1",
            "http://",
            "http://a/b",
        ] {
            assert!(AdminAddress::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            AdminAddress::default_address(Some("/run/a:/run/b")),
            AdminAddress::Unix("/run/a/admin.sock".into())
        );
        assert_eq!(
            AdminAddress::default_address(None),
            AdminAddress::Unix("/run/reseal/admin.sock".into())
        );
    }
}
