//! A minimal HTTP/1.1 client for the admin socket, over a unix socket or TCP.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::snapshot::admin::socket_in;

/// Longer than the server's own limit.
const TIMEOUT: Duration = Duration::from_secs(90);

/// The longest response that is read.
const RESPONSE_MAX: u64 = 256 * 1024 * 1024;

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

    /// Sends a request, a POST if it has a body, and reads the whole response.
    pub(super) fn send(
        &self,
        path: &str,
        body: Option<&Value>,
        token: Option<&str>,
    ) -> Result<Response, String> {
        let unreachable = |error: io::Error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "Who may ask there is up to `admin.permissions`, `owner` and `group`."
                }
                _ => {
                    "Does the process run, and does its configuration have `admin.listen`? \
                     --admin says where to ask."
                }
            };
            format!("cannot connect to {self}: {error}\n{hint}")
        };
        let inputs = match self {
            Self::Unix(socket) => {
                let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
                let bounded = stream.set_read_timeout(Some(TIMEOUT));
                bounded
                    .and_then(|()| exchange(&mut stream, &request(path, "localhost", body, token)))
            }
            Self::Tcp(address) => {
                let mut stream = TcpStream::connect(address).map_err(unreachable)?;
                let bounded = stream.set_read_timeout(Some(TIMEOUT));
                bounded.and_then(|()| {
                    // The server accepts only IP addresses in `Host`, so a host name is not sent.
                    let host = stream.peer_addr()?.to_string();
                    exchange(&mut stream, &request(path, &host, body, token))
                })
            }
        };
        inputs.map_err(|error| format!("{self}: {error}"))
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

fn request(path: &str, host: &str, body: Option<&Value>, token: Option<&str>) -> String {
    let method = if body.is_some() { "POST" } else { "GET" };
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    if let Some(token) = token {
        request.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        let len = body.len();
        request.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {len}\r\n"
        ));
    }
    request.push_str("\r\n");
    request.push_str(&body);
    request
}

fn exchange(stream: &mut (impl Read + Write), request: &str) -> io::Result<Response> {
    // A server that refuses early may close before it has read everything; its response counts.
    let sent = stream.write_all(request.as_bytes());
    let mut response = Vec::new();
    stream.take(RESPONSE_MAX).read_to_end(&mut response)?;
    if response.is_empty() {
        sent?;
    }
    parse(&response).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the response is incomplete or not HTTP",
        )
    })
}

/// Parses a complete response with Content-Length, as the admin socket always sends it.
fn parse(response: &[u8]) -> Option<Response> {
    let end = response.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(response.get(..end)?).ok()?;
    let body = response.get(end + 4..)?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let length = name.eq_ignore_ascii_case("content-length");
        length.then(|| value.trim().parse::<usize>().ok())?
    });
    (length? == body.len()).then_some(Response {
        status: status.parse().ok()?,
        body: body.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_response_is_refused() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}\n";
        assert_eq!(parse(whole).unwrap().body, b"{}\n");
        for len in 0..whole.len() {
            assert!(parse(&whole[..len]).is_none(), "{len}");
        }
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
