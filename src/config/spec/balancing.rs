//! The keys about who gets the next connection and whether an origin is fit for it: a part of the
//! table of [`spec`](super::spec). It must not know how any of it is used.

use crate::config::reader::fields::{Field, Fields, spec};
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::print::Rendered;
use crate::config::reader::read::{Invalid, Leaf, Located, Read, Reader};
use crate::config::reader::schema::Definitions;
use crate::config::reader::values::{Count, Text, Timeout};
use crate::config::reader::words::keyword;
use crate::config::reader::yaml::{Kind, Node};
use serde_json::{Value, json};
use std::borrow::Cow;

keyword! {
    /// Who gets the next connection.
    pub enum Balance("balance") {
        /// In turn, by weight.
        RoundRobin = "round_robin",
        /// Whoever has the fewest connections for its weight.
        LeastConnections = "least_connections",
        /// Of two drawn at random, the one with fewer connections for its
        /// weight.
        RandomTwo = "random_two",
        /// By the client's address.
        SourceHash = "source_hash",
        /// The first in the file that is fit.
        First = "first",
    }
}

spec! {
    /// How names of origins are followed.
    pub struct Resolve {
        /// What becomes of the connections to an address that has left DNS.
        default on_gone: OnGone = "keep",
    }
}

keyword! {
    /// What becomes of the connections to an address that has left DNS.
    pub enum OnGone("choice") {
        /// They stay.
        Keep = "keep",
        /// They are drained.
        Drain = "drain",
    }
}

spec! {
    /// How it is found out whether an origin is fit.
    pub struct Health {
        /// `tcp`, `tls`, `{ http: ... }` or `{ preset: ... }`; absent, origins
        /// are not checked.
        optional check: Check,
        /// Where the check goes, when it is not the origin's own port.
        optional port: Count<1, 65_535>,
        /// From one check to the next.
        default interval: Timeout = "5s",
        /// How long a check may take.
        default timeout: Timeout = "2s",
        /// Good checks in a row until an origin is up.
        default rise: Count<1, 100> = "2",
        /// Bad checks in a row until an origin is down.
        default fall: Count<1, 100> = "3",
        /// What becomes of the connections to an origin that checks found
        /// down.
        default on_down: OnDown = "keep",
        /// What failing connections lead to.
        optional passive: Passive,
        /// The PROXY header that checks begin with, for origins that want one.
        default send_proxy_protocol: CheckHeader = "off",
    }
}

keyword! {
    /// The PROXY header of a check, which says that it is Reseal's own.
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
    /// What becomes of the connections to an origin that is down.
    pub enum OnDown("choice") {
        /// They stay.
        Keep = "keep",
        /// They are closed.
        Close = "close",
    }
}

spec! {
    /// When an origin that fails connections is left alone.
    pub struct Passive {
        /// Failures in a row.
        default failures: Count<1, 1000> = "5",
        /// The time that they have to fall into.
        default within: Timeout = "10s",
        /// How long it is left alone the first time; the n-th time n times as
        /// long.
        default eject: Timeout = "30s",
        /// How many of the origins at a time.
        default max_ejected: Percent = "50%",
    }
}

/// What is done to check an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A connection.
    Tcp,
    /// A TLS handshake, the certificate verified.
    Tls,
    /// A request.
    Http(HttpCheck),
    /// A request and answers that are known.
    Preset(Preset),
}

keyword! {
    /// A request and answers that are known.
    pub enum Preset("preset") {
        /// The active node of Vault or OpenBao.
        VaultActive = "vault-active",
        /// The active node, and performance standbys.
        VaultAny = "vault-any",
    }
}

spec! {
    /// A request, and the answers that are good.
    pub struct HttpCheck {
        /// The path, query included.
        default path: HttpPath = "/",
        /// The method.
        default method: HttpMethod = "GET",
        /// The `Host` header; absent, the origin's `server_name` or host.
        optional host: HttpHost,
        /// The statuses that are good, one or a list of numbers and ranges.
        default expect: OneOrMany<Statuses> = "[200-299]",
    }
}

spec! {
    /// A request, by the key `http`.
    pub struct HttpKey {
        /// The request, and the answers that are good.
        required http: HttpCheck,
    }
}

spec! {
    /// A request and answers that are known, by the key `preset`.
    pub struct PresetKey {
        /// What answers.
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

/// Declares a text of a request, which must not be able to end its line.
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

/// A status of HTTP, or a range of them.
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
            _ => Err(Invalid::new("{} is neither a status nor a range of them")
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

/// A part of a whole, from `0%` to `100%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u32);

impl Leaf for Percent {
    fn what() -> Cow<'static, str> {
        "a part such as `50%`".into()
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
