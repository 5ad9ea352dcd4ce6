//! Advice about addresses in the notations of other programs. Every address that it proposes is one that the
//! reader takes.

use std::net::IpAddr;

/// Ports of services that other programs take by name, or from the scheme of a URL.
const SERVICES: [(&str, u16); 5] = [
    ("http", 80),
    ("https", 443),
    ("ldaps", 636),
    ("postgresql", 5432),
    ("mqtts", 8883),
];

/// Schemes and prefixes that say how a socket is used, and not where it is.
const PREFIXES: [&str; 14] = [
    "tcp://", "tcp4://", "tcp6://", "tls://", "ssl://", "https://", "http://", "ipv4@", "ipv6@",
    "ipv4:", "tcp:", "ssl:", "tls:", "dns:///",
];

/// Advice about an address to listen on.
pub(super) fn listen(text: &str, is_good: impl Fn(&str) -> bool) -> Option<String> {
    let (address, more) = split_options(text);
    let without = without_prefix(address);
    for meant in [
        unix(without),
        everywhere(without),
        Some(without.to_owned()),
        by_service(without),
        without_suffix(without),
    ] {
        let Some(meant) = meant.filter(|meant| meant != text && is_good(meant)) else {
            continue;
        };
        return Some(match more {
            Some(more) => format!("write `{meant}`; what `{more}` says is not part of an address"),
            None => format!("write `{meant}`"),
        });
    }
    if let Some((_, ports)) = without.rsplit_once(':')
        && let Some((first, last)) = ports.split_once('-')
        && [first, last]
            .iter()
            .all(|port| is_good(&format!("*:{port}")))
    {
        return Some("list each address with its port: there are no ranges".to_owned());
    }
    if let Some((host, port)) = without.rsplit_once(':')
        && is_good(&format!("*:{port}"))
    {
        let literal = match host {
            "localhost" | "ip6-localhost" => format!("127.0.0.1:{port}"),
            _ if is_name(host) => {
                return Some(format!(
                    "names are not looked up here: write the address itself, or `*:{port}` for every address"
                ));
            }
            _ => return None,
        };
        return Some(format!("names are not looked up here: write `{literal}`"));
    }
    None
}

/// Advice about the address of an origin.
pub(super) fn origin(text: &str, is_good: impl Fn(&str) -> bool) -> Option<String> {
    let (address, more) = split_options(text);
    let without = without_prefix(address);
    let service = |(name, port): &(&str, u16)| {
        let host = address.strip_prefix(&format!("{name}://"))?;
        Some(format!("{}:{port}", host.split('/').next().unwrap_or(host)))
    };
    for meant in [
        unix(without),
        everywhere(without).map(|any| any.replacen('*', "127.0.0.1", 1)),
        Some(without.to_owned()),
        by_service(without),
        without_suffix(without),
        SERVICES.iter().find_map(service),
    ] {
        let Some(meant) = meant.filter(|meant| meant != text && is_good(meant)) else {
            continue;
        };
        return Some(match more {
            Some(more) => format!("write `{meant}`; what `{more}` says is a key beside `address`"),
            None => format!("write `{meant}`"),
        });
    }
    let port = more.filter(|more| more.bytes().all(|byte| byte.is_ascii_digit()));
    let with_port = port.map(|port| format!("{without}:{port}"));
    let with_port = with_port.filter(|meant| is_good(meant));
    with_port.map(|meant| format!("write `{meant}`"))
}

/// The address, and the options that stand behind it.
fn split_options(text: &str) -> (&str, Option<&str>) {
    match text.trim().split_once(char::is_whitespace) {
        Some((address, more)) => (address, Some(more.trim())),
        None => (text.trim(), None),
    }
}

fn without_prefix(text: &str) -> &str {
    let mut prefixes = PREFIXES.iter();
    prefixes
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text)
}

/// The path of a unix socket.
fn unix(text: &str) -> Option<String> {
    let path = text
        .strip_prefix("unix@")
        .or_else(|| text.strip_prefix("unix/"))
        .unwrap_or(text);
    let is_path = path.starts_with(['/', '.', '@']) || path.ends_with(".sock");
    is_path.then(|| format!("unix:{path}"))
}

/// Every address, as `:443`, `any:443` or `443`.
fn everywhere(text: &str) -> Option<String> {
    let port = ["any:", "all:", "everywhere:", ":::", "[*]:", "+:", ":"]
        .iter()
        .find_map(|any| text.strip_prefix(any))
        .unwrap_or(text);
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    is_port.then(|| format!("*:{port}"))
}

/// The address with a service in place of its port.
fn by_service(text: &str) -> Option<String> {
    let (host, service) = text.rsplit_once(':')?;
    let known = SERVICES.iter().find(|(name, _)| *name == service)?;
    let host = if host.is_empty() { "*" } else { host };
    Some(format!("{host}:{}", known.1))
}

/// The address without `/tcp`, the path of a URL, a `;` or a comment behind it.
fn without_suffix(text: &str) -> Option<String> {
    let (address, _) = text.split_once(['/', ';', '#', ','])?;
    Some(everywhere(address).unwrap_or_else(|| address.to_owned()))
}

fn is_name(host: &str) -> bool {
    let fits = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    !host.is_empty() && host.chars().all(fits) && host.parse::<IpAddr>().is_err()
}
