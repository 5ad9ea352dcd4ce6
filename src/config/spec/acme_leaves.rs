//! Leaves of the keys of CAs: URLs, addresses, names of certificates.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hyper::Uri;
use serde_json::{Value, json};

use crate::acme::{HttpPlace, Identifier};
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::config::reader::reference::Form;
use crate::config::reader::values::check_text;
use crate::hostname::{HostName, HostPattern};

/// Where a listener for validations is: `IP:PORT`, or `*:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpListen(pub HttpPlace);

impl Leaf for HttpListen {
    fn what() -> Cow<'static, str> {
        "an address such as `*:80`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        let place = match text.strip_prefix("*:") {
            Some(port) => port.parse().ok().map(|port| HttpPlace {
                address: (Ipv6Addr::UNSPECIFIED, port).into(),
                both: true,
            }),
            None => text.parse().ok().map(|address| HttpPlace {
                address,
                both: false,
            }),
        };
        let place = place.filter(|place| place.address.port() != 0);
        place.map(Self).ok_or_else(|| {
            Invalid::new("{} is not an address to listen on")
                .help("`IP:PORT`, `[IPV6]:PORT` or `*:PORT`")
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": ":[0-9]+$" })
    }

    fn form() -> Form {
        Form::of("address")
    }

    fn render(&self) -> String {
        match self.0.both {
            true => format!("*:{}", self.0.address.port()),
            false => self.0.address.to_string(),
        }
    }
}

/// A name server: an IP address, and a port if it is not 53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(pub SocketAddr);

impl Leaf for DnsServer {
    fn what() -> Cow<'static, str> {
        "an address such as `10.0.0.53`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        const PORT: u16 = 53;
        check_text(text)?;
        let alone = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
        let place = alone.or_else(|_| text.parse());
        let place = place.ok().filter(|place| place.port() != 0);
        place.map(Self).ok_or_else(|| {
            Invalid::new("{} is not the address of a name server")
                .help("`IP`, `IP:PORT` or `[IPV6]:PORT`")
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn form() -> Form {
        Form::of("address")
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// A profile that is asked for, or `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile(pub Option<String>);

impl Leaf for Profile {
    fn what() -> Cow<'static, str> {
        "the name of a profile, or `none`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        Ok(Self((text != "none").then(|| text.to_owned())))
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn render(&self) -> String {
        self.0.clone().unwrap_or_else(|| "none".to_owned())
    }
}

/// A URL that begins with `https://` and has no fragment and no user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsUrl(pub Uri);

impl Leaf for HttpsUrl {
    fn what() -> Cow<'static, str> {
        "a URL such as `https://ca.internal/acme/directory`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        if text.starts_with("http://") {
            return Err(Invalid::new("{} does not begin with `https://`")
                .help("a CA is asked over TLS alone (RFC 8555 section 6.1); `ca: FILE` names who vouches for it"));
        }
        let url: Option<Uri> = text.parse().ok().filter(|_| !text.contains('#'));
        let fits = |url: &Uri| {
            let authority = url.authority();
            let is_whole =
                authority.is_some_and(|at| !at.as_str().contains('@') && !at.host().is_empty());
            url.scheme_str() == Some("https") && is_whole
        };
        url.filter(fits).map(Self).ok_or_else(|| {
            Invalid::new("{} is not the URL of a directory")
                .help("write it as the CA does, such as `https://ca.internal/acme/directory`")
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^https://" })
    }

    fn form() -> Form {
        Form::of("URL")
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// Where a CA may write to: a URL, of a scheme that it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact(pub String);

impl Leaf for Contact {
    fn what() -> Cow<'static, str> {
        "an address such as `mailto:ops@example.com`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        let is_scheme = |scheme: &str| {
            !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        if scheme.is_some_and(is_scheme) {
            return Ok(Self(text.to_owned()));
        }
        let fix = text.contains('@').then(|| format!("write `mailto:{text}`"));
        Err(Invalid::new("{} is not a URL")
            .help("write `mailto:` before an address")
            .fix(fix))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9]+:" })
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

impl Leaf for Identifier {
    fn what() -> Cow<'static, str> {
        "a host name such as `a.example.com` or `*.example.com`, or an IP address".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(address));
        }
        match <HostPattern as Leaf>::parse(text)? {
            HostPattern::Exact(name) => Ok(Self::Dns(name)),
            HostPattern::Wildcard(parent) => Ok(Self::Wildcard(parent)),
            HostPattern::Deep(_) => Err(Invalid::new("{} is a wildcard of any depth")
                .help("certificates have `*.` alone, which stands for one label")),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 255 })
    }

    fn form() -> Form {
        Form::of("host name").or(Form::of("IP address"))
    }

    fn render(&self) -> String {
        match self {
            Self::Dns(name) => HostName::as_str(name).to_owned(),
            Self::Wildcard(parent) => format!("*.{parent}"),
            Self::Ip(address) => address.to_string(),
        }
    }
}
