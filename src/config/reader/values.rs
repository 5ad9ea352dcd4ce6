//! Single values: booleans, names, texts, paths, permissions, log outputs. Knows no key.

use std::borrow::Cow;
use std::ops::Deref;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::invalid::Invalid;
use super::read::{Leaf, nearest};
use super::words::{Instead, instead, unknown_word};

pub use super::quantities::{Count, Duration, Size, Timeout};

impl Leaf for bool {
    fn what() -> Cow<'static, str> {
        "`true` or `false`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "true" | "on" | "yes" => Ok(true),
            "false" | "off" | "no" => Ok(false),
            _ => {
                let fix = match text.to_ascii_lowercase().as_str() {
                    "1" | "y" | "t" | "true" | "on" | "yes" | "enable" | "enabled" => Some("true"),
                    "0" | "n" | "f" | "false" | "off" | "no" | "disable" | "disabled" | "none" => {
                        Some("false")
                    }
                    _ => None,
                };
                Err(Invalid::new("{} is neither `true` nor `false`")
                    .fix(fix.map(|word| format!("write `{word}`"))))
            }
        }
    }

    fn schema() -> Value {
        json!({ "enum": [true, false, "on", "off", "yes", "no"] })
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

/// A name chosen by the user: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The rule, for messages.
    pub const RULE: &'static str = "a name is 1 to 64 letters, digits, `.`, `_` or `-`";
    /// The rule as a regular expression.
    pub const PATTERN: &'static str = "^[A-Za-z0-9._-]{1,64}$";

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Advice with a name that is similar to a text.
    pub(super) fn near(text: &str) -> Option<String> {
        let fits = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
        let is_near = text.len() <= 64
            && !text.contains(':')
            && text.starts_with(fits)
            && text.ends_with(fits);
        let name = text.replace(|char: char| !fits(char), "-");
        is_near.then(|| format!("write `{name}`: {}", Self::RULE))
    }
}

impl Leaf for Name {
    fn what() -> Cow<'static, str> {
        "a name".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let fits = |char: char| char.is_ascii_alphanumeric() || "._-".contains(char);
        if (1..=64).contains(&text.len()) && text.chars().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new("{} is not a name")
            .help(Self::RULE)
            .fix(Self::near(text)))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": Self::PATTERN })
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A text that is not empty and has no control characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(pub String);

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Checks that a text is not empty and has no control characters.
pub fn check_text(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new("this is empty"));
    }
    if text.chars().any(char::is_control) {
        return Err(Invalid::new("{} holds a control character"));
    }
    Ok(())
}

impl Leaf for Text {
    fn what() -> Cow<'static, str> {
        "a text".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Value {
        // YAML tools convert a numeric user or group to a number.
        json!({ "type": ["string", "integer"], "minLength": 1 })
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

/// An ALPN protocol: 1 to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Protocol(pub String);

impl Leaf for Protocol {
    fn what() -> Cow<'static, str> {
        "a protocol such as `h2`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        if text.len() > 255 {
            return Err(Invalid::new("the protocol {} is longer than 255 bytes"));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1, "maxLength": 255 })
    }

    fn render(&self) -> String {
        self.0.clone()
    }
}

/// A path as written; a relative one is relative to the directory of the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(pub PathBuf);

impl Deref for Path {
    type Target = std::path::Path;

    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

impl Leaf for Path {
    fn what() -> Cow<'static, str> {
        "a path".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        check_text(text)?;
        Ok(Self(PathBuf::from(text)))
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn render(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }
}

/// The permission bits of a file in octal, such as `"0660"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(pub u32);

impl Leaf for Permissions {
    fn what() -> Cow<'static, str> {
        "permissions such as `\"0660\"`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let octal = digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
        match u32::from_str_radix(digits, 8) {
            Ok(bits) if octal && (3..=4).contains(&digits.len()) && bits <= 0o777 => Ok(Self(bits)),
            _ => Err(Invalid::new("{} is not a set of permissions")
                .help("three octal digits, such as `\"0660\"`")),
        }
    }

    fn schema() -> Value {
        json!({ "type": ["string", "integer"], "pattern": "^(0|0o)?[0-7]{3}$" })
    }

    fn render(&self) -> String {
        format!("{:04o}", self.0)
    }
}

/// Where log lines are written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// `stdout`.
    Stdout,
    /// `stderr`.
    Stderr,
    /// `none`: discarded.
    None,
    /// A file, appended to.
    File(Path),
}

const OUTPUTS: [&str; 3] = ["stdout", "stderr", "none"];

/// Words of other programs, and schemes of their addresses.
const INSTEAD_OF_OUTPUTS: Instead = &[
    ("off", "none"),
    ("no", "none"),
    ("false", "none"),
    ("null", "none"),
    ("discard", "none"),
    ("console", "stderr"),
    (
        "file",
        "write the path alone, such as `/var/log/reseal/reseal.log`",
    ),
    ("syslog", NO_SYSLOG),
    ("journal", NO_SYSLOG),
    ("journald", NO_SYSLOG),
    ("systemd", NO_SYSLOG),
    ("unix", NO_SYSLOG),
    ("tcp", NO_SYSLOG),
    ("udp", NO_SYSLOG),
];

const NO_SYSLOG: &str =
    "write `stderr` or `stdout`: systemd takes both into its journal, and collectors read files";

/// Whether a text is a word or an address of another program, or a misspelt word, which must not silently
/// become a file. `./syslog` is one.
fn is_no_path(text: &str) -> bool {
    let scheme = text.split_once(':').map(|(scheme, _)| scheme);
    let is_known = |word: &str| instead(word, INSTEAD_OF_OUTPUTS).is_some();
    let is_word = !text.contains(['/', '.']);
    scheme.is_some_and(is_known) || is_word && (is_known(text) || nearest(text, OUTPUTS).is_some())
}

impl Leaf for Output {
    fn what() -> Cow<'static, str> {
        "`stdout`, `stderr`, `none` or a path".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            "none" => Ok(Self::None),
            text if is_no_path(text) => {
                let word = text.split(':').next().unwrap_or_default();
                Err(unknown_word("output", word, &OUTPUTS, INSTEAD_OF_OUTPUTS))
            }
            text => Path::parse(text).map(Self::File),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "minLength": 1 })
    }

    fn render(&self) -> String {
        match self {
            Self::Stdout => "stdout".to_owned(),
            Self::Stderr => "stderr".to_owned(),
            Self::None => "none".to_owned(),
            Self::File(path) => path.render(),
        }
    }
}
