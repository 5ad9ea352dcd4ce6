//! `protocol = connect`: an HTTP proxy between a client service and the origin.

use std::net::SocketAddr;

use super::lines::Line;
use super::service::Service;
use super::words;
use crate::cli::flow::{map, scalar};

/// The options that go with it. Other protocols have uses of their own for them.
const OPTIONS: [&str; 4] = [
    "protocolhost",
    "protocolusername",
    "protocolpassword",
    "protocolauthentication",
];

/// The proxy, and what it is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Through {
    pub(super) is_asked: bool,
    proxy: Option<SocketAddr>,
    target: Option<String>,
    shows_user: bool,
    authentication: Option<String>,
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
        let mut keys = vec![("proxy", scalar(&self.proxy?.to_string()))];
        if self.shows_user {
            keys.push(("authorization_file", scalar(&format!("{service}.auth"))));
        }
        Some(map(&[("connect", map(&keys))]))
    }
}

/// Makes the host behind the proxy the origin, as which stunnel has the proxy.
pub(super) fn judge(service: &mut Service) {
    let through = &service.through;
    if !through.is_asked {
        return service.leave_out_options(&OPTIONS, "it goes with `protocol`");
    }
    if !service.is_client {
        let why = "an HTTP proxy is asked on the way to an origin: client = yes";
        return service.block_options(&["protocol"], why);
    }
    if !matches!(through.authentication.as_deref(), None | Some("basic")) {
        let why = "an HTTP proxy is shown the content of a file: NTLM, which answers it, is not supported";
        return service.block_options(&["protocolauthentication"], why);
    }
    let Some(target) = through.target.clone() else {
        let why = "protocolHost names the origin: HOST:PORT, with the port as a number";
        return service.block_options(&["protocol"], why);
    };
    let proxy = match &*service.connect {
        [proxy] => proxy.replacen("localhost:", "127.0.0.1:", 1).parse().ok(),
        _ => None,
    };
    if proxy.is_none() {
        let why = "there is one HTTP proxy, as IP:PORT: its name would not be looked up";
        return service.block_options(&["connect"], why);
    }
    service.connect = vec![target];
    service.through.proxy = proxy;
    let why = "`authorization_file` names a file with `Basic ` and the base64 of USER:PASSWORD";
    service.leave_out_options(&["protocolusername", "protocolpassword"], why);
}
