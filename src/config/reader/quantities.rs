//! Values that count or measure: durations, sizes, counts, fractions, with their units and bounds. Knows
//! no key.

use std::borrow::Cow;
use std::ops::Deref;
use std::time::Duration as StdDuration;

use serde_json::{Value, json};

use super::invalid::Invalid;
use super::loose_quantities as loose;
use super::read::Leaf;
use super::reference::Form;

/// A leaf that counts or measures.
pub trait Quantity: Leaf {
    /// Whether it is zero, which would read as "no limit". `false` where the bounds allow zero as a
    /// limit.
    fn is_zero(&self) -> bool;
}

/// A number without sign; `None` if it is not one.
pub(super) fn number(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
}

/// Splits `10m` into `10` and `m`.
pub(super) fn split_unit(text: &str) -> (&str, &str) {
    let end = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A span of time: a whole number and `ms`, `s`, `m` or `h`, at most ten years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(pub StdDuration);

impl Duration {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    /// Far below the range of clock arithmetic.
    const MOST_MS: u64 = 10 * 365 * 24 * 3_600_000;

    /// Advice about a duration in the notation of another program.
    fn meant(text: &str) -> Option<String> {
        let milliseconds = loose::milliseconds(text)?;
        let whole = (milliseconds.fract() == 0.0 && milliseconds >= 1.0)
            .then(|| StdDuration::try_from_secs_f64(milliseconds / 1000.0).ok())
            .flatten()
            .filter(|time| time.as_millis() <= u128::from(Self::MOST_MS));
        Some(match whole {
            Some(time) => format!("write `{}`", Self(time).render()),
            None if milliseconds > 0.0 && milliseconds < 1.0 => "the least is `1ms`".to_owned(),
            None => return None,
        })
    }
}

impl Deref for Duration {
    type Target = StdDuration;

    fn deref(&self) -> &StdDuration {
        &self.0
    }
}

impl Leaf for Duration {
    fn what() -> Cow<'static, str> {
        "a duration such as `5s`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let (digits, unit) = split_unit(text);
        if digits.is_empty() {
            return Err(Invalid::new("{} is not a duration")
                .help("write a number and a unit, such as `250ms`, `5s`, `2m` or `1h`")
                .fix(Self::meant(text)));
        }
        if unit.is_empty() {
            return Err(Invalid::new("the duration {} has no unit")
                .help("add a unit: `ms`, `s`, `m` or `h`")
                .fix(format!("add a unit: `{digits}s`")));
        }
        let Some((_, factor)) = Self::UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(Invalid::new("{} is not a whole number with one unit")
                .help("units are `ms`, `s`, `m` and `h`, such as `90m`")
                .fix(Self::meant(text)));
        };
        let milliseconds = number(digits).and_then(|number| number.checked_mul(*factor));
        match milliseconds {
            Some(milliseconds) if milliseconds <= Self::MOST_MS => {
                Ok(Self(StdDuration::from_millis(milliseconds)))
            }
            _ => Err(Invalid::new("the duration {} is longer than ten years")),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" })
    }

    fn form() -> Form {
        Form::of("duration")
    }

    fn render(&self) -> String {
        let milliseconds = u64::try_from(self.0.as_millis()).unwrap_or(Self::MOST_MS);
        let whole = |factor: u64| milliseconds > 0 && milliseconds.is_multiple_of(factor);
        let unit = Self::UNITS.iter().find(|(_, factor)| whole(*factor));
        unit.map_or_else(
            || "0s".to_owned(),
            |(unit, factor)| format!("{}{unit}", milliseconds / factor),
        )
    }
}

impl Quantity for Duration {
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

/// A [`Duration`] that is not zero, within which something must happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(pub StdDuration);

impl Deref for Timeout {
    type Target = StdDuration;

