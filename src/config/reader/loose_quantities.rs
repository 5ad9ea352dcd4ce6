//! Reads quantities in the notations of other programs, to say how they are written here. Nothing read here
//! takes effect.

/// A number with a unit, as often as it is repeated: `1h 30m`, `1.5s`, `PT5M`, `6 minutes`. Reads a unit
/// as lower case. `None` if a part is not known.
fn sum(text: &str, factor: impl Fn(&str) -> Option<f64>) -> Option<f64> {
    let text = text.trim().to_lowercase();
    let mut rest = text.strip_prefix("pt").unwrap_or(&text);
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let is_number = |char: char| char.is_ascii_digit() || char == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c))?);
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_alphabetic());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        total += number.parse::<f64>().ok()? * factor(unit)?;
        rest = after.trim_start_matches([' ', ',']);
    }
    Some(total)
}

/// A duration in milliseconds.
pub(super) fn milliseconds(text: &str) -> Option<f64> {
    sum(text, |unit| {
        Some(match unit {
            "ns" | "nsec" => 1e-6,
            "us" | "µs" | "usec" | "microsecond" | "microseconds" => 1e-3,
            "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => 1.0,
            "s" | "sec" | "secs" | "second" | "seconds" => 1e3,
            "m" | "min" | "mins" | "minute" | "minutes" => 60e3,
            "h" | "hr" | "hrs" | "hour" | "hours" => 3_600e3,
            "d" | "day" | "days" => 86_400e3,
            "w" | "week" | "weeks" => 604_800e3,
            _ => return None,
        })
    })
}

/// A whole number of bytes. As in most programs, `k` and `KB` are 1024 bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let bytes = sum(text, |unit| {
        Some(match unit {
            "b" | "byte" | "bytes" => 1.0,
            "k" | "kb" | "kib" | "ki" => 1024.0,
            "m" | "mb" | "mib" | "mi" => 1_048_576.0,
            "g" | "gb" | "gib" | "gi" => 1_073_741_824.0,
            _ => return None,
        })
    })?;
    whole(bytes)
}

/// A whole number of bytes whose factors are powers of ten.
pub(super) fn decimal_bytes(text: &str) -> Option<u64> {
    whole(sum(text, |unit| {
        Some(match unit {
            "b" => 1.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            _ => return None,
        })
    })?)
}

/// A count with separators between its thousands, or with a factor: `10_000`, `10,000`, `10k`.
pub(super) fn count(text: &str) -> Option<u64> {
    let text = text.trim().replace(['_', ',', '\'', ' '], "");
    if let Ok(number) = text.parse::<f64>() {
        return whole(number);
    }
    whole(sum(&text, |unit| {
        Some(match unit {
            "k" => 1e3,
            "m" => 1e6,
            _ => return None,
        })
    })?)
}

/// The number, if it is whole and not negative.
fn whole(number: f64) -> Option<u64> {
    let is_whole = number.fract() == 0.0 && (0.0..=9e15).contains(&number);
    is_whole
        .then(|| format!("{number:.0}").parse().ok())
        .flatten()
}

/// Whether a text means "no limit" in another program.
pub(super) fn is_unlimited(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let words = [
        "-1",
        "inf",
        "infinite",
        "infinity",
        "unlimited",
        "never",
        "off",
        "no",
        "false",
        "disabled",
        "null",
        "max",
    ];
    words.contains(&text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notations_of_other_programs_are_understood() {
        for (text, expected) in [
            ("1d", 86_400e3),
            ("1.5s", 1500.0),
            ("6 minutes", 360e3),
            ("1h30m", 5_400e3),
            ("1h 30min", 5_400e3),
            ("PT5M", 300e3),
            ("10M", 600e3),
            ("100us", 0.1),
        ] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
        for text in ["", "s", "5", "5 parsecs", "..s", "1h x"] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
        for (text, expected) in [("64k", 65_536), ("1.5MB", 1_572_864), ("64 KiB", 65_536)] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for (text, expected) in [
            ("10_000", 10_000),
            ("10,000", 10_000),
            ("10k", 10_000),
            ("1e3", 1000),
        ] {
            assert_eq!(count(text), Some(expected), "{text}");
        }
        assert_eq!(count("five"), None);
        assert_eq!(count("-1"), None);
        assert_eq!(bytes("0.3B"), None);
    }
}
