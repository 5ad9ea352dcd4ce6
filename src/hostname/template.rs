//! Host names that are made of what the wildcard of a pattern stood for.

use std::fmt;

use super::name::HostName;

/// What stands for the labels in a template.
const LABELS: &str = "{1}";

/// A host name with a place for the labels that `*` or `**` stood for in a client's server name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostTemplate {
    before: Box<str>,
    after: Box<str>,
}

/// Why a text is no template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostTemplateError {
    /// It has no `{1}`, or several, or other braces.
    Place,
    /// It has no name behind the label with `{1}`, so that clients could choose any domain.
    NoSuffix,
    /// What would be made of it is not a host name.
    Malformed,
}

impl HostTemplate {
    /// Parses a host name in ASCII with one `{1}`, and a fixed name behind the label that has it.
    pub fn parse(text: &str) -> Result<Self, HostTemplateError> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let (before, after) = text.split_once(LABELS).ok_or(HostTemplateError::Place)?;
        if [before, after].iter().any(|part| part.contains(['{', '}'])) {
            return Err(HostTemplateError::Place);
        }
        let template = Self {
            before: before.into(),
            after: after.into(),
        };
        if template.suffix().is_none_or(str::is_empty) {
            return Err(HostTemplateError::NoSuffix);
        }
        // One letter is the least that can take the place.
        match template.host("a") {
            Some(_) => Ok(template),
            None => Err(HostTemplateError::Malformed),
        }
    }

    /// The fixed name behind the label with the place.
    fn suffix(&self) -> Option<&str> {
        self.after.split_once('.').map(|(_, suffix)| suffix)
    }

    /// Whether every name that can be made is below `top`.
    pub fn is_below(&self, top: &HostName) -> bool {
        let suffix = self.suffix().unwrap_or_default();
        let above = suffix.strip_suffix(top.as_str());
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    }

    /// The name with these labels of a client, of small letters, digits and hyphens; `None` if it is not a
    /// host name, or others are in them.
    pub fn host(&self, labels: &str) -> Option<HostName> {
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
        if labels.is_empty() || !labels.bytes().all(is_plain) {
            return None;
        }
        HostName::from_wire(&format!("{}{labels}{}", self.before, self.after)).ok()
    }
}

impl fmt::Display for HostTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{LABELS}{}", self.before, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> HostTemplate {
        HostTemplate::parse(text).unwrap()
    }

    fn made(text: &str, labels: &str) -> Option<String> {
        let host = template(text).host(labels);
        host.map(|host| host.as_str().to_owned())
    }

    #[test]
    fn labels_take_the_place() {
        for (text, labels, host) in [
            ("{1}.internal", "a", "a.internal"),
            ("{1}.internal", "a.b", "a.b.internal"),
            ("DB-{1}.x.Internal.", "a", "db-a.x.internal"),
            ("{1}-db.x.internal", "a.b", "a.b-db.x.internal"),
            ("api.{1}.internal", "a-1", "api.a-1.internal"),
        ] {
            assert_eq!(made(text, labels).as_deref(), Some(host), "{text}");
        }
        assert_eq!(template("{1}.internal").to_string(), "{1}.internal");
    }

    /// No labels lead out of the suffix, to an address, or to a name that DNS would read in another way.
    #[test]
    fn labels_that_could_lead_elsewhere_make_no_name() {
        let long = "a".repeat(64);
        let many = format!("{}a", "a.".repeat(126));
        for labels in [
            "", ".", "a.", ".a", "a..b", "a_b", "*", "a b", "a/b", "a:1", "a@b", "a%b", "A", "ä",
            "{1}", "-a", "a-", "a\0", &long, &many,
        ] {
            assert_eq!(made("{1}.internal", labels), None, "{labels:?}");
        }
        assert_eq!(made("{1}.2.3.4", "10"), None);
        assert_eq!(made("x{1}.internal", &"a".repeat(63)), None);
    }

    #[test]
    fn a_template_has_one_place_and_a_suffix() {
        use HostTemplateError as E;
        for (text, error) in [
            ("a.internal", E::Place),
            ("{1}.{1}.internal", E::Place),
            ("{2}.internal", E::Place),
            ("{1}.{internal", E::Place),
            ("{1}", E::NoSuffix),
            ("a.{1}", E::NoSuffix),
            ("{1}-internal", E::NoSuffix),
            ("{1}.", E::NoSuffix),
            ("{1}..internal", E::Malformed),
            ("{1}.in ternal", E::Malformed),
            ("-{1}.internal", E::Malformed),
        ] {
            assert_eq!(HostTemplate::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn only_what_is_behind_the_label_counts_as_the_suffix() {
        let name = |text: &str| HostName::from_wire(text).unwrap();
        for (text, top, is_below) in [
            ("{1}.internal", "internal", true),
            ("{1}.x.internal", "internal", true),
            ("{1}.x.internal", "x.internal", true),
            ("{1}.internal", "x.internal", false),
            ("{1}.notinternal", "internal", false),
            ("{1}.internal", "ternal", false),
            ("{1}-x.internal", "x.internal", false),
            ("internal.{1}.x", "internal", false),
        ] {
            assert_eq!(
                template(text).is_below(&name(top)),
                is_below,
                "{text} {top}"
            );
        }
    }
}
