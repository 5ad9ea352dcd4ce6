//! /etc/resolv.conf, as the C library reads it (resolv.conf(5)), and the names that it makes of one. Pure.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::str::SplitWhitespace;
use std::time::Duration;

use super::text::{Unused, lines};

/// What the C library takes of these at most (resolv.conf(5)).
const SERVERS_MAX: usize = 3;
const TIMEOUT_MAX: u64 = 30;
const ATTEMPTS_MAX: u64 = 5;
const NDOTS_MAX: u64 = 15;

/// Options that change nothing here. Each query has a socket of its own, answers with bad names are refused,
/// the file is re-read when it changes, and DNSSEC is not looked at.
const WITHOUT_EFFECT: [&str; 10] = [
    "debug",
    "inet6",
    "ip6-bytestring",
    "ip6-dotint",
    "no-check-names",
    "no-ip6-dotint",
    "no-reload",
    "single-request",
    "single-request-reopen",
    "trust-ad",
];

/// How DNS is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// In the order in which they are asked; never empty.
    pub(super) servers: Vec<IpAddr>,
    /// The domains that relative names are looked up in.
    pub(super) search: Vec<String>,
    /// A name with so many dots is first looked up as it is.
    pub(super) ndots: usize,
    /// How long one server has for an answer.
    pub(super) timeout: Duration,
    /// How often all servers are asked; at least 1.
    pub(super) attempts: usize,
    /// Whether the servers take turns in being the first one that is asked.
    pub(super) rotate: bool,
    /// Whether servers are asked over TCP alone.
    pub(super) tcp: bool,
    pub(super) edns0: bool,
    /// Whether IPv6 addresses are asked for.
    pub(super) aaaa: bool,
    /// Whether a name without a dot is looked up as a top-level domain, too.
    pub(super) tld_query: bool,
}

impl Default for ResolvConf {
    /// What an empty file says.
    fn default() -> Self {
        Self {
            servers: vec![Ipv4Addr::LOCALHOST.into()],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            tcp: false,
            edns0: false,
            aaaa: true,
            tld_query: true,
        }
    }
}

impl ResolvConf {
    /// Reads the file; `hostname` is this machine's, whose domain is searched if the file names none. Also
    /// returns what it cannot use.
    pub(super) fn parse(bytes: &[u8], hostname: &str) -> (Self, Vec<Unused>) {
        let (mut conf, mut unused) = (Self::default(), Vec::new());
        let (mut servers, mut search) = (Vec::new(), None);
        for (line, text) in lines(bytes) {
            if text.starts_with(['#', ';']) {
                continue;
            }
            let mut words = text.split_whitespace();
            let mut leave_out = |why: String| unused.push(Unused { line, why });
            match words.next() {
                None => {}
                Some("nameserver") => match server(words.next().unwrap_or_default()) {
                    Ok(_) if servers.len() == SERVERS_MAX => {
                        leave_out(format!("the first {SERVERS_MAX} name servers are used"));
                    }
                    Ok(ip) => servers.push(ip),
                    Err(why) => leave_out(why),
                },
                Some("domain") => search = Some(domains(words.by_ref().take(1), leave_out)),
                Some("search") => search = Some(domains(words, leave_out)),
                Some("options") => conf.options(words, leave_out),
                Some(word) => leave_out(format!("\"{}\" is not known", word.escape_debug())),
            }
        }
        let own = || {
            hostname
                .split_once('.')
                .map(|(_, domain)| domain.to_owned())
        };
        conf.search = search.unwrap_or_else(|| own().into_iter().collect());
        if !servers.is_empty() {
            conf.servers = servers;
        }
        (conf, unused)
    }

