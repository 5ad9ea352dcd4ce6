//! Rates in bytes per second. Knows no key.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::invalid::Invalid;
use super::loose_quantities as loose;
use super::quantities::{Quantity, SIZE_UNITS, number, split_unit};
use super::read::Leaf;
use super::reference::Form;

/// A whole number of bytes in each second: a size and `/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteRate(pub u64);

impl ByteRate {
    /// Far beyond any network.
    const MOST: u64 = 1 << 40;

    /// The number of bytes, if it is within bounds.
    fn within(bytes: u64) -> Option<Self> {
        (bytes <= Self::MOST).then_some(Self(bytes))
    }

    /// Advice about a rate in the notation of another program: `10MB/s`, `10M`, `80Mbit/s`, `80 Mbps`.
    fn meant(text: &str) -> Option<String> {
        let text = text.trim();
        let ends = ["/sec", "/second", "/s", " per second", "ps"];
        let size = ends.iter().find_map(|end| text.strip_suffix(end));
        let size = size.unwrap_or(text).trim_end();
        let write = |bytes: u64| Some(format!("`{}`", Self::within(bytes)?.render()));
        if let Some(bits) = bits(size) {
            let bytes = write(bits / 8)?;
            return Some(format!("write {bytes}: rates are in bytes, of 8 bits each"));
        }
        // Most programs mean KiB by KB, and network hardware does not.
        let decimal = loose::decimal_bytes(size).filter(|_| size.ends_with(['B', 'b']));
        let bytes = match number(size) {
            Some(bytes) => bytes,
            None => loose::bytes(size)?,
        };
        let bytes_written = write(bytes)?;
        match decimal.filter(|decimal| *decimal != bytes) {
            Some(decimal) => Some(format!(
                "write {bytes_written}, or {} for powers of ten",
                write(decimal)?
            )),
            None => Some(format!("write {bytes_written}")),
        }
    }
}

/// The bits of `80Mbit`, `80Mb` or `80 kbits`, whose factors are powers of ten.
fn bits(text: &str) -> Option<u64> {
    let ends = ["bits", "bit", "b"];
    let text = ends.iter().find_map(|end| text.strip_suffix(end))?;
    loose::decimal_bytes(&format!("{text}B"))
}

impl Leaf for ByteRate {
    fn what() -> Cow<'static, str> {
        "bytes per second such as `10MiB/s`".into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == "0" {
            return Ok(Self(0));
        }
        let unknown = || {
            Invalid::new("{} is not a rate of bytes")
                .help("such as `10MiB/s`; units are `B`, `KiB`, `MiB` and `GiB`")
                .fix(Self::meant(text))
        };
        let (digits, unit) = split_unit(text.strip_suffix("/s").ok_or_else(unknown)?);
        let unit = SIZE_UNITS.iter().find(|(name, _)| *name == unit);
        let (Some((_, factor)), false) = (unit, digits.is_empty()) else {
            return Err(unknown());
        };
        let bytes = number(digits).and_then(|number| number.checked_mul(*factor));
        bytes
            .and_then(Self::within)
            .ok_or_else(|| Invalid::new("the rate {} is out of bounds").help("at most `1024GiB/s`"))
    }

    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB)/s$" })
    }

    fn form() -> Form {
        Form::of("bytes per second")
    }

    fn render(&self) -> String {
        let fits = |(_, factor): &&(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*factor);
        let unit = SIZE_UNITS.iter().find(fits);
        let (unit, factor) = unit.unwrap_or(&("B", 1));
        format!("{}{unit}/s", self.0 / factor)
    }
}

impl Quantity for ByteRate {
    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_and_printed_as_written() {
        for text in ["10MiB/s", "1B/s", "16KiB/s", "1500B/s", "1024GiB/s", "0B/s"] {
            assert_eq!(ByteRate::parse(text).unwrap().render(), text);
        }
        assert_eq!(ByteRate::parse("1024KiB/s").unwrap().render(), "1MiB/s");
        for text in [
            "",
            "/s",
            "10",
            "10MiB",
            "MiB/s",
            "1.5MiB/s",
            "-1B/s",
            "1025GiB/s",
            "1MiB/m",
        ] {
            assert!(ByteRate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn notations_of_other_programs_are_understood() {
        for (text, meant) in [
            (
                "10MB/s",
                Some("write `10MiB/s`, or `10000000B/s` for powers of ten"),
            ),
            ("10M", Some("write `10MiB/s`")),
            ("10m/s", Some("write `10MiB/s`")),
            ("10MiB", Some("write `10MiB/s`")),
            ("1.5MiB/s", Some("write `1536KiB/s`")),
            ("4096", Some("write `4KiB/s`")),
            (
                "80Mbit/s",
                Some("write `10000000B/s`: rates are in bytes, of 8 bits each"),
            ),
            (
                "80 Mbps",
                Some("write `10000000B/s`: rates are in bytes, of 8 bits each"),
            ),
            (
                "1 Gb/s",
                Some("write `125000000B/s`: rates are in bytes, of 8 bits each"),
            ),
            (
                "10MB per second",
                Some("write `10MiB/s`, or `10000000B/s` for powers of ten"),
            ),
            ("10/s", Some("write `10B/s`")),
            ("fast", None),
            ("1MiB/m", None),
        ] {
            assert_eq!(ByteRate::meant(text).as_deref(), meant, "{text}");
        }
    }
}
