//! Values of stunnel's options in Reseal's terms, and options without a counterpart.

use std::net::{IpAddr, Ipv4Addr};

/// A value that should be `yes` or `no`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    Yes,
    No,
    Neither,
}

pub(super) fn switch(value: &str) -> Switch {
    if value.eq_ignore_ascii_case("yes") {
        Switch::Yes
    } else if value.eq_ignore_ascii_case("no") {
        Switch::No
    } else {
        Switch::Neither
    }
}

/// Names of ports that configurations of stunnel have.
const PORTS: [(&str, u16); 16] = [
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("imap2", 143),
    ("imaps", 993),
    ("ldap", 389),
    ("ldaps", 636),
    ("mysql", 3306),
    ("nntps", 563),
    ("pop3", 110),
    ("pop3s", 995),
    ("postgresql", 5432),
    ("smtp", 25),
    ("smtps", 465),
    ("ssmtp", 465),
    ("submissions", 465),
];

/// Host and port of `[HOST:]PORT`.
fn host_and_port(value: &str) -> Option<(Option<&str>, u16)> {
    let (host, port) = match value.rsplit_once(':') {
        Some((host, port)) => (Some(host.trim_matches(['[', ']'])), port),
        None => (None, value),
    };
    let named = || {
        let mut named = PORTS.iter();
        named
            .find(|(name, _)| port.eq_ignore_ascii_case(name))
            .map(|(_, port)| *port)
    };
    let number = port.parse().ok().or_else(named)?;
    (number > 0).then_some((host.filter(|host| !host.is_empty()), number))
}

fn address(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(IpAddr::V6(host)) => format!("[{host}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

/// The protocol in which TLS begins, in Reseal's word; `None` for those that it does not speak.
pub(super) fn negotiate(protocol: &str) -> Option<&'static str> {
    Some(match protocol.to_ascii_lowercase().as_str() {
        "pgsql" => "postgres",
        "smtp" => "smtp",
        "imap" => "imap",
        "pop3" => "pop3",
        "ldap" => "ldap",
        _ => return None,
    })
}

/// Where `accept` listens. Without a host, stunnel takes all IPv4 addresses.
pub(super) fn listen(value: &str) -> Option<String> {
    if value.starts_with('/') {
        return Some(format!("unix:{value}"));
    }
    let (host, port) = host_and_port(value)?;
    let host = match host {
        None => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Some("localhost") => IpAddr::from(Ipv4Addr::LOCALHOST),
        Some(host) => host.parse().ok()?,
    };
    Some(address(&host.to_string(), port))
}

/// Where `connect` leads. Without a host, to this machine.
pub(super) fn origin(value: &str) -> Option<String> {
    if value.starts_with('/') {
        return Some(format!("unix:{value}"));
    }
    let (host, port) = host_and_port(value)?;
    let host = host.unwrap_or("localhost");
    let is_host = |c: char| c.is_alphanumeric() || ".-_:".contains(c);
    host.chars().all(is_host).then(|| address(host, port))
}

/// A duration of so many seconds, at most ten years.
pub(super) fn duration(seconds: u64) -> Option<String> {
    const TEN_YEARS: u64 = 10 * 365 * 24 * 3600;
    if seconds > TEN_YEARS {
        return None;
    }
    Some(match (seconds % 3600, seconds % 60) {
        (0, _) => format!("{}h", seconds / 3600),
        (_, 0) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    })
}

/// Whether an option with this value is so in every configuration of Reseal.
pub(super) fn holds(key: &str, value: &str) -> bool {
    let switch = switch(value);
    match key {
        "renegotiation" | "compression" | "libwrap" | "retry" | "fips" | "pty" | "ocspaia"
        | "ocsprequire" => switch == Switch::No,
        "reset" | "foreground" => switch == Switch::Yes || value == "quiet",
        "transparent" => switch == Switch::No || value.eq_ignore_ascii_case("none"),
        "securitylevel" => matches!(value, "0" | "1" | "2"),
        "log" => value.eq_ignore_ascii_case("append"),
        _ => false,
    }
}

/// Why an option has no counterpart, and whether its service is not to be had without it.
pub(super) fn no_counterpart(key: &str) -> Option<(&'static str, bool)> {
    Some(match key {
        "capath" => (
            "a directory of CAs is not read: put its certificates into one file, and name that",
            true,
        ),
        "crlpath" => (
            "a directory of revocation lists is not read: name its files in `crl`",
            true,
        ),
        "ocsp" | "ocspaia" | "ocsprequire" => (
            "the peer's OCSP is not asked: revocation is by lists, `crl`",
            true,
        ),
        "ocspflag" | "ocspnonce" | "timeoutocsp" => ("it goes with `OCSP`", false),
        "exec" | "execargs" | "pty" => ("no program is started: an origin is an address", true),
        "pskidentity" | "psksecrets" => {
            ("pre-shared keys are not supported: use certificates", true)
        }
        "engineid" | "enginenum" => ("keys in hardware are not supported", true),
        "transparent" => (
            "origins see Reseal's address: `send_proxy_protocol` tells them the client's",
            true,
        ),
        "libwrap" => (
            "hosts.allow is not read: `sources: { allow: [NETWORK] }`",
            true,
        ),
        "ident" => ("the ident protocol is not asked", true),
        "protocoldomain" | "protocolheader" => ("it goes with `protocol`", false),
        "redirect" => (
            "clients without a valid certificate are refused, not sent elsewhere",
            false,
        ),
        "config" => ("commands of OpenSSL have no counterpart", false),
        "compression" => (
            "TLS compression is not supported, since it leaks secrets",
            false,
        ),
        "renegotiation" => ("there is no renegotiation", false),
        "securitylevel" => (
            "suites and keys below 112 bits are refused, and there are no other levels",
            false,
        ),
        "sessioncachesize" | "sessiond" | "ticketkeysecret" | "ticketmacsecret" => (
            "sessions are kept in tickets; instances share them by `process.ticket_secret`",
            false,
        ),
        "timeoutbusy" => (
            "`timeouts.hello`, `client` and `origin` bound the handshakes",
            false,
        ),
        "reset" => (
            "a stream that was cut is passed on as a reset; see `on_truncation`",
            false,
        ),
        "retry" | "stack" | "logid" => ("it is about stunnel's own process", false),
        "setuid" | "setgid" => (
            "owner and group of a unix socket: `listen: { unix: PATH, owner: .., group: .. }`",
            false,
        ),
        "fips" => ("the FIPS mode of OpenSSL has no counterpart", false),
        "debug" => (
            "there is one log level for all services: `log: { level: .. }`",
            false,
        ),
        _ => return None,
    })
}
