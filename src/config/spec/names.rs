//! Leaves that name something: host names and patterns, the names of certificates in rules, and upstreams.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::Deref;

use rustls::pki_types::ServerName;
use serde_json::{Value, json};

use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::config::reader::reference::Form;
use crate::config::reader::values::{Name, check_text};
use crate::hostname::{HostName, HostNameError, HostPattern, is_typographic};
use crate::tls::verify::allow::{Email, UriPattern};

impl Leaf for HostName {
    fn what() -> Cow<'static, str> {
        "a host name such as `tenants.internal`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        Self::from_config(text).map_err(|_| Invalid::new("{} is not a host name"))
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 255 })
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

impl Leaf for HostPattern {
    fn what() -> Cow<'static, str> {
        "a host name such as `a.example.com`, `*.example.com` or `**.example.com`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        Self::parse_deep(text).map_err(|error| match error {
            HostNameError::Address => Invalid::new(format!("{{}} is {error}"))
                .help("leave it out: the default route serves clients without a server name"),
            HostNameError::Malformed => malformed(text),
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 255 })
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

/// The name of an upstream, as a route gives it. Other programs have addresses in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamName(Name);

impl Deref for UpstreamName {
    type Target = Name;

    fn deref(&self) -> &Name {
        &self.0
    }
}

impl Leaf for UpstreamName {
    const SINGLE: &'static str = "write its name: its origins are listed under `upstreams`, as in \
        `upstreams: { NAME: { origins: [ADDRESS] } }`";

    fn what() -> Cow<'static, str> {
        "the name of an upstream".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let name = Name::parse(text).map(Self);
        name.map_err(|invalid| match text.contains([':', '/']) {
            true => Invalid::new("{} is not the name of an upstream").help(Self::SINGLE),
            false => invalid,
        })
    }

    fn schema() -> Value {
        <Name as Leaf>::schema()
    }

    fn form() -> Form {
        <Name as Leaf>::form()
    }

    fn render(&self) -> String {
        Leaf::render(&self.0)
    }
}

/// Why a text is no host name, with a hint about the usual causes.
fn malformed(text: &str) -> Invalid {
    let invalid = Invalid::new("{} is not a host name");
    if let Some(advice) = advice(text) {
        return invalid
            .fix(advice)
            .help("a server name has no scheme, port or path");
    }
    if text == "*" {
        invalid.help("for the names that no route has, set `default_route` of the endpoint")
    } else if text.contains('*') {
        invalid.help(
            "a wildcard is `*.` before a name, for exactly one label, or `**.`, for one or more",
        )
    } else if text.contains(is_typographic) {
        invalid.help("it has typographic quotes or dashes: write \" and -")
    } else {
        invalid
    }
}

/// Advice about a server name in the notation of another program.
fn advice(text: &str) -> Option<String> {
    let fits = |name: &str| HostPattern::parse_deep(name).is_ok();
    let inner = ["HostSNI(", "HostSNIRegexp(", "Host("]
        .iter()
        .find_map(|call| text.strip_prefix(call));
    if let Some(inner) = inner {
        let name = inner.trim_end_matches(')').trim_matches(['`', '"', '\'']);
        return fits(name).then(|| format!("write `{name}`"));
    }
    let host = text.split_once("://").map_or(text, |(_, host)| host);
    let host = host.split(['/', ':']).next().unwrap_or(host);
    if host != text && fits(host) {
        return Some(format!(
            "write `{host}`: a server name has no scheme, port or path"
        ));
    }
    let names: Vec<_> = text
        .split([' ', ',', ';', '|'])
        .filter(|name| !name.is_empty())
        .collect();
    if names.len() > 1 && names.iter().all(|name| fits(name)) {
        return Some(format!("write a list: `[{}]`", names.join(", ")));
    }
    let suffix = text.trim_start_matches('.');
    if suffix != text && fits(suffix) {
        return Some(format!(
            "write `\"*.{suffix}\"` for exactly one label before it, or `\"**.{suffix}\"` for one or more"
        ));
    }
    let is_regex = text.contains(['^', '$', '\\', '(', '[', '+', '?', '|', '{', '~'])
        || (text.contains(".*") && !text.starts_with('*'));
    is_regex.then(|| {
        "regular expressions are not supported: list the names, \
         or write `*.` for exactly one label, `**.` for one or more"
            .to_owned()
    })
}

/// A DNS name among the SANs of a certificate: exact, or a wildcard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSan(pub HostPattern);

impl Leaf for DnsSan {
    fn what() -> Cow<'static, str> {
        "a host name such as `a.example.com`, or `*.example.com`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.parse::<IpAddr>().is_ok() {
            return Err(Invalid::new("{} is an IP address, which no DNS name is")
                .help("addresses are listed under `ip`"));
        }
        match <HostPattern as Leaf>::parse(text)? {
            HostPattern::Deep(_) => Err(Invalid::new("{} is no name of a certificate").help(
                "certificates have no wildcard of any depth: write `*.` for exactly one label",
            )),
            pattern => Ok(Self(pattern)),
        }
    }

    fn schema() -> Value {
        <HostPattern as Leaf>::schema()
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// A URI among the SANs of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriSan(pub UriPattern);

impl Leaf for UriSan {
    fn what() -> Cow<'static, str> {
        "a URI such as `spiffe://example.com/ns/prod/*`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        UriPattern::parse(text).map(Self).map_err(|why| {
            Invalid::new(format!("{{}} can never match: {why}"))
                .help("such as spiffe://example.com/ns/prod/*")
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9+.-]+:" })
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// A mail address among the SANs of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailSan(pub Email);

impl Leaf for EmailSan {
    fn what() -> Cow<'static, str> {
        "a mail address such as `ops@example.com`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        let invalid = || Invalid::new("{} can never match: it is not a mail address");
        if text.contains('*') {
            return Err(invalid().help("mail addresses have no wildcards: list each address"));
        }
        Email::parse(text).map(Self).ok_or_else(invalid)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[!-~]+@[!-~]+$" })
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

impl Leaf for ServerName<'static> {
    fn what() -> Cow<'static, str> {
        "a host name or IP address".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        server_name(text).ok_or_else(|| {
            Invalid::new("{} is no host name that a certificate could have").fix(advice(text))
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 255 })
    }

    fn render(&self) -> String {
        self.to_str().into_owned()
    }
}

/// A host name or an address, as it appears in certificates.
pub fn server_name(text: &str) -> Option<ServerName<'static>> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Some(ServerName::from(ip));
    }
    let name = HostName::from_config(text).ok()?;
    ServerName::try_from(name.as_str().to_owned()).ok()
}
