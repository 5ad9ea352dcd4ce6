//! The options of one service, in the order in which stunnel reads them.

use super::lines::Line;
use super::through::Through;
use super::tls::{NoCounterpart, TlsOptions};
use super::words::{self, Switch};
use crate::cli::document::{Keys, LeftOut, password_file, rules};
use crate::cli::flow::map;

/// A service: what is certain, what was left out, and whether the rest means the same without it.
#[derive(Clone, Debug, Default)]
pub(super) struct Service {
    pub(super) name: String,
    /// Its lines, those that it inherits included.
    pub(super) lines: Vec<Line>,
    pub(super) is_client: bool,
    pub(super) accept: Option<String>,
    pub(super) connect: Vec<String>,
    /// The service that has the listener, and patterns of server names.
    pub(super) slave_of: Option<(String, Vec<String>)>,
    pub(super) left_out: Vec<LeftOut>,
    /// Something without a counterpart that the service cannot do without, or that makes it stricter.
    pub(super) is_blocked: bool,
    pub(super) cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) password_file: Option<String>,
    pub(super) trust: Trust,
    pub(super) client_sni: Option<String>,
    pub(super) tls: TlsOptions,
    pub(super) resumption: Option<String>,
    pub(super) timeouts: Keys,
    pub(super) connect_timeout: Option<u64>,
    pub(super) is_first: bool,
    pub(super) sends_proxy: bool,
    /// The protocol in which TLS begins.
    pub(super) negotiate: Option<&'static str>,
    /// The HTTP proxy before its origin.
    pub(super) through: Through,
    pub(super) source: Option<String>,
}

/// Whom a service believes.
#[derive(Clone, Debug, Default)]
pub(super) struct Trust {
    pub(super) ca: Option<String>,
    pub(super) crl: Option<String>,
    /// Whether peers without a certificate are refused.
    pub(super) is_required: bool,
    /// Whether the chain of a certificate is verified.
    pub(super) is_verified: bool,
    pub(super) hosts: Vec<String>,
    pub(super) addresses: Vec<String>,
    pub(super) emails: Vec<String>,
}

impl Trust {
    /// Rules of `allow` for the names of the peer: any of them admits.
    pub(super) fn rules(&self) -> Option<String> {
        rules([
            ("dns", &*self.hosts),
            ("ip", &*self.addresses),
            ("email", &*self.emails),
        ])
    }
}

impl Service {
    /// Notes a line that has no counterpart, and that the service does without.
    pub(super) fn leave_out(&mut self, line: &Line, why: &str) {
        self.left_out.push(line.left_out(why));
    }

    /// Notes a line without which the service would not be the same, or would admit more.
    pub(super) fn block(&mut self, line: &Line, why: &str) {
        self.leave_out(line, why);
        self.is_blocked = true;
    }

    /// Notes the lines of these options as without a counterpart.
    pub(super) fn leave_out_options(&mut self, keys: &[&str], why: &str) {
        for line in self.lines.clone() {
            let place = line.place();
            let is_known = self.left_out.iter().any(|known| known.place == place);
            if keys.contains(&line.key.as_str()) && !is_known {
                self.leave_out(&line, why);
            }
        }
    }

    /// The same, and that the service is not to be had without them.
    pub(super) fn block_options(&mut self, keys: &[&str], why: &str) {
        self.leave_out_options(keys, why);
        self.is_blocked = true;
    }

    /// Reads an option.
    pub(super) fn option(&mut self, line: &Line) {
        self.lines.push(line.clone());
        match line.key.as_str() {
            "accept" | "connect" | "sni" | "failover" | "local" | "delay" | "protocol" => {
                self.address(line);
            }
            "cert" | "key" | "cafile" | "crlfile" => self.file(line),
            "capath" if self.trust.ca.is_some() => {
                self.leave_out(
                    line,
                    "directories of CAs are not read; CAfile is used alone",
                );
            }
            "verify" | "verifychain" | "verifypeer" | "requirecert" => self.verification(line),
            "checkhost" => self.trust.hosts.push(line.value.clone()),
            "checkip" => self.trust.addresses.push(line.value.clone()),
            "checkemail" => self.trust.emails.push(line.value.clone()),
            "ciphers" | "ciphersuites" | "curve" | "curves" | "options" | "sslversion"
            | "sslversionmin" | "sslversionmax" => {
                if let Err(NoCounterpart { why, blocks }) = self.tls.read(line) {
                    self.leave_out(line, &why);
                    self.is_blocked |= blocks;
                }
            }
            "timeoutidle" | "timeoutclose" | "timeoutconnect" | "sessioncachetimeout" => {
                self.time(line);
            }
            "socket" => self.socket_option(line),
            "" => self.block(line, "this is no option"),
            _ if self.through.read(line) => {}
            key => self.word(line, key),
        }
    }

