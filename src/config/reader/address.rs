//! Addresses of origins, and what they share with those of listeners. Never resolves names or opens sockets.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde_json::{Value, json};

use super::address_advice as advice;
use super::invalid::Invalid;
use super::read::Leaf;
use super::reference::Form;
use super::values::{Path, check_text};
use crate::hostname::{HostTemplate, HostTemplateError};

/// Where an origin is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OriginAddress {
    /// `IP:PORT`.
    Ip(SocketAddr),
    /// `HOST:PORT` or `dns:HOST:PORT`, to be resolved.
    Host {
        /// The name as written.
        host: String,
        /// The port, not 0.
        port: u16,
    },
    /// `srv:NAME`: the hosts and ports of a service.
    Srv(String),
    /// `unix:PATH`.
    Unix(Path),
    /// `HOST:PORT` with `{1}` in the host: a name that is made for each client.
    Made {
        /// The host, with the place for the labels of the client's name.
        host: HostTemplate,
        /// The port, not 0.
        port: u16,
    },
}

impl Leaf for OriginAddress {
    fn what() -> Cow<'static, str> {
        "an address such as `10.0.0.1:443`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::parse_exactly(text).map_err(|invalid| {
            let is_good = |meant: &str| Self::parse_exactly(meant).is_ok();
            invalid.or_fix(advice::origin(text, is_good))
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": ":", "description": "`IP:PORT`, `[IPV6]:PORT`, `HOST:PORT`, \
            `srv:NAME` or `unix:PATH`" })
    }

    fn form() -> Form {
        Form::of("address")
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl OriginAddress {
    fn parse_exactly(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path).map(Self::Unix);
        }
        if let Some(service) = text.strip_prefix("srv:") {
            return srv_name(service);
        }
        let text = text.strip_prefix("dns:").unwrap_or(text);
        if text.contains(['{', '}']) {
            return made(text);
        }
        if let Some(invalid) = ip_without_port(text) {
            return Err(invalid);
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(port_zero()),
                _ => Ok(Self::Ip(address)),
            };
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(missing_port(text));
        };
        if host.ends_with(['/', ':']) || host.contains("://") {
            return Err(Invalid::new("{} is a URL, not an address")
                .help("write `HOST:PORT`, without a scheme"));
        }
        if !is_host(host) && host.parse::<IpAddr>().is_err() && !is_bracketed(host) {
            return Err(
                Invalid::new("{} does not begin with a host name or an IP address")
                    .help("`IP:PORT`, `[IPV6]:PORT`, `HOST:PORT`, `srv:NAME` or `unix:PATH`"),
            );
        }
        match parse_port(port)? {
            0 => Err(port_zero()),
            port => Ok(Self::Host {
                host: host.to_owned(),
                port,
            }),
        }
    }
}

impl fmt::Display for OriginAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
            Self::Srv(service) => write!(f, "srv:{service}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Made { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// An address that is made of clients' names.
fn made(text: &str) -> Result<OriginAddress, Invalid> {
    const HELP: &str = "such as `{1}.tenants.internal:5432`, where `{1}` is what `*` or `**` of `match.sni` stood for";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(missing_port(text));
    };
    let host = HostTemplate::parse(host).map_err(|error| {
        Invalid::new(match error {
            HostTemplateError::Place => "{} has not exactly one `{1}`, in its host",
            HostTemplateError::NoSuffix => {
                "{} would let clients choose any domain: a name has to follow `{1}`"
            }
            HostTemplateError::Malformed => "{} makes no host name",
        })
        .help(HELP)
    })?;
    match parse_port(port)? {
        0 => Err(port_zero()),
        port => Ok(OriginAddress::Made { host, port }),
    }
}

/// A service name (RFC 2782); its SRV records hold the port.
fn srv_name(service: &str) -> Result<OriginAddress, Invalid> {
    const HELP: &str = "such as `srv:_vault._tcp.example.com`";
    if service.contains(':') {
        return Err(Invalid::new("{}: the port comes from the SRV records").help(HELP));
    }
    let mut labels = service.split('.');
    let is_marked = |label: Option<&str>| label.is_some_and(|label| label.starts_with('_'));
    if !is_host(service) || !is_marked(labels.next()) || !is_marked(labels.next()) {
        let plain = service.trim_matches('/');
        let is_url = plain != service && srv_name(plain).is_ok();
        return Err(Invalid::new("{} does not name a service")
            .help(HELP)
            .fix(is_url.then(|| format!("write `srv:{plain}`"))));
    }
    Ok(OriginAddress::Srv(service.to_owned()))
}

pub fn unix_path(path: &str) -> Result<Path, Invalid> {
    if path.is_empty() {
        return Err(Invalid::new("{} has no path"));
    }
    Path::parse(path)
}

pub(super) fn parse_port(text: &str) -> Result<u16, Invalid> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits => Ok(port),
        _ if digits => {
            Err(Invalid::new("{} has a port above 65535").help("ports go from 1 to 65535"))
        }
        _ => {
            Err(Invalid::new("{} does not end with a port").help("a port is a number up to 65535"))
        }
    }
}

fn port_zero() -> Invalid {
    Invalid::new("{}: port 0 cannot be connected to")
}

pub(super) fn missing_port(text: &str) -> Invalid {
    let fix = match text.parse::<Ipv6Addr>() {
        Ok(_) => format!("add one: `[{text}]:443`"),
        Err(_) if text.contains(['/', ' ', '\t']) => return Invalid::new("{} is not an address"),
        Err(_) => format!("add one: `{text}:443`"),
    };
    Invalid::new("{} has no port")
        .help("add one, such as `:443`")
        .fix(fix)
}

pub(super) fn ip_without_port(text: &str) -> Option<Invalid> {
    if let Some((host, port)) = text.rsplit_once(':')
        && host.parse::<Ipv6Addr>().is_ok()
        && parse_port(port).is_ok()
    {
        let invalid = Invalid::new("{} is ambiguous: the IPv6 address needs brackets")
            .help("put the address in brackets: `[IPV6]:PORT`")
            .fix(format!("write `[{host}]:{port}`"));
        return Some(invalid);
    }
    let bare = text.parse::<IpAddr>().is_ok() || is_bracketed(text);
    bare.then(|| missing_port(text))
}

pub(super) fn is_bracketed(host: &str) -> bool {
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inner.is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok())
}

/// Whether a text is a host name: labels of 1 to 63 letters, digits, `-` and `_`, and not a number,
/// which could only be a mistyped IP address.
fn is_host(host: &str) -> bool {
    let fits = |char: char| char.is_alphanumeric() || char == '-' || char == '_';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(fits);
    let name = host.strip_suffix('.').unwrap_or(host);
    let last = name.rsplit('.').next().unwrap_or(name);
    name.len() <= 253
        && name.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}
