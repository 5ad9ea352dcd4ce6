//! The address of the admin socket: a unix socket or one IP address. Never opens a socket.

use std::borrow::Cow;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::address::{ip_without_port, unix_path};
use super::address_advice as advice;
use super::invalid::Invalid;
use super::read::Leaf;
use super::values::{Path, check_text};

/// The address of the admin socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// `unix:PATH`.
    Unix(Path),
    /// `IP:PORT`.
    Ip(SocketAddr),
}

impl Leaf for AdminAddress {
    fn what() -> Cow<'static, str> {
        "`unix:PATH` or an address such as `127.0.0.1:9090`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        match text.strip_prefix("unix:") {
            Some(path) => unix_path(path).map(Self::Unix),
            None if text.starts_with(['/', '.']) || text.ends_with(".sock") => {
                Err(Invalid::new("{} is not an address to listen on")
                    .help("`unix:PATH`, `IP:PORT` or `[IPV6]:PORT`")
                    .fix(format!("write `unix:{text}`")))
            }
            None => ip_and_port(text, "`unix:PATH`, `IP:PORT` or `[IPV6]:PORT`").map(Self::Ip),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": ":" })
    }

    fn render(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix:{}", path.0.to_string_lossy()),
            Self::Ip(address) => address.to_string(),
        }
    }
}

/// An IP address and a port. Port 0 lets the system choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPort(pub SocketAddr);

impl Leaf for IpPort {
    fn what() -> Cow<'static, str> {
        "an address such as `127.0.0.1:9091`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        ip_and_port(text, "`IP:PORT` or `[IPV6]:PORT`").map(Self)
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": ":" })
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

fn ip_and_port(text: &str, help: &'static str) -> Result<SocketAddr, Invalid> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Some(port) = text.strip_prefix("*:") {
        return Err(Invalid::new("{} is not a single address")
            .help(help)
            .fix(format!(
                "`0.0.0.0:{port}` is every IPv4 address, `[::]:{port}` every one of both families"
            )));
    }
    let invalid = ip_without_port(text);
    let invalid =
        invalid.unwrap_or_else(|| Invalid::new("{} is not an address to listen on").help(help));
    let is_good = |meant: &str| meant.parse::<SocketAddr>().is_ok();
    // A port alone is of no one address; for a listener of Reseal's own, loopback is meant.
    let port = text.trim_start_matches(':');
    let meant = format!("127.0.0.1:{port}");
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    Err(if is_port && is_good(&meant) {
        invalid.fix(format!("write `{meant}`"))
    } else if let Some(port) = text.strip_prefix("localhost:") {
        invalid.fix(format!(
            "names are not looked up here: write `127.0.0.1:{port}`"
        ))
    } else {
        let advice = advice::listen(text, is_good);
        match advice {
            Some(advice) => invalid.fix(advice),
            None => invalid,
        }
    })
}
