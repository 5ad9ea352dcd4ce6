//! Addresses: of listeners, of origins, and networks of clients. Never resolves names or opens sockets.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::address_advice as advice;
use super::definitions::Definitions;
use super::fields::spec;
use super::invalid::Invalid;
use super::read::{Leaf, Located, Read, Reader};
use super::reference::{Form, Reference};
use super::rendered::Rendered;
use super::values::{Name, Path, Permissions, Text, check_text};
use super::yaml::{Kind, Node};
use crate::hostname::{HostTemplate, HostTemplateError};

/// Where an endpoint listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `IP:PORT`: this address alone; an IPv6 address does not accept IPv4. Port 0 lets the system
    /// choose.
    Ip(SocketAddr),
    /// `*:PORT`: every address of both families.
    Any(u16),
    /// `unix:PATH`, or a map when it needs permissions or an owner.
    Unix(UnixListen),
    /// `systemd:NAME`: a socket that systemd opened.
    Systemd(Name),
}

spec! {
    /// A unix socket to listen on.
    pub struct UnixListen {
        /// The path of the socket.
        required unix: Path,
        /// Its permission bits in octal; absent, `0600`.
        optional permissions: Permissions,
        /// The user it belongs to, by number or by a name that the system knows (NSS).
        optional owner: Text,
        /// The group it belongs to, likewise.
        optional group: Text,
    }
}

impl Listen {
    const WHAT: &str = "an address such as `0.0.0.0:443`";
    const HELP: &str = "`IP:PORT`, `[IPV6]:PORT`, `*:PORT`, `unix:PATH` or `systemd:NAME`";

    fn parse(text: &str, node: &Node) -> Result<Self, Invalid> {
        Self::parse_exactly(text, node).map_err(|invalid| {
            let is_good = |meant: &str| Self::parse_exactly(meant, node).is_ok();
            invalid.or_fix(advice::listen(text, is_good))
        })
    }

    fn parse_exactly(text: &str, node: &Node) -> Result<Self, Invalid> {
        check_text(text)?;
        if let Some(path) = text.strip_prefix("unix:") {
            let unix = Located {
                value: unix_path(path)?,
                at: node.at,
                written: None,
            };
            return Ok(Self::Unix(UnixListen {
                unix,
                permissions: None,
                owner: None,
                group: None,
            }));
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return match Name::parse(name) {
                Ok(name) => Ok(Self::Systemd(name)),
                Err(_) => Err(Invalid::new("{} does not name a socket").help(Name::RULE)),
            };
        }
        if let Some(port) = text.strip_prefix("*:") {
            return parse_port(port).map(Self::Any);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        if let Some(invalid) = ip_without_port(text) {
            return Err(invalid);
        }
        Err(match text.rsplit_once(':') {
            None if parse_port(text).is_ok() => Invalid::new("{} is a port without an address")
                .help("`*:PORT` listens on every address")
                .fix(format!("`*:{text}` listens on every address")),
            Some((host, port)) if host.parse::<IpAddr>().is_ok() || is_bracketed(host) => {
                parse_port(port)
                    .err()
                    .unwrap_or_else(|| Invalid::new("{} is not an address"))
            }
            _ if text == "*" => missing_port(text),
            _ => Invalid::new("{} is not an address to listen on").help(Self::HELP),
        })
    }
}

impl Read for Listen {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Map(entries) if !entries.iter().any(|(key, _)| key.text == "unix") => {
                cx.unexpected(node, Self::WHAT).help(
                    "write address and port as one text, `IP:PORT`; a map is for a unix socket: \
                     `{ unix: PATH }`",
                );
                None
            }
            Kind::Map(_) => UnixListen::read(node, cx).map(Self::Unix),
            _ => cx.parse(node, Self::WHAT, |text| Self::parse(text, node)),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let text = json!({ "type": "string", "description": Self::HELP });
        json!({ "anyOf": [text, UnixListen::schema(definitions)] })
    }

    fn form(reference: &mut Reference) -> Form {
        Form::of("address").or(UnixListen::form(reference))
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Unix(UnixListen {
                unix,
                permissions: None,
                owner: None,
                group: None,
            }) => Rendered::Text(format!("unix:{}", unix.0.to_string_lossy())),
            Self::Unix(unix) => unix.render(),
            other => Rendered::Text(other.to_string()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Any(port) => write!(f, "*:{port}"),
            Self::Unix(listen) => write!(f, "unix:{}", listen.unix.display()),
            Self::Systemd(name) => write!(f, "systemd:{}", name.as_str()),
        }
    }
}

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

/// An IP address without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ip(pub IpAddr);

impl Leaf for Ip {
    fn what() -> Cow<'static, str> {
        "an IP address".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(address) => Ok(Self(address)),
            Err(_) => Err(Invalid::new("{} is not an IP address")),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9A-Fa-f.:]+$" })
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// A set of addresses: `10.0.0.0/8`, or a single IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr(pub IpNet);

impl Leaf for Cidr {
    fn what() -> Cow<'static, str> {
        "a network such as `10.0.0.0/8`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.into()));
        }
        match text.parse::<IpNet>() {
            Ok(network) if network.addr() == network.network() => Ok(Self(network)),
            Ok(network) => Err(Invalid::new("{} has bits set beyond its prefix")
                .help("clear the bits that the prefix does not cover")
                .fix(format!("did you mean `{}`?", network.trunc()))),
            Err(_) => Err(Invalid::new("{} is not a network")
                .help("write an IP address, or one with a prefix, such as `10.0.0.0/8`; names and ranges are not looked up")
                .fix(network_meant(text))),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$" })
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// Advice about networks in the notation of another program.
fn network_meant(text: &str) -> Option<String> {
    let known = match text.to_ascii_lowercase().as_str() {
        "localhost" | "loopback" => "127.0.0.0/8, \"::1\"",
        "private" | "rfc1918" | "private_ranges" => {
            "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, \"fc00::/7\""
        }
        _ => {
            let network = of_a_mask(text).or_else(|| of_stars(text))?;
            return Some(format!("write `{network}`"));
        }
    };
    Some(format!("write `[{known}]`"))
}

/// `10.0.0.0/255.0.0.0`.
fn of_a_mask(text: &str) -> Option<IpNet> {
    let (address, mask) = text.split_once('/')?;
    let network = IpNet::with_netmask(address.parse().ok()?, mask.parse().ok()?);
    network.ok().map(|network| network.trunc())
}

/// `10.0.*.*`, or `10.0.*`.
fn of_stars(text: &str) -> Option<IpNet> {
    let fixed = text.trim_end_matches(".*");
    let bytes: Vec<u8> = fixed
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    if fixed == text || bytes.is_empty() || bytes.len() > 3 {
        return None;
    }
    let mut octets = [0; 4];
    octets[..bytes.len()].copy_from_slice(&bytes);
    IpNet::new(IpAddr::from(octets), bytes.len() as u8 * 8).ok()
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

fn parse_port(text: &str) -> Result<u16, Invalid> {
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

fn missing_port(text: &str) -> Invalid {
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

fn is_bracketed(host: &str) -> bool {
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
