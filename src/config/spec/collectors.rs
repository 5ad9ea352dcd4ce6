//! The keys of collectors that get the records of the access log.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::trust::Trust;
use crate::config::reader::address::{OriginAddress, unix_path};
use crate::config::reader::fields::spec;
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::config::reader::reference::Form;
use crate::config::reader::values::{Path, check_text};
use crate::config::reader::words;
use crate::observe::export::{Facility, HostPort, OtlpEndpoint, SyslogAddress};

spec! {
    /// A syslog server. A message (RFC 5424) holds one record in the form of `access_log.format`.
    pub struct Syslog {
        /// The server: `unix:PATH` (datagrams), `udp:HOST:PORT` or `tcp:HOST:PORT` (octet counting,
        /// RFC 6587).
        required to: SyslogAddress,
        /// The facility of the messages.
        default facility: Facility = "local0"
            because "the others have programs of their own",
        example "{ to: unix:/dev/log }";
        instead
            "address" | "server" | "host" | "target" => "to",
            "tag" | "ident" => "the name in a message is `reseal`",
            "severity" | "level" => "a message is `info`, or `notice` if the connection has ended by a fault",
            "format" => "`access_log: { format: .. }` is the form of the record in a message";
    }
}

spec! {
    /// A collector of OpenTelemetry, or any other that takes OTLP over HTTP as JSON.
    pub struct Otlp {
        /// The URL of the collector, `http://HOST:PORT` or `https://HOST:PORT`, and a path if it is not at
        /// the root: `/v1/logs` follows it.
        required endpoint: OtlpEndpoint,
        /// The CAs that may sign the collector's certificate: files in PEM, `webpki` (the public CAs that are
        /// built in), or `system` (the system's store).
        default ca: Trust = "webpki"
            because "it verifies public services, and fails for private ones until their CA is named",
        /// A file with headers of each request, `Name: value` lines: tokens and keys. It is a secret, and
        /// re-read when it changes.
        optional headers_file: Path,
        example "{ endpoint: \"https://collector.example.com:4318\" }";
        instead
            "url" | "address" | "to" => "endpoint",
            "headers" | "authorization" | "token" | "api_key" =>
                "`headers_file: FILE` names a file with `Name: value` lines, as they are secrets",
            "ca_file" | "cafile" | "cacert" => "ca",
            "insecure" => "without TLS, the endpoint is `http://HOST:PORT`",
            "protocol" => "it is HTTP with JSON",
            "compression" => "requests are not compressed",
            "timeout" => "a request may take 10 s";
    }
}

const OTLP_ENDPOINTS: &str = "`http://HOST:PORT` or `https://HOST:PORT`";

impl Leaf for OtlpEndpoint {
    fn what() -> Cow<'static, str> {
        "a URL such as `https://collector.example.com:4318`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        let schemes = [("https://", true, 443), ("http://", false, 80)];
        let known = schemes
            .iter()
            .find_map(|(scheme, is_tls, port)| Some((text.strip_prefix(scheme)?, *is_tls, *port)));
        let Some((rest, is_tls, port)) = known else {
            let meant = format!("https://{text}");
            let meant = (!text.contains("://") && Self::parse(&meant).is_ok())
                .then(|| format!("write `{meant}`, or `http://{text}` without TLS"));
            return Err(Invalid::new("{} is no URL of a collector")
                .help(OTLP_ENDPOINTS)
                .fix(meant));
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if rest.contains(['?', '#']) || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::new("{} has more than a path").help(OTLP_ENDPOINTS));
        }
        if authority.contains('@') {
            return Err(Invalid::new("the URL holds credentials")
                .help("`headers_file: FILE` names a file with an `Authorization` header"));
        }
        let has_port = OriginAddress::parse(authority).is_ok();
        let place = match has_port {
            true => host_and_port(authority),
            false => host_and_port(&format!("{authority}:{port}")),
        };
        let place = place.map_err(|_| Invalid::new("{} names no host").help(OTLP_ENDPOINTS))?;
        Ok(Self::new(is_tls, place, path))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^https?://" })
    }

    fn form() -> Form {
        Form::of("URL")
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

const SYSLOG_ADDRESSES: &str = "`unix:PATH`, `udp:HOST:PORT` or `tcp:HOST:PORT`";

impl Leaf for SyslogAddress {
    fn what() -> Cow<'static, str> {
        "an address such as `unix:/dev/log`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path).map(|path| Self::Unix(path.0));
        }
        if let Some(place) = text.strip_prefix("udp:") {
            return host_and_port(place).map(Self::Udp);
        }
        if let Some(place) = text.strip_prefix("tcp:") {
            return host_and_port(place).map(Self::Tcp);
        }
        let meant = match text.starts_with('/') {
            true => Some(format!("unix:{text}")),
            false => host_and_port(text).ok().map(|place| format!("udp:{place}")),
        };
        Err(Invalid::new("{} is no address of a syslog server")
            .help(SYSLOG_ADDRESSES)
            .fix(meant.map(|meant| format!("write `{meant}`"))))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^(unix|udp|tcp):" })
    }

    fn form() -> Form {
        Form::of("`unix:PATH`")
            .or(Form::of("`udp:HOST:PORT`"))
            .or(Form::of("`tcp:HOST:PORT`"))
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

pub(super) fn host_and_port(text: &str) -> Result<HostPort, Invalid> {
    // In a URL, two slashes come before the host.
    if let Some(rest) = text.strip_prefix("//") {
        let invalid = Invalid::new("{} is a URL, not an address").help(SYSLOG_ADDRESSES);
        return Err(invalid.fix(
            OriginAddress::parse(rest)
                .is_ok()
                .then(|| "leave the slashes out".to_owned()),
        ));
    }
    match OriginAddress::parse(text)? {
        OriginAddress::Ip(address) => Ok(HostPort {
            host: address.ip().to_string(),
            port: address.port(),
        }),
        OriginAddress::Host { host, port } => Ok(HostPort { host, port }),
        OriginAddress::Srv(_) | OriginAddress::Unix(_) | OriginAddress::Made { .. } => {
            Err(Invalid::new("{} is no address of a syslog server").help(SYSLOG_ADDRESSES))
        }
    }
}

/// The facilities that a program may use for itself.
const FACILITIES: [(&str, Facility); 12] = [
    ("user", Facility::User),
    ("daemon", Facility::Daemon),
    ("auth", Facility::Auth),
    ("authpriv", Facility::Authpriv),
    ("local0", Facility::Local0),
    ("local1", Facility::Local1),
    ("local2", Facility::Local2),
    ("local3", Facility::Local3),
    ("local4", Facility::Local4),
    ("local5", Facility::Local5),
    ("local6", Facility::Local6),
    ("local7", Facility::Local7),
];

impl Leaf for Facility {
    fn what() -> Cow<'static, str> {
        "a facility such as `local0`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let known = FACILITIES.iter().find(|(word, _)| *word == text);
        let words = FACILITIES.map(|(word, _)| word);
        known
            .map(|(_, facility)| *facility)
            .ok_or_else(|| words::unknown_word("facility", text, &words, &[]))
    }

    fn schema() -> Value {
        words::schema(&FACILITIES.map(|(word, _)| word))
    }

    fn form() -> Form {
        Form::one_of(&FACILITIES.map(|(word, _)| (word, "")))
    }

    fn render(&self) -> String {
        let own = FACILITIES.iter().find(|(_, facility)| facility == self);
        own.map(|(word, _)| (*word).to_owned()).unwrap_or_default()
    }
}
