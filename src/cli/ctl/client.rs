//! One request to a running process: HTTP/1.1 over a unix socket or TCP, as much as the answers of
//! Reseal need.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::snapshot::admin::socket_in;

/// Longer than the process takes to answer anything.
const PATIENCE: Duration = Duration::from_secs(90);

/// The longest answer that is read.
const ANSWER_MAX: u64 = 256 * 1024 * 1024;

/// Where a process listens when nobody says so.
const USUAL: &str = "/run/reseal";

/// Where a process listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Unix(PathBuf),
    Tcp(String),
}

/// What came back.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

impl Place {
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

    /// The place that the configuration's default and the packages agree on.
    pub(super) fn usual(runtime_directories: Option<&str>) -> Self {
        let ours = runtime_directories.and_then(socket_in);
        Self::Unix(ours.or_else(|| socket_in(USUAL)).unwrap_or_default())
    }

    /// Sends a request, a POST if it has a body, and reads the whole answer.
    pub(super) fn ask(
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
            format!("nobody answers at {self}: {error}\n{hint}")
        };
        let inputs = match self {
            Self::Unix(socket) => {
                let mut stream = UnixStream::connect(socket).map_err(unreachable)?;
                let patient = stream.set_read_timeout(Some(PATIENCE));
                patient
                    .and_then(|()| exchange(&mut stream, &request(path, "localhost", body, token)))
            }
            Self::Tcp(address) => {
                let mut stream = TcpStream::connect(address).map_err(unreachable)?;
                let patient = stream.set_read_timeout(Some(PATIENCE));
                patient.and_then(|()| {
                    // The process wants to be asked by address, whatever name that was found by.
                    let host = stream.peer_addr()?.to_string();
                    exchange(&mut stream, &request(path, &host, body, token))
                })
            }
        };
        inputs.map_err(|error| format!("{self}: {error}"))
    }
}

impl fmt::Display for Place {
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
    // One that refuses early has answered all the same.
    let sent = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer)?;
    if answer.is_empty() {
        sent?;
    }
    parse(&answer).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the answer is not whole, or is no HTTP",
        )
    })
}

/// A whole answer of a known length, which all of ours are.
fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let body = answer.get(end + 4..)?;
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
    fn an_answer_that_was_cut_is_none() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}\n";
        assert_eq!(parse(whole).unwrap().body, b"{}\n");
        for len in 0..whole.len() {
            assert!(parse(&whole[..len]).is_none(), "{len}");
        }
    }

    #[test]
    fn places_are_read_as_they_are_written() {
        let tcp = Place::parse("http://127.0.0.1:9090/").unwrap();
        assert_eq!(tcp, Place::Tcp("127.0.0.1:9090".to_owned()));
        let unix = Place::parse("unix:/run/x.sock").unwrap();
        assert_eq!(unix.to_string(), "unix:/run/x.sock");
        for wrong in [
            "",
            "/run/x.sock",
            "https://127.0.0.1:1",
            "http://",
            "http://a/b",
        ] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            Place::usual(Some("/run/a:/run/b")),
            Place::Unix("/run/a/admin.sock".into())
        );
        assert_eq!(
            Place::usual(None),
            Place::Unix("/run/reseal/admin.sock".into())
        );
    }
}
