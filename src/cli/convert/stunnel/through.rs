//! `protocol = connect`: an HTTP proxy between a client service and the origin.

use std::net::SocketAddr;

use super::lines::Line;
use super::words;
use crate::cli::document::http_proxy;

/// The options that go with it. Other protocols have uses of their own for them.
pub(super) const OPTIONS: [&str; 4] = [
    "protocolhost",
    "protocolusername",
    "protocolpassword",
    "protocolauthentication",
];

/// The proxy, and what it is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Through {
    pub(super) is_asked: bool,
    pub(super) proxy: Option<SocketAddr>,
    /// The origin that it is asked for.
    pub(super) target: Option<String>,
    shows_user: bool,
    pub(super) authentication: Option<String>,
}

impl Through {
    /// Reads an option, if it is one of these. Whether it is.
    pub(super) fn read(&mut self, line: &Line) -> bool {
        match line.key.as_str() {
            "protocolhost" => self.target = words::origin(&line.value),
            "protocolusername" | "protocolpassword" => self.shows_user = true,
            "protocolauthentication" => self.authentication = Some(line.value.to_ascii_lowercase()),
            _ => return false,
        }
        true
    }

    /// The value of `negotiate`, for the service of this name.
    pub(super) fn key(&self, service: &str) -> Option<String> {
        Some(http_proxy(self.proxy?, self.shows_user, service))
    }
}
