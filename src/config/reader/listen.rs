//! Addresses of listeners. Never opens sockets.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use super::address::{ip_without_port, is_bracketed, missing_port, parse_port, unix_path};
use super::address_advice as advice;
use super::definitions::Definitions;
use super::fields::spec;
use super::invalid::Invalid;
use super::read::{Leaf, Located, Read, Reader};
use super::reference::{Form, Reference};
use super::rendered::Rendered;
use super::values::{Name, Path, Permissions, Text, check_text};
use super::yaml::{Kind, Node};

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
