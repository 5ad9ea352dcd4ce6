//! What is fetched, and how often: URLs and intervals.

use std::borrow::Cow;
use std::time::Duration;

use hyper::Uri;
use serde_json::{Value, json};

use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::config::reader::reference::Form;
use crate::config::reader::values::{Duration as Span, check_text};

/// A URL of `http` or `https` without a fragment and without a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl(pub Uri);

impl HttpUrl {
    /// The URL in a text, if it is one.
    pub fn of(text: &str) -> Option<Self> {
        let url: Uri = text.parse().ok().filter(|_| !text.contains('#'))?;
        let authority = url.authority()?;
        let is_whole = !authority.as_str().contains('@') && !authority.host().is_empty();
        let is_known = matches!(url.scheme_str(), Some("http" | "https"));
        (is_whole && is_known).then_some(Self(url))
    }
}

impl Leaf for HttpUrl {
    fn what() -> Cow<'static, str> {
        "a URL such as `http://ca.internal/clients.crl`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        Self::of(text).ok_or_else(|| {
            Invalid::new("{} is not a URL of `http` or `https`")
                .help("write it as the CA publishes it, such as `http://ca.internal/clients.crl`")
        })
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^https?://" })
    }

    fn form() -> Form {
        Form::of("URL")
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// A span of time of a second at least, between two fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(pub Duration);

impl Leaf for Interval {
    fn what() -> Cow<'static, str> {
        Span::what()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        match Span::parse(text)? {
            Span(time) if time < Duration::from_secs(1) => {
                Err(Invalid::new("the interval {} is shorter than `1s`").help("write `1s` or more"))
            }
            Span(time) => Ok(Self(time)),
        }
    }

    fn schema() -> Value {
        <Span as Leaf>::schema()
    }

    fn form() -> Form {
        <Span as Leaf>::form()
    }

    fn render(&self) -> String {
        Leaf::render(&Span(self.0))
    }
}
