//! The HTTP client for the admin socket, over a unix socket, TCP or TLS.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::handshake;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::address::{AdminAddress, server_name};

/// The longest time of a request that reads a configuration's files; longer than the server's own limit.
pub(super) const LONG_TIMEOUT: Duration = Duration::from_secs(90);

/// The longest time of any other one: a health check of a container waits for it.
pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

/// The longest body of a response, in bytes.
const RESPONSE_MAX: usize = 256 * 1024 * 1024;

/// The admin socket of a process, and what it takes to use it.
#[derive(Clone)]
pub(super) struct Admin {
    pub(super) address: AdminAddress,
    pub(super) token: Option<Zeroizing<String>>,
    /// For [`AdminAddress::Tls`].
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// A connection to the admin socket.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// An HTTP response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Admin {
    /// Connects, sends a request, a POST if it has a body, and reads the whole response, within `limit`.
    pub(super) fn send(
        &self,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Response, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start a runtime: {error}"))?;
        let exchange = self.exchange(path, body);
        let response = runtime.block_on(async { timeout(limit, exchange).await });
        // Looking up a name has no limit of its own, and its thread would be waited for.
        runtime.shutdown_background();
        response.unwrap_or_else(|_| {
            let (address, seconds) = (&self.address, limit.as_secs());
            Err(format!(
                "{address}: no response in {seconds} s: the process is stopped or busy, or this is no Reseal"
            ))
        })
    }

    /// A connection, and the `Host` of requests on it.
    pub(super) async fn connect(&self) -> Result<(Box<dyn Connection>, String), String> {
        let address = &self.address;
        match address {
            AdminAddress::Unix(socket) => {
                let stream = UnixStream::connect(socket).await;
                let stream = stream.map_err(|error| address.unreachable(&error))?;
                Ok((Box::new(stream), "localhost".to_owned()))
            }
            AdminAddress::Tcp(place) => {
                let stream = TcpStream::connect(place).await;
                let stream = stream.map_err(|error| address.unreachable(&error))?;
                // The server accepts only IP addresses in `Host`, so a host name is not sent.
                let host = stream.peer_addr().map_err(|e| address.failed(&e))?;
                Ok((Box::new(stream), host.to_string()))
            }
            AdminAddress::Tls(place) => {
                let name = server_name(place);
                let name = name.ok_or_else(|| format!("{address}: this is no ADDRESS:PORT"))?;
                let policy = self.tls.as_ref();
                let policy = policy.ok_or_else(|| format!("{address}: there is no TLS policy"))?;
                let stream = TcpStream::connect(place).await;
                let stream = stream.map_err(|error| address.unreachable(&error))?;
                let connector = TlsConnector::from(Arc::clone(policy));
                let stream = connector.connect(name, stream).await;
                let stream = stream.map_err(|error| address.failed(&error))?;
                Ok((Box::new(stream), place.clone()))
            }
        }
    }

    /// Sends a request, and passes on what comes until the response ends, or `take` returns `false`. A
    /// response with another status than 200 is returned whole.
    pub(super) fn follow(
        &self,
        path: &str,
        body: &Value,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Response>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start a runtime: {error}"))?;
        let followed = runtime.block_on(async {
            let mut response = self.respond(path, Some(body)).await?;
            if response.status() != StatusCode::OK {
                return self.whole(response).await.map(Some);
            }
            while let Some(frame) = response.frame().await {
                let frame = frame.map_err(|error| self.address.failed(&error))?;
                if frame.data_ref().is_some_and(|bytes| !take(bytes)) {
                    break;
                }
            }
            Ok(None)
        });
        runtime.shutdown_background();
        followed
    }

    async fn exchange(&self, path: &str, body: Option<&Value>) -> Result<Response, String> {
        let response = self.respond(path, body).await?;
        self.whole(response).await
    }

    /// A response whose body is still to be read.
    async fn respond(
        &self,
        path: &str,
        body: Option<&Value>,
    ) -> Result<hyper::Response<Incoming>, String> {
        let (stream, host) = self.connect().await?;
        let token = self.token.as_ref().map(|token| token.as_str());
        let request = request(&host, path, body, token);
        let request = request.map_err(|e| self.address.failed(&e))?;
        let opened = handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = opened.map_err(|e| self.address.failed(&e))?;
        tokio::spawn(connection);
        let response = sender.send_request(request).await;
        response.map_err(|e| self.address.failed(&e))
    }

    async fn whole(&self, response: hyper::Response<Incoming>) -> Result<Response, String> {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), RESPONSE_MAX).collect();
        let body = body.await.map_err(|e| self.address.failed(&*e))?;
        Ok(Response {
            status,
            body: body.to_bytes().to_vec(),
        })
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
    use std::net::SocketAddr;

    use super::*;

    fn admin_at(address: SocketAddr, token: Option<&str>) -> Admin {
        Admin {
            address: AdminAddress::Tcp(address.to_string()),
            token: token.map(|token| Zeroizing::new(token.to_owned())),
            tls: None,
        }
    }

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
        let admin = admin_at(address, Some("t0ken"));
        let response = admin.send("/x", None, TIMEOUT);
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
        let admin = admin_at(listener.local_addr().unwrap(), None);
        let mute = admin.send("/x", None, LIMIT).unwrap_err();
        assert!(mute.contains("no response in"), "{mute}");
        let server = std::thread::spawn(move || {
            let _mute = listener.accept();
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
            while stream.write_all(b" ").is_ok() {}
        });
        let endless = admin.send("/x", None, LIMIT).unwrap_err();
        assert!(endless.contains("no response in"), "{endless}");
        server.join().unwrap();
    }

    #[test]
    fn a_token_that_no_header_can_hold_is_refused() {
        assert!(request("localhost", "/x", None, Some("a\nb")).is_err());
    }
}
