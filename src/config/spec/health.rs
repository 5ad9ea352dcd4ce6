//! The keys of health checks and of outlier ejection.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::http_check::{HttpCheck, HttpKey};
use crate::config::reader::definitions::Definitions;
use crate::config::reader::fields::spec;
use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::{Leaf, Read, Reader};
use crate::config::reader::reference::{Form, Reference};
use crate::config::reader::rendered::Rendered;
use crate::config::reader::values::{Count, Timeout};
use crate::config::reader::words::{Keyword, keyword};
use crate::config::reader::yaml::{Kind, Node};

spec! {
    /// How the health of origins is checked.
    pub struct Health {
        /// The kind of check. Absent: origins are not checked.
        optional check: Check,
        /// The port of the check. Absent: the origin's own.
        optional port: Count<1, 65_535>,
        /// Time from one check to the next.
        default interval: Timeout = "5s"
            because "with `fall: 3`, an origin that died is out after 15s",
        /// How long a check may take.
        default timeout: Timeout = "2s"
            because "an origin that needs longer for a check is of no use to clients",
        /// Passed checks in a row until an origin is up.
        default rise: Count<1, 100> = "2"
            because "a server that starts may answer once and fail again",
        /// Failed checks in a row until an origin is down.
        default fall: Count<1, 100> = "3"
            because "a lost packet or a short pause is no failure",
        /// What happens to connections to an origin that checks find down.
        default on_down: OnDown = "keep"
            because "a failed check does not say that established connections are broken",
        /// Ejection of origins that fail connections; absent, none is ejected.
        optional passive: Passive,
        /// The PROXY header that checks begin with.
        default send_proxy_protocol: CheckHeader = "as-upstream"
            because "an origin that expects a header fails checks without one, and the other way round",
        example "{ check: tcp }";
        instead
            "type" | "kind" => "check",
            "http" => "`check: { http: { path: /health } }` is how it is asked",
            "preset" => "`check: { preset: vault-active }` is how it is chosen",
            "path" | "httpchk" | "url" => "`check: { http: { path: /health } }` is how it is asked",
            "tcp" => "`check: tcp` is a connection",
            "tls" => "`check: tls` is a TLS handshake",
            "inter" | "every" | "period" => "interval",
            "healthy_threshold" | "healthythreshold" | "passes" => "rise",
            "unhealthy_threshold" | "unhealthythreshold" | "fails" | "retries" => "fall",
            "max_fails" => "`passive: { failures: N }` ejects origins that fail connections",
            "fail_timeout" => "`passive: { eject: TIME }` ejects origins that fail connections",
            "send_proxy" => "send_proxy_protocol",
            "enabled" => "checks are on where `health` is";
    }
}

keyword! {
    /// The PROXY header of a check, which marks it as local to Reseal.
    pub enum CheckHeader("choice") {
        /// The version of the upstream's `send_proxy_protocol`. None at another `port` than the origins',
        /// where another service listens.
        AsUpstream = "as-upstream",
        /// None.
        Off = "off",
        /// Version 1, UNKNOWN.
        V1 = "v1",
        /// Version 2, LOCAL.
        V2 = "v2",
        instead
            "1" => "v1",
            "2" | "true" | "on" | "yes" => "v2",
            "send_proxy" => "v1",
            "send_proxy_v2" => "v2";
    }
}

keyword! {
    /// What happens to connections to an origin that is down.
    pub enum OnDown("choice") {
        /// They stay.
        Keep = "keep",
        /// They are closed.
        Close = "close",
    }
}

spec! {
    /// When an origin that fails connections is ejected.
    pub struct Passive {
        /// Failed connections in a row.
        default failures: Count<1, 1000> = "5"
            because "a few failures in a row are often one lost network path",
        /// The time window of the failures.
        default within: Timeout = "10s"
            because "older failures say little about now",
        /// How long the first ejection lasts; the n-th lasts n times as long.
        default eject: Timeout = "30s"
            because "a restart is over by then",
        /// The most origins that are ejected at a time, and never the last usable one.
        default max_ejected: Percent = "50%"
            because "the other half still carries the load",
    }
}

/// The kind of a health check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// A connection.
    Tcp,
    /// A TLS handshake, the certificate verified.
    Tls,
    /// An HTTP request.
    Http(Box<HttpCheck>),
    /// A predefined check.
    Preset(Preset),
}

