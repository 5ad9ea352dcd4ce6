//! The arguments of a command line of ghostunnel: flags with their values.

use crate::cli::document::LeftOut;

/// A flag, or an argument that is none.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    /// Its place, counted from 1.
    pub(super) number: usize,
    /// The name of the flag, without dashes; empty if it is none.
    pub(super) flag: String,
    /// Empty for a switch.
    pub(super) value: String,
}

/// Flags without a value.
const SWITCHES: [&str; 20] = [
    "allow-all",
    "allow-unsafe-cipher-suites",
    "auto-acme-agree-to-tos",
    "disable-authentication",
    "disable-landlock",
    "enable-landlock",
    "enable-pprof",
    "enable-shutdown",
    "eventlog",
    "keychain-require-token",
    "landlock",
    "proxy-protocol",
    "skip-resolve",
    "syslog",
    "tls-session-tickets",
    "unsafe-listen",
    "unsafe-target",
    "use-landlock",
    "use-workload-api",
    "verify-all",
];

/// Flags whose value is a secret.
const SECRET: [&str; 2] = ["storepass", "pkcs11-pin"];

/// The arguments, each flag with its value: `--flag=VALUE` or `--flag VALUE`.
pub(super) fn read(args: &[String]) -> Vec<Argument> {
    let mut all = Vec::new();
    let mut rest = args.iter().enumerate().peekable();
    while let Some((index, text)) = rest.next() {
        let (flag, value) = match text.strip_prefix("--") {
            None => ("", text.clone()),
            Some(flag) => match flag.split_once('=') {
                Some((flag, value)) => (flag, value.to_owned()),
                None if negated(flag).is_some() => (flag, String::new()),
                None if SWITCHES.contains(&flag) => (flag, String::new()),
                None => {
                    // A value does not begin like a flag.
                    let value = rest.next_if(|(_, value)| !value.starts_with("--"));
                    (
                        flag,
                        value.map(|(_, value)| value.clone()).unwrap_or_default(),
                    )
                }
            },
        };
        all.push(Argument {
            number: index + 1,
            flag: flag.to_owned(),
            value,
        });
    }
    let is_undone = |index: usize, argument: &Argument| {
        let mut later = all.get(index..).unwrap_or_default().iter();
        later.any(|other| negated(&other.flag) == Some(&argument.flag))
    };
    let kept = all.iter().enumerate();
    let kept = kept.filter(|(index, argument)| {
        negated(&argument.flag).is_none() && !is_undone(*index, argument)
    });
    kept.map(|(_, argument)| argument.clone()).collect()
}

/// The switch that `no-SWITCH` turns off again.
fn negated(flag: &str) -> Option<&str> {
    flag.strip_prefix("no-")
        .filter(|switch| SWITCHES.contains(switch))
}

impl Argument {
    /// It as an argument that was not converted, without secrets.
    pub(super) fn left_out(&self, why: &str) -> LeftOut {
        // A URL may hold a login.
        let has_login = self.value.contains("://") && self.value.contains('@');
        let value = match has_login || SECRET.contains(&self.flag.as_str()) {
            true => "(hidden)",
            false => &self.value,
        };
        let text = match (self.flag.as_str(), value) {
            ("", value) => value.to_owned(),
            (flag, "") => format!("--{flag}"),
            (flag, value) => format!("--{flag}={value}"),
        };
        LeftOut {
            place: format!("argument {}", self.number),
            text,
            why: why.to_owned(),
        }
    }
}
