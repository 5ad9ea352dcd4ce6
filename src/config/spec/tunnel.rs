//! How TLS with origins begins: inside a protocol, or behind an HTTP proxy.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::negotiate::Negotiate;
use crate::config::reader::definitions::Definitions;
use crate::config::reader::fields::spec;
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::{Leaf, Read, Reader};
use crate::config::reader::reference::{Form, Reference};
use crate::config::reader::rendered::Rendered;
use crate::config::reader::values::Path;
use crate::config::reader::yaml::{Kind, Node};
use crate::negotiate::Protocol;

spec! {
    /// What comes before TLS with origins.
    pub struct Before {
        /// An HTTP proxy that connects to the origins (CONNECT). It looks their names up.
        required connect: HttpProxy,
        example "{ connect: { proxy: ADDRESS } }";
        instead
            "proxy" | "http_proxy" | "https_proxy" | "tunnel" => "connect";
    }
}

spec! {
    /// An HTTP proxy.
    pub struct HttpProxy {
        /// Its address, `IP:PORT`.
        required proxy: ProxyAddress,
        /// A file with the value of `Proxy-Authorization`, such as `Basic dXNlcjpwYXNz`.
        optional authorization_file: Path,
        example "{ proxy: ADDRESS }";
        instead
            "address" | "host" | "url" => "proxy",
            "authorization" | "proxy_authorization" | "password" | "username" | "user" =>
                "`authorization_file: FILE` holds the value of Proxy-Authorization, so that it is in no configuration";
    }
}

/// The address of a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyAddress(pub SocketAddr);

impl Leaf for ProxyAddress {
    fn what() -> Cow<'static, str> {
        "an address such as `10.0.0.9:3128`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => {
                Err(Invalid::new("{}: port 0 cannot be connected to"))
            }
            Ok(address) => Ok(Self(address)),
            Err(_) => Err(Invalid::new("{} is not an IP address with a port")
                .help("`IP:PORT` or `[IPV6]:PORT`, without a scheme; the name of a proxy is not looked up")),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": ":", "description": "`IP:PORT` or `[IPV6]:PORT`" })
    }

    fn form() -> Form {
        Form::of("address")
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// How TLS with origins begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginNegotiate {
    /// Inside a protocol, or at once.
    Inside(Negotiate),
    /// After something else.
    Behind(Before),
}

impl OriginNegotiate {
    /// The protocol that it begins in, if there is one.
    pub const fn protocol(&self) -> Option<Protocol> {
        match self {
            Self::Inside(negotiate) => negotiate.get(),
            Self::Behind(_) => None,
        }
    }

    /// The proxy before the origins, if there is one.
    pub const fn proxy(&self) -> Option<&HttpProxy> {
        match self {
            Self::Inside(_) => None,
            Self::Behind(before) => Some(&before.connect.value),
        }
    }
}

impl Read for OriginNegotiate {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => Before::read(node, cx).map(Self::Behind),
            _ => <Negotiate as Read>::read(node, cx).map(Self::Inside),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        json!({ "anyOf": [<Negotiate as Read>::schema(definitions), Before::schema(definitions)] })
    }

    fn form(reference: &mut Reference) -> Form {
        <Negotiate as Read>::form(reference).or(Before::form(reference))
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Inside(negotiate) => Read::render(negotiate),
            Self::Behind(before) => before.render(),
        }
    }

    fn keys() -> &'static [&'static str] {
        Before::keys()
    }
}
