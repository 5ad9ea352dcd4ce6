//! Rates: so many in each second or minute. Knows no key.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};

use super::invalid::Invalid;
use super::loose_quantities as loose;
use super::quantities::Quantity;
use super::read::Leaf;
use super::reference::Form;

/// A whole number in each second or minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub unit: RateUnit,
}

/// The time of a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateUnit {
    /// A second.
    Second,
    /// A minute.
    Minute,
}

impl RateUnit {
    /// The time.
    pub const fn duration(self) -> Duration {
        match self {
            Self::Second => Duration::from_secs(1),
            Self::Minute => Duration::from_secs(60),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Second => "s",
            Self::Minute => "m",
        }
    }
}

impl Rate {
    /// An interval between two of at least a microsecond.
    const MAX: u32 = 1_000_000;

    /// Advice about a rate in the notation of another program, such as `10r/s`, `10/sec` or `10 per second`.
    fn meant(text: &str) -> Option<String> {
        let text = text.trim().to_lowercase().replace(" per ", "/");
        let (count, unit) = text.split_once('/').unwrap_or((&text, "s"));
        let count = loose::count(count.trim().trim_end_matches(['r', ' ']))?;
        let count = u32::try_from(count)
            .ok()
            .filter(|count| *count <= Self::MAX)?;
        let unit = match unit.trim().trim_start_matches("1") {
            "s" | "sec" | "second" | "seconds" => RateUnit::Second,
            "m" | "min" | "minute" | "minutes" => RateUnit::Minute,
            _ => return None,
        };
        Some(format!("write `{}`", Self { count, unit }.render()))
    }
}

impl Leaf for Rate {
    fn what() -> Cow<'static, str> {
        "a rate such as `50/s`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let parsed = text.split_once('/').and_then(|(count, unit)| {
            let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
            let unit = match unit {
                "s" => RateUnit::Second,
                "m" => RateUnit::Minute,
                _ => return None,
            };
            is_number.then(|| (count.parse::<u32>().ok(), unit))
        });
        match parsed {
            Some((Some(count), unit)) if count <= Self::MAX => Ok(Self { count, unit }),
            Some(_) => {
                Err(Invalid::new("the rate {} is out of bounds").help("at most `1000000/s`"))
            }
            None => Err(Invalid::new("{} is not a rate")
                .help("such as `50/s` or `100/m`")
                .fix(Self::meant(text))),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+/[sm]$" })
    }

    fn form() -> Form {
        Form::of("rate")
    }

    fn render(&self) -> String {
        format!("{}/{}", self.count, self.unit.word())
    }
}

impl Quantity for Rate {
    fn is_zero(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_and_printed_as_written() {
        for text in ["50/s", "100/m", "0/s", "1000000/m"] {
            assert_eq!(Rate::parse(text).unwrap().render(), text);
        }
        for text in [
            "",
            "50",
            "/s",
            "50/",
            "50/h",
            "-1/s",
            "5.5/s",
            "50/s/s",
            "1000001/s",
        ] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn notations_of_other_programs_are_understood() {
        for (text, meant) in [
            ("50", Some("write `50/s`")),
            ("10r/s", Some("write `10/s`")),
            ("10r/m", Some("write `10/m`")),
            ("10/sec", Some("write `10/s`")),
            ("10 per minute", Some("write `10/m`")),
            ("1k/s", Some("write `1000/s`")),
            ("10/1s", Some("write `10/s`")),
            ("10/h", None),
            ("many", None),
        ] {
            assert_eq!(Rate::meant(text).as_deref(), meant, "{text}");
        }
    }
}
