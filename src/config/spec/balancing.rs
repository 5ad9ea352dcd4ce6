//! The keys for balancing, DNS and health checks: a part of the table of [`spec`](super::spec).

use crate::config::reader::definitions::Definitions;
use crate::config::reader::fields::{Field, Fields, spec};
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::{Leaf, Located, Read, Reader};
use crate::config::reader::rendered::Rendered;
use crate::config::reader::values::{Count, Text, Timeout};
use crate::config::reader::words::keyword;
use crate::config::reader::yaml::{Kind, Node};
use serde_json::{Value, json};
use std::borrow::Cow;

keyword! {
    /// How an origin is chosen for a connection.
    pub enum Balance("balance") {
        /// In turn, by weight.
        RoundRobin = "round_robin",
        /// The fewest connections relative to the weight.
        LeastConnections = "least_connections",
        /// Of two random origins, the one with fewer connections relative to the weight.
        RandomTwo = "random_two",
        /// By the client's address.
        SourceHash = "source_hash",
        /// The first healthy origin of the list.
        First = "first",
    }
}

spec! {
    /// How host names of origins are resolved.
    pub struct Resolve {
        /// What happens to connections to an address that has left DNS.
        default on_gone: OnGone = "keep",
    }
}

keyword! {
    /// What happens to connections to an address that has left DNS.
    pub enum OnGone("choice") {
        /// They stay.
        Keep = "keep",
        /// They are drained.
        Drain = "drain",
    }
}

spec! {
    /// How the health of origins is checked.
    pub struct Health {
        /// `tcp`, `tls`, `{ http: ... }` or `{ preset: ... }`; absent, origins
        /// are not checked.
        optional check: Check,
        /// The port of the check, if it is not the origin's own.
        optional port: Count<1, 65_535>,
        /// Time between checks.
        default interval: Timeout = "5s",
        /// Timeout of a check.
        default timeout: Timeout = "2s",
        /// Successful checks in a row until an origin is up.
        default rise: Count<1, 100> = "2",
        /// Failed checks in a row until an origin is down.
        default fall: Count<1, 100> = "3",
        /// What happens to connections to an origin that checks find down.
        default on_down: OnDown = "keep",
        /// Ejection of origins that fail connections.
        optional passive: Passive,
        /// The PROXY header of checks, for origins that require one.
        default send_proxy_protocol: CheckHeader = "off",
    }
}

keyword! {
    /// The PROXY header of a check, which marks it as local to Reseal.
    pub enum CheckHeader("choice") {
        /// None.
        Off = "off",
        /// Version 1: UNKNOWN.
        V1 = "v1",
        /// Version 2: LOCAL.
        V2 = "v2",
    }
}

keyword! {
    /// What happens to connections to an origin that is down.
    pub enum OnDown("choice") {
        /// They stay.
        Keep = "keep",
        /// They are closed.
        Close = "close",
    }
}

spec! {
    /// When an origin that fails connections is ejected.
    pub struct Passive {
        /// Failures in a row.
        default failures: Count<1, 1000> = "5",
        /// The time window of the failures.
        default within: Timeout = "10s",
        /// How long the first ejection lasts; the n-th lasts n times as long.
        default eject: Timeout = "30s",
        /// The most origins that are ejected at a time.
        default max_ejected: Percent = "50%",
    }
}

/// The kind of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A connection.
    Tcp,
    /// A TLS handshake, the certificate verified.
    Tls,
    /// An HTTP request.
    Http(HttpCheck),
    /// A predefined HTTP request.
    Preset(Preset),
}

keyword! {
    /// A predefined HTTP request.
    pub enum Preset("preset") {
        /// The active node of Vault or OpenBao.
        VaultActive = "vault-active",
        /// The active node, and performance standbys.
        VaultAny = "vault-any",
    }
}

spec! {
    /// An HTTP request, and the statuses of a healthy origin.
    pub struct HttpCheck {
        /// The path, query included.
        default path: HttpPath = "/",
        /// The method.
        default method: HttpMethod = "GET",
        /// The `Host` header; absent, the origin's `server_name` or host.
        optional host: HttpHost,
        /// The statuses of a healthy origin, one or a list of numbers and ranges.
        default expect: OneOrMany<Statuses> = "[200-299]",
    }
}

spec! {
    /// An HTTP request, by the key `http`.
    pub struct HttpKey {
        /// The request, and the statuses of a healthy origin.
        required http: HttpCheck,
    }
}

