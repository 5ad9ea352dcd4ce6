//! Values of ghostunnel's flags in Reseal's terms, and flags without a counterpart.

use std::net::{IpAddr, SocketAddr};

/// Where `--listen` listens.
pub(super) fn listen(value: &str) -> Option<String> {
    if value.starts_with("unix:") || value.starts_with("systemd:") {
        return Some(value.to_owned());
    }
    let (host, port) = value.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    match host.trim_matches(['[', ']']) {
        "" => Some(format!("*:{port}")),
        "localhost" => Some(format!("127.0.0.1:{port}")),
        host => host.parse::<IpAddr>().is_ok().then(|| value.to_owned()),
    }
}

/// Where `--target` leads.
pub(super) fn target(value: &str) -> Option<String> {
    if value.starts_with("unix:") {
        return Some(value.to_owned());
    }
    let (host, port) = value.rsplit_once(':')?;
    let is_host = |c: char| c.is_alphanumeric() || ".-_:[]".contains(c);
    let is_good = !host.is_empty() && host.chars().all(is_host);
    (is_good && port.parse::<u16>().is_ok()).then(|| value.to_owned())
}

/// The HTTP proxy of a URL, and whether there is a login in it.
pub(super) fn http_proxy(url: &str) -> Option<(SocketAddr, bool)> {
    let rest = url.strip_prefix("http://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, place) = match rest.rsplit_once('@') {
        Some((login, place)) => (Some(login), place),
        None => (None, rest),
    };
    let proxy = place.replacen("localhost:", "127.0.0.1:", 1).parse();
    Some((proxy.ok()?, login.is_some()))
}

/// The key of `allow` for a flag about the peer's certificate.
pub(super) fn rule(flag: &str) -> Option<&'static str> {
    let what = flag
        .strip_prefix("allow-")
        .or_else(|| flag.strip_prefix("verify-"))?;
    Some(match what {
        "cn" => "common_name",
        "ou" => "organizational_unit",
        "dns" | "dns-san" => "dns",
        "uri" | "uri-san" => "uri",
        "ip" | "ip-san" => "ip",
        _ => return None,
    })
}

/// A duration of Go, such as `1m30s`. The outer option is absent if it is none, the inner one if it is 0.
pub(super) fn duration(value: &str) -> Option<Option<String>> {
    const TEN_YEARS: u64 = 10 * 365 * 24 * 3_600_000;
    let mut rest = value;
    let mut milliseconds = 0_u64;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" if value == "0" => 0,
            _ => return None,
        };
        let part = number.parse::<u64>().ok()?.checked_mul(unit)?;
        milliseconds = milliseconds.checked_add(part)?;
        rest = after;
    }
    if value.is_empty() || milliseconds > TEN_YEARS {
        return None;
    }
    Some(match milliseconds {
        0 => None,
        n if n % 3_600_000 == 0 => Some(format!("{}h", n / 3_600_000)),
        n if n % 60_000 == 0 => Some(format!("{}m", n / 60_000)),
        n if n % 1000 == 0 => Some(format!("{}s", n / 1000)),
        n => Some(format!("{n}ms")),
    })
}

/// Whether a flag with this value is so in every configuration of Reseal.
pub(super) fn holds(flag: &str, value: &str) -> bool {
    match flag {
        // Changed files are re-read by themselves, names by their TTL; addresses are used as they are.
        "timed-reload" | "skip-resolve" | "unsafe-listen" | "unsafe-target" => true,
        // The sandbox is on by default.
        "landlock" | "enable-landlock" | "use-landlock" => true,
        "cipher-suites" => matches!(value, "AES,CHACHA" | "CHACHA,AES"),
        "proxy-protocol-mode" => value == "conn",
        _ => false,
    }
}

/// Why a flag has no counterpart, and whether the tunnel is not to be had without it.
pub(super) fn no_counterpart(flag: &str) -> Option<(&'static str, bool)> {
    Some(match flag {
        "status" | "enable-pprof" => (
            "`admin: { metrics: IP:PORT }` has /healthz, /readyz and /metrics",
            false,
        ),
        "enable-shutdown" => ("`reseal ctl stop` goes over the admin socket", false),
        "metrics-graphite" | "metrics-url" | "metrics-prefix" | "metrics-interval" => {
            ("metrics are fetched: `admin: { metrics: IP:PORT }`", false)
        }
        "quiet" => (
            "`log: { level: .. }` and `access_log` say what is logged",
            false,
        ),
        "syslog" | "eventlog" => (
            "logs go to standard error, from where systemd takes them",
            false,
        ),
        "target-status" => ("`health` of the upstream checks origins", false),
        "cipher-suites" | "allow-unsafe-cipher-suites" => (
            "`tls: { cipher_suites: [..] }`; all that there are have an AEAD",
            false,
        ),
        "proxy-protocol-mode" => ("`send_proxy_protocol: { version: v2, tlvs: [..] }`", false),
        "allow-policy" | "allow-query" | "verify-policy" | "verify-query" => (
            "policies of OPA have no counterpart: `allow` has rules",
            true,
        ),
        "use-workload-api" | "use-workload-api-addr" | "use-workload-api-timeout" => (
            "SPIFFE's Workload API is not supported: write its certificates to files",
            true,
        ),
        "auto-acme-cert"
        | "auto-acme-email"
        | "auto-acme-agree-to-tos"
        | "auto-acme-ca"
        | "auto-acme-testca"
        | "auto-acme-renew-check-interval"
        | "auto-acme-alt-tls-alpn-port" => (
            "an issuer of `acme`: `certificates: [{ acme: ISSUER, names: [NAME] }]`",
            true,
        ),
        "keychain-identity"
        | "keychain-issuer"
        | "keychain-serial"
        | "keychain-require-token"
        | "pkcs11-module"
        | "pkcs11-token-label"
        | "pkcs11-pin" => (
            "keys in hardware are not supported: a key is a file in PEM",
            true,
        ),
        _ => return None,
    })
}