keyword! {
    /// A predefined check.
    pub enum Preset("preset") {
        /// Passes on the active node of Vault or OpenBao.
        VaultActive = "vault-active",
        /// Passes on the active node, and on performance standbys.
        VaultAny = "vault-any",
        /// Passes if the greeting of a mail server is 220, and says QUIT.
        Smtp = "smtp",
        /// Passes on the identification of an SSH server, and disconnects.
        Ssh = "ssh",
        instead
            "vault" | "openbao" | "bao" => "vault-active",
            "mysql" | "mariadb" => "`check: tcp` is invisible to MySQL, and a greeting without a login after it is not",
            "smtps" | "submission" | "lmtp" => "smtp",
            "sftp" | "openssh" => "ssh",
            "http" | "https" => "`check: { http: { path: /health } }` requests a page",
            "imap" | "imaps" | "pop3" | "pop3s" | "ftp" | "ldap" | "redis" | "postgres" | "postgresql" | "pgsql"
                | "mqtt" | "kafka" | "amqp" | "mongodb" | "grpc" =>
                    "there is no preset for it: `check: tcp` connects, and `check: tls` does a TLS handshake";
    }
}

spec! {
    /// A predefined check, by the key `preset`.
    pub struct PresetKey {
        /// Which one.
        required preset: Preset,
    }
}

/// The check that a text in another form means.
fn check_meant(text: &str) -> Option<String> {
    Some(match text.to_ascii_lowercase().as_str() {
        "connect" | "l4" | "tcp-check" | "layer4" => "write `tcp`".to_owned(),
        "ssl" | "ssl-hello-chk" | "layer6" => "write `tls`".to_owned(),
        "http" | "https" | "httpchk" => "write `{ http: { path: /health } }`".to_owned(),
        preset if Preset::WORDS.contains(&preset) => format!("write `{{ preset: {preset} }}`"),
        _ if text.starts_with('/') => format!("write `{{ http: {{ path: {text} }} }}`"),
        _ => return None,
    })
}

impl Read for Check {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        const HELP: &str =
            "`tcp`, `tls`, `{ http: { path: /health } }` or `{ preset: vault-active }`";
        let Kind::Map(entries) = &node.kind else {
            return cx.parse(node, "a check", |text| match text {
                "tcp" => Ok(Self::Tcp),
                "tls" => Ok(Self::Tls),
                _ => Err(Invalid::new("unknown check {}")
                    .help(format!("write {HELP}"))
                    .fix(check_meant(text))),
            });
        };
        let has = |name: &str| entries.iter().any(|(key, _)| key.text == name);
        match (has("http"), has("preset")) {
            (true, true) => {
                cx.error(node.at, "`http` and `preset` exclude each other");
                None
            }
            (_, true) => PresetKey::read(node, cx).map(|key| Self::Preset(key.preset.value)),
            _ => HttpKey::read(node, cx).map(|key| Self::Http(Box::new(key.http.value))),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let http = HttpKey::schema(definitions);
        let preset = PresetKey::schema(definitions);
        json!({ "anyOf": [{ "enum": ["tcp", "tls"] }, http, preset] })
    }

    fn form(reference: &mut Reference) -> Form {
        let words = [
            ("tcp", "A connection."),
            ("tls", "A TLS handshake, the certificate verified."),
        ];
        let mut form = Form::one_of(&words).or(HttpKey::form(reference));
        form.maps.extend(PresetKey::form(reference).maps);
        form
    }

    fn render(&self) -> Rendered {
        match self {
            Self::Tcp => Rendered::Text("tcp".to_owned()),
            Self::Tls => Rendered::Text("tls".to_owned()),
            Self::Http(http) => Rendered::Map(vec![("http".to_owned(), http.render())]),
            Self::Preset(preset) => {
                Rendered::Map(vec![("preset".to_owned(), Read::render(preset))])
            }
        }
    }
}

/// The percentage that a text in another notation means: `50`, `50 %`, `0.5`.
fn meant(text: &str) -> Option<u32> {
    let number = text.trim_end_matches(['%', ' ']);
    if let Ok(number) = Count::<0, 100>::parse(number) {
        return Some(number.0);
    }
    let digits = number.strip_prefix("0.").filter(|_| number == text)?;
    let hundredths: u32 = digits.parse().ok()?;
    match digits.len() {
        1 => Some(hundredths * 10),
        2 => Some(hundredths),
        _ => None,
    }
}

/// A percentage, from `0%` to `100%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(pub u32);

impl Leaf for Percent {
    fn what() -> Cow<'static, str> {
        "a percentage such as `50%`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let number = text.strip_suffix('%').map(Count::<0, 100>::parse);
        match number {
            Some(Ok(number)) => Ok(Self(number.0)),
            _ => Err(Invalid::new("{} is not a percentage")
                .help("from `0%` to `100%`")
                .fix(meant(text).map(|number| format!("write `{number}%`")))),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]{1,3}%$" })
    }

    fn render(&self) -> String {
        format!("{}%", self.0)
    }
}