spec! {
    /// A predefined HTTP request, by the key `preset`.
    pub struct PresetKey {
        /// Which one.
        required preset: Preset,
    }
}

impl Read for Check {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        const HELP: &str =
            "`tcp`, `tls`, `{ http: { path: /health } }` or `{ preset: vault-active }`";
        let Kind::Map(entries) = &node.kind else {
            return cx.parse(node, "a check", |text| match text {
                "tcp" => Ok(Self::Tcp),
                "tls" => Ok(Self::Tls),
                _ => Err(Invalid::new("unknown check {}").help(format!("write {HELP}"))),
            });
        };
        let has = |name: &str| entries.iter().any(|(key, _)| key.text == name);
        match (has("http"), has("preset")) {
            (true, true) => {
                cx.error(node.at, "`http` and `preset` exclude each other");
                None
            }
            (_, true) => PresetKey::read(node, cx).map(|key| Self::Preset(key.preset.value)),
            _ => HttpKey::read(node, cx).map(|key| Self::Http(key.http.value)),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let http = HttpKey::schema(definitions);
        let preset = PresetKey::schema(definitions);
        json!({ "anyOf": [{ "enum": ["tcp", "tls"] }, http, preset] })
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Tcp => Rendered::Text("tcp".to_owned()),
            Self::Tls => Rendered::Text("tls".to_owned()),
            Self::Http(http) => Rendered::Map(vec![("http".to_owned(), http.render())]),
            Self::Preset(preset) => {
                Rendered::Map(vec![("preset".to_owned(), Read::render(preset))])
            }
        }
    }
}

/// Declares a part of an HTTP request, which must not contain line breaks.
macro_rules! request_part {
    ($(#[doc = $about:literal])+ $name:ident, $what:literal, $fits:expr, $pattern:literal) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(pub Text);

        impl Leaf for $name {
            fn what() -> Cow<'static, str> {
                $what.into()
            }

            fn parse(text: &str) -> Result<Self, Invalid> {
                let fits: fn(&str) -> bool = $fits;
                let text = Text::parse(text)?;
                if !text.bytes().all(|byte| byte.is_ascii_graphic()) || !fits(&text) {
                    return Err(Invalid::new(concat!("{} is not ", $what)));
                }
                Ok(Self(text))
            }

            fn schema() -> Value {
                json!({ "type": "string", "pattern": $pattern })
            }

            fn render(&self) -> String {
                self.0.0.clone()
            }
        }
    };
}

request_part! {
    /// The path of a request, query included.
    HttpPath, "a path such as `/health`", |text| text.starts_with('/'), "^/[!-~]*$"
}

request_part! {
    /// The method of a request.
    HttpMethod, "a method such as `GET`",
    |text| text.bytes().all(|byte| byte.is_ascii_uppercase()), "^[A-Z]+$"
}

request_part! {
    /// The `Host` of a request.
    HttpHost, "a host such as `vault.internal`", |_| true, "^[!-~]+$"
}

/// An HTTP status, or a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// The first, from 100.
    pub first: u16,
    /// The last, up to 599.
    pub last: u16,
}

impl Leaf for Statuses {
    fn what() -> Cow<'static, str> {
        "a status such as `200`, or a range such as `200-299`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| match Count::<100, 599>::parse(text) {
            Ok(count) => u16::try_from(count.0).ok(),
            Err(_) => None,
        };
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(Invalid::new("{} is neither a status nor a range")
                .help("from `100` to `599`, such as `200` or `200-299`")),
        }
    }

    fn schema() -> Value {
        let number = json!({ "type": "integer", "minimum": 100, "maximum": 599 });
        let range = json!({ "type": "string", "pattern": "^[1-5][0-9]{2}(-[1-5][0-9]{2})?$" });
        json!({ "anyOf": [number, range] })
    }

    fn render(&self) -> String {
        match (self.first, self.last) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        }
    }
}

/// A percentage, from `0%` to `100%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u32);

impl Leaf for Percent {
    fn what() -> Cow<'static, str> {
        "a percentage such as `50%`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let number = text.strip_suffix('%').map(Count::<0, 100>::parse);
        match number {
            Some(Ok(number)) => Ok(Self(number.0)),
            _ => Err(Invalid::new("{} is not a percentage").help("from `0%` to `100%`")),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]{1,3}%$" })
    }

    fn render(&self) -> String {
        format!("{}%", self.0)
    }
}