    fn address(&mut self, line: &Line) {
        let value = line.value.as_str();
        match line.key.as_str() {
            "accept" => match words::listen(value) {
                Some(listen) => self.accept = Some(listen),
                None => self.block(line, "an endpoint listens on IP:PORT: name the address"),
            },
            "connect" => match words::origin(value) {
                Some(origin) => self.connect.push(origin),
                None => self.block(line, "an origin is HOST:PORT, with the port as a number"),
            },
            // Before a colon it is the name of a service, which only servers have.
            "sni" => match value.split_once(':') {
                Some((master, pattern)) => self.add_pattern(line, master.trim(), pattern.trim()),
                None => self.client_sni = Some(value.to_owned()),
            },
            "failover" => self.is_first = value.eq_ignore_ascii_case("prio"),
            "local" => self.source = Some(value.to_owned()),
            // Names are always resolved again, by their TTL.
            "delay" => {}
            _ if value.eq_ignore_ascii_case("proxy") => self.sends_proxy = true,
            _ if value.eq_ignore_ascii_case("connect") => self.through.is_asked = true,
            _ => match words::negotiate(value) {
                Some(protocol) => self.negotiate = Some(protocol),
                None => self.block(
                    line,
                    "TLS that begins inside another protocol: `protocol: tcp` and the mode `forward` leave it \
                     to client and origin",
                ),
            },
        }
    }

    /// A pattern of server names for which this service has the listener of `master`. It may have several.
    fn add_pattern(&mut self, line: &Line, master: &str, pattern: &str) {
        if pattern.contains('*') && (!pattern.starts_with("*.") || pattern.matches('*').count() > 1)
        {
            return self.block(line, "a pattern is a name, or `*.` before a name");
        }
        // stunnel compares the end of the name: its `*` takes several labels, too.
        let pattern = match pattern.strip_prefix("*.") {
            Some(suffix) => format!("**.{suffix}"),
            None => pattern.to_owned(),
        };
        match &mut self.slave_of {
            Some((known, patterns)) if known == master => patterns.push(pattern),
            Some(_) => self.block(line, "a service has one listener"),
            none => *none = Some((master.to_owned(), vec![pattern])),
        }
    }

    fn file(&mut self, line: &Line) {
        let value = &line.value;
        let lower = value.to_ascii_lowercase();
        if lower.starts_with("pkcs11:") {
            return self.block(
                line,
                "keys in hardware are not supported: a key is a file in PEM",
            );
        }
        let is_store = lower.ends_with(".p12") || lower.ends_with(".pfx");
        if is_store && line.key == "cert" {
            self.password_file = Some(password_file(value));
        } else if is_store {
            return self.block(
                line,
                "PKCS#12 is read as `cert`, with its key; all else is PEM: openssl pkcs12 -in FILE -out FILE.pem -nodes",
            );
        }
        let file = Some(value.clone());
        match line.key.as_str() {
            "cert" => self.cert = file,
            "key" => self.key = file,
            "cafile" => self.trust.ca = file,
            _ => self.trust.crl = file,
        }
    }

    fn verification(&mut self, line: &Line) {
        let trust = &mut self.trust;
        match (line.key.as_str(), words::switch(&line.value)) {
            ("verifychain", Switch::Yes) => (trust.is_verified, trust.is_required) = (true, true),
            ("verifychain", Switch::No) => trust.is_verified = false,
            ("verifypeer", Switch::No) => {}
            ("requirecert", Switch::Yes) => trust.is_required = true,
            ("requirecert", Switch::No) => trust.is_required = false,
            ("verify", _) if line.value == "0" => {}
            ("verify", _) if line.value == "1" => {
                (trust.is_verified, trust.is_required) = (true, false);
            }
            ("verify", _) if line.value == "2" => {
                (trust.is_verified, trust.is_required) = (true, true);
            }
            ("verify" | "verifypeer", _) => self.block(
                line,
                "certificates that are compared as a whole: pin their keys by `spki_sha256` (origins) or by \
                 `allow: { sha256: .. }` (clients)",
            ),
            _ => self.block(line, "neither yes nor no"),
        }
    }

    fn time(&mut self, line: &Line) {
        let seconds = line.value.parse().ok().filter(|seconds| *seconds > 0);
        let Some((seconds, text)) = seconds.and_then(|s| Some((s, words::duration(s)?))) else {
            return self.leave_out(line, "a time is a number of seconds, at least 1");
        };
        match line.key.as_str() {
            "timeoutconnect" => self.connect_timeout = Some(seconds),
            "sessioncachetimeout" => self.resumption = Some(map(&[("max_age", text)])),
            key => {
                let key = if key == "timeoutidle" {
                    "idle"
                } else {
                    "half_close"
                };
                self.timeouts.retain(|(known, _)| *known != key);
                self.timeouts.push((key, text));
            }
        }
    }

    fn socket_option(&mut self, line: &Line) {
        // Such as `l:TCP_NODELAY=1`, for the local or the remote side.
        let option = line.value.split_once(':').map_or("", |(_, option)| option);
        // These are always so.
        if !["TCP_NODELAY=1", "SO_KEEPALIVE=1", "SO_REUSEADDR=1"].contains(&option) {
            self.leave_out(
                line,
                "`tcp` of endpoints and upstreams has the options of sockets",
            );
        }
    }

    /// Options that need no value of their own in the result, and those without a counterpart.
    fn word(&mut self, line: &Line, key: &str) {
        let switch = words::switch(&line.value);
        match (key, switch) {
            ("client", Switch::Yes) => self.is_client = true,
            ("client", Switch::No) => self.is_client = false,
            ("sessionresume", Switch::No) => self.resumption = Some("off".to_owned()),
            ("sessionresume", Switch::Yes) => {}
            _ if words::holds(key, &line.value) => {}
            _ => match words::no_counterpart(key) {
                Some((why, true)) => self.block(line, why),
                Some((why, false)) => self.leave_out(line, why),
                None => self.block(line, "this option is not known"),
            },
        }
    }
}