    /// Applies `LOCALDOMAIN`, which replaces the domains that are searched, and `RES_OPTIONS`, which come
    /// after the options of the file. Returns what it cannot use, with the name of the variable.
    pub(super) fn amend(
        &mut self,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Vec<(&'static str, String)> {
        const LOCALDOMAIN: &str = "LOCALDOMAIN";
        const RES_OPTIONS: &str = "RES_OPTIONS";
        let mut unused = Vec::new();
        if let Some(text) = variable(LOCALDOMAIN) {
            self.search = domains(text.split_whitespace(), |why| {
                unused.push((LOCALDOMAIN, why))
            });
        }
        if let Some(text) = variable(RES_OPTIONS) {
            self.options(text.split_whitespace(), |why| {
                unused.push((RES_OPTIONS, why))
            });
        }
        unused
    }

    fn options(&mut self, words: SplitWhitespace<'_>, mut leave_out: impl FnMut(String)) {
        for word in words {
            let (name, number) = word.split_once(':').unwrap_or((word, ""));
            match (name, number.parse::<u64>().ok()) {
                // An answer cannot come in no time, and no attempt has no answer.
                ("timeout", Some(seconds)) => {
                    self.timeout = Duration::from_secs(seconds.clamp(1, TIMEOUT_MAX));
                }
                ("attempts", Some(count)) => self.attempts = clamped(count, 1, ATTEMPTS_MAX),
                ("ndots", Some(count)) => self.ndots = clamped(count, 0, NDOTS_MAX),
                ("rotate", _) => self.rotate = true,
                ("use-vc", _) => self.tcp = true,
                ("edns0", _) => self.edns0 = true,
                ("no-aaaa", _) => self.aaaa = false,
                ("no-tld-query" | "no_tld_query", _) => self.tld_query = false,
                (name, _) if WITHOUT_EFFECT.contains(&name) => {}
                _ => leave_out(format!("option \"{}\" is not known", word.escape_debug())),
            }
        }
    }

    /// The absolute names, without their last dot, that a name may mean, in the order in which they are
    /// looked up.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let dots = name.matches('.').count();
        let as_it_is =
            (dots > 0 || self.tld_query || self.search.is_empty()).then(|| name.to_owned());
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        if dots >= self.ndots {
            as_it_is.into_iter().chain(searched).collect()
        } else {
            searched.chain(as_it_is).collect()
        }
    }
}

fn clamped(number: u64, min: u64, max: u64) -> usize {
    usize::try_from(number.clamp(min, max)).unwrap_or(0)
}

/// The domains of a line. The root needs no search, and `--` is what some DHCP clients write for none.
fn domains<'a>(
    words: impl Iterator<Item = &'a str>,
    mut leave_out: impl FnMut(String),
) -> Vec<String> {
    let mut domains = Vec::new();
    for word in words.filter(|word| !matches!(*word, "." | "--")) {
        let domain = word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase();
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.is_ascii();
        if domain.len() <= 253 && domain.split('.').all(is_label) {
            domains.push(domain);
        } else {
            leave_out(format!("\"{}\" is no domain", word.escape_debug()));
        }
    }
    domains
}

fn server(text: &str) -> Result<IpAddr, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.to_canonical());
    }
    if let Some(ip) = short_ipv4(text) {
        return Ok(ip.into());
    }
    let zone = text.split_once('%');
    Err(match zone.map(|(ip, _)| ip.parse::<IpAddr>()) {
        Some(Ok(_)) => "name servers at addresses with a zone are not asked".into(),
        _ => format!("\"{}\" is no IP address", text.escape_debug()),
    })
}

/// An IPv4 address in fewer than four parts, or in octal or hexadecimal ones (inet_aton(3)): `127.1`.
fn short_ipv4(text: &str) -> Option<Ipv4Addr> {
    let number = |part: &str| match part.strip_prefix("0x").or_else(|| part.strip_prefix("0X")) {
        Some(hex) if hex.starts_with(|c: char| c.is_ascii_hexdigit()) => {
            u32::from_str_radix(hex, 16).ok()
        }
        None if part.len() > 1 && part.starts_with('0') => {
            u32::from_str_radix(part.get(1..)?, 8).ok()
        }
        None if part.starts_with(|c: char| c.is_ascii_digit()) => part.parse().ok(),
        _ => None,
    };
    let parts: Vec<_> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    let rest_bits = 32
        - 8 * u32::try_from(leading.len())
            .ok()
            .filter(|count| *count < 4)?;
    let fits = |number: u32, bits: u32| u64::from(number) < 1 << bits;
    if !fits(*last, rest_bits) || !leading.iter().all(|part| fits(*part, 8)) {
        return None;
    }
    let high = leading
        .iter()
        .fold(0_u64, |high, part| (high << 8) | u64::from(*part));
    u32::try_from((high << rest_bits) | u64::from(*last))
        .ok()
        .map(Ipv4Addr::from)
}