    fn deref(&self) -> &StdDuration {
        &self.0
    }
}

impl Leaf for Timeout {
    fn what() -> Cow<'static, str> {
        Duration::what()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        match Duration::parse(text)? {
            zero if zero.is_zero() => {
                Err(Invalid::new("the timeout {} must not be zero").help("write at least `1ms`"))
            }
            Duration(time) => Ok(Self(time)),
        }
    }

    fn schema() -> Value {
        Duration::schema()
    }

    fn form() -> Form {
        Duration::form()
    }

    fn render(&self) -> String {
        Duration(self.0).render()
    }
}

/// A whole number from `LEAST` to `MOST`, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count<const LEAST: u32, const MOST: u32>(pub u32);

impl<const LEAST: u32, const MOST: u32> Leaf for Count<LEAST, MOST> {
    fn what() -> Cow<'static, str> {
        format!("a number from {LEAST} to {MOST}").into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            let meant = loose::count(text).filter(|count| {
                u32::try_from(*count).is_ok_and(|count| (LEAST..=MOST).contains(&count))
            });
            return Err(Invalid::new("{} is not a whole number")
                .help(format!("write {}", Self::what()))
                .fix(meant.map(|count| format!("write `{count}`"))));
        }
        match number(text).and_then(|number| u32::try_from(number).ok()) {
            Some(count) if (LEAST..=MOST).contains(&count) => Ok(Self(count)),
            _ => Err(Invalid::new("{} is out of bounds").help(format!("write {}", Self::what()))),
        }
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }

    fn render(&self) -> String {
        self.0.to_string()
    }
}

impl<const LEAST: u32, const MOST: u32> Quantity for Count<LEAST, MOST> {
    fn is_zero(&self) -> bool {
        self.0 == 0 && LEAST > 0
    }
}

/// A number of bytes from `LEAST` to `MOST`, inclusive: a whole number with `B`, `KiB`, `MiB` or `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size<const LEAST: u32, const MOST: u32>(pub u32);

/// The units of sizes, the largest first.
pub(super) const SIZE_UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

impl<const LEAST: u32, const MOST: u32> Leaf for Size<LEAST, MOST> {
    fn what() -> Cow<'static, str> {
        let (least, most) = (Self(LEAST).render(), Self(MOST).render());
        format!("a size from `{least}` to `{most}`").into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        let (digits, unit) = split_unit(text);
        if digits.is_empty() {
            return Err(Invalid::new("{} is not a size")
                .help("write a number and a unit, such as `64KiB` or `1MiB`"));
        }
        if unit.is_empty() {
            return Err(Invalid::new("the size {} has no unit")
                .help("add a unit: `B`, `KiB`, `MiB` or `GiB`")
                .fix(format!("add a unit: `{digits}B`")));
        }
        let Some((_, factor)) = SIZE_UNITS.iter().find(|(name, _)| *name == unit) else {
            let meant = loose::bytes(text).and_then(|bytes| u32::try_from(bytes).ok());
            let meant = meant.filter(|bytes| (LEAST..=MOST).contains(bytes));
            return Err(Invalid::new("{} is not a whole number with one unit")
                .help("units are `B`, `KiB`, `MiB` and `GiB`, such as `64KiB`")
                .fix(meant.map(|bytes| format!("write `{}`", Self(bytes).render()))));
        };
        let bytes = number(digits).and_then(|number| number.checked_mul(*factor));
        match bytes.and_then(|bytes| u32::try_from(bytes).ok()) {
            Some(bytes) if (LEAST..=MOST).contains(&bytes) => Ok(Self(bytes)),
            _ => Err(Invalid::new("{} is out of bounds").help(format!("write {}", Self::what()))),
        }
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)$" })
    }

    fn render(&self) -> String {
        let bytes = u64::from(self.0);
        let fits = |(_, factor): &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(*factor);
        let unit = SIZE_UNITS.iter().find(fits);
        unit.map_or_else(
            || "0B".to_owned(),
            |(unit, factor)| format!("{}{unit}", bytes / factor),
        )
    }
}

impl<const LEAST: u32, const MOST: u32> Quantity for Size<LEAST, MOST> {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}
