//! The keys of HTTP checks.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::http_headers::HttpHeaders;
use crate::config::reader::fields::spec;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::config::reader::values::{Count, Text};

spec! {
    /// An HTTP request, and the answer of a healthy origin.
    pub struct HttpCheck {
        /// The path, query included.
        default path: HttpPath = "/"
            because "every server has it",
        /// The method.
        default method: HttpMethod = "GET"
            because "every server answers it",
        /// The `Host` header. Absent: the origin's `server_name`, else its host or address.
        optional host: HttpHost,
        /// The statuses that pass, such as `[200, 429, 470-479]`.
        default expect: OneOrMany<Statuses> = "[200-299]"
            because "they are the statuses of success (RFC 9110)",
        /// A text that the body must hold, in its first 64 KiB. Absent: the body is not read.
        optional expect_body: Text,
        /// More header fields. `User-Agent` and `Accept` replace those of the check. A value such as
        /// `Bearer ${TOKEN}` is taken from the environment, and is not shown.
        default headers: HttpHeaders = "{}",
        example "{ path: /health }";
        instead
            "url" | "uri" => "path",
            "status" | "statuses" | "expected_statuses" | "codes" | "expect_status" => "expect",
            "hostname" => "host",
            "body" | "expect_string" | "contains" | "response" => "expect_body",
            "header" | "hdr" | "http_headers" => "headers",
            "user_agent" | "authorization" => "`headers: { NAME: VALUE }` holds it";
    }
}

spec! {
    /// An HTTP request, by the key `http`.
    pub struct HttpKey {
        /// The request, and the answer of a healthy origin.
        required http: HttpCheck,
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
