//! IP addresses and networks, as clients and sources have them.

use std::borrow::Cow;
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::invalid::Invalid;
use super::read::Leaf;

/// An IP address without a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ip(pub IpAddr);

impl Leaf for Ip {
    fn what() -> Cow<'static, str> {
        "an IP address".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(address) => Ok(Self(address)),
            Err(_) => Err(Invalid::new("{} is not an IP address")),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9A-Fa-f.:]+$" })
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// A set of addresses: `10.0.0.0/8`, or a single IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr(pub IpNet);

impl Leaf for Cidr {
    fn what() -> Cow<'static, str> {
        "a network such as `10.0.0.0/8`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(address.into()));
        }
        match text.parse::<IpNet>() {
            Ok(network) if network.addr() == network.network() => Ok(Self(network)),
            Ok(network) => Err(Invalid::new("{} has bits set beyond its prefix")
                .help("clear the bits that the prefix does not cover")
                .fix(format!("did you mean `{}`?", network.trunc()))),
            Err(_) => Err(Invalid::new("{} is not a network")
                .help("write an IP address, or one with a prefix, such as `10.0.0.0/8`; names and ranges are not looked up")
                .fix(network_meant(text))),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$" })
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

/// Advice about networks in the notation of another program.
fn network_meant(text: &str) -> Option<String> {
    let known = match text.to_ascii_lowercase().as_str() {
        "localhost" | "loopback" => "127.0.0.0/8, \"::1\"",
        "private" | "rfc1918" | "private_ranges" => {
            "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, \"fc00::/7\""
        }
        _ => {
            let network = of_a_mask(text).or_else(|| of_stars(text))?;
            return Some(format!("write `{network}`"));
        }
    };
    Some(format!("write `[{known}]`"))
}

/// `10.0.0.0/255.0.0.0`.
fn of_a_mask(text: &str) -> Option<IpNet> {
    let (address, mask) = text.split_once('/')?;
    let network = IpNet::with_netmask(address.parse().ok()?, mask.parse().ok()?);
    network.ok().map(|network| network.trunc())
}

/// `10.0.*.*`, or `10.0.*`.
fn of_stars(text: &str) -> Option<IpNet> {
    let fixed = text.trim_end_matches(".*");
    let bytes: Vec<u8> = fixed
        .split('.')
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    if fixed == text || bytes.is_empty() || bytes.len() > 3 {
        return None;
    }
    let mut octets = [0; 4];
    octets[..bytes.len()].copy_from_slice(&bytes);
    IpNet::new(IpAddr::from(octets), bytes.len() as u8 * 8).ok()
}
