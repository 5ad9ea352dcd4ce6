//! Where records go by OTLP, and what goes with them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use rustls::ClientConfig;

use crate::observe::export::address::HostPort;

/// The path of logs below the address of a collector.
const LOGS: &str = "/v1/logs";

/// Headers that a request has by itself.
const OWN: [HeaderName; 5] = [
    HOST,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    TRANSFER_ENCODING,
];

/// The URL that requests go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// Whether it is reached over TLS.
    pub is_tls: bool,
    /// The host and the port.
    pub place: HostPort,
    /// The path of logs.
    pub path: String,
}

impl OtlpEndpoint {
    /// The endpoint at this place, whose path may be that of the collector or that of its logs.
    pub fn new(is_tls: bool, place: HostPort, path: &str) -> Self {
        let path = path.trim_end_matches('/');
        let path = match path.ends_with(LOGS) {
            true => path.to_owned(),
            false => format!("{path}{LOGS}"),
        };
        Self {
            is_tls,
            place,
            path,
        }
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.place, self.path)
    }
}

/// A collector that records go to. Two are equal if the configuration says the same of them: what its files
/// hold is renewed without a restart.
#[derive(Clone, Debug)]
pub struct OtlpSettings {
    /// The URL.
    pub endpoint: OtlpEndpoint,
    /// The CAs, as the configuration names them.
    pub ca: String,
    /// The file of the headers.
    pub headers_file: Option<PathBuf>,
    /// What these files hold.
    pub terms: Arc<OtlpTerms>,
}

impl PartialEq for OtlpSettings {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            endpoint,
            ca,
            headers_file,
            terms: _,
        } = self;
        *endpoint == other.endpoint && *ca == other.ca && *headers_file == other.headers_file
    }
}

impl Eq for OtlpSettings {}

/// What requests to a collector are made with.
#[derive(Clone, Debug)]
pub struct OtlpTerms {
    /// The policy of TLS, for an endpoint that is reached over it.
    pub tls: Option<Arc<ClientConfig>>,
    /// Headers of each request.
    pub headers: Headers,
}

/// Headers of requests, which may be secrets: their values are not shown by `Debug`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub(super) HeaderMap);

/// A line that is no header: its number, and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub struct HeaderError {
    /// The number of the line, from 1.
    pub line: usize,
    /// One phrase, without the content of the line.
    pub what: &'static str,
}

impl Headers {
    /// Reads `Name: value` lines. Empty lines do not count.
    pub fn parse(text: &[u8]) -> Result<Self, HeaderError> {
        let mut headers = HeaderMap::new();
        for (n, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let (name, value) = header(line).map_err(|what| HeaderError { line: n + 1, what })?;
            headers.append(name, value);
        }
        Ok(Self(headers))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn header(line: &[u8]) -> Result<(HeaderName, HeaderValue), &'static str> {
    let colon = line.iter().position(|byte| *byte == b':');
    let (name, value) = colon
        .and_then(|colon| Some((line.get(..colon)?, line.get(colon + 1..)?)))
        .ok_or("a header is written `Name: value`")?;
    let name =
        HeaderName::from_bytes(name).map_err(|_| "the name before the colon is no header name")?;
    if OWN.contains(&name) {
        return Err("Reseal sets this header itself");
    }
    let value = value.trim_ascii();
    let mut value = HeaderValue::from_bytes(value)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or("the value behind the colon is empty, or holds a control character")?;
    value.set_sensitive(true);
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_lines_and_their_values_stay_secret() {
        let text = b"Authorization: Bearer s3cret\r\n\nX-Scope-OrgID: team: a\n";
        let headers = Headers::parse(text).unwrap();
        assert_eq!(headers.0["authorization"], "Bearer s3cret");
        assert_eq!(headers.0["x-scope-orgid"], "team: a");
        let shown = format!("{headers:?}");
        assert!(
            !shown.contains("s3cret") && !shown.contains("team"),
            "{shown}"
        );
        for (text, line) in [
            (&b"a: b\nBearer s3cret"[..], 2),
            (b"Na me: x", 1),
            (b": x", 1),
            (b"\n\na:", 3),
            (b"a: \x01", 1),
            (b"Content-Type: text/plain", 1),
        ] {
            let error = Headers::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(!error.what.contains("s3cret"));
        }
        assert!(Headers::parse(b"\n \n").unwrap().is_empty());
    }

    #[test]
    fn the_path_of_logs_is_added_once() {
        let place = HostPort {
            host: "::1".to_owned(),
            port: 4318,
        };
        for (path, expected) in [
            ("", "/v1/logs"),
            ("/", "/v1/logs"),
            ("/otlp/", "/otlp/v1/logs"),
            ("/otlp/v1/logs", "/otlp/v1/logs"),
        ] {
            let endpoint = OtlpEndpoint::new(true, place.clone(), path);
            assert_eq!(
                endpoint.to_string(),
                format!("https://[::1]:4318{expected}")
            );
        }
    }
}
