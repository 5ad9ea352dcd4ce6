//! Times as an operator writes them.

use std::time::Duration;

/// A whole number and a unit.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("write a number and one of s, m, h and d, such as 10m".to_owned()),
    };
    let number: Option<u64> = digits.parse().ok();
    let seconds = number.and_then(|number| number.checked_mul(factor));
    seconds
        .map(Duration::from_secs)
        .ok_or_else(|| "write a number and a unit, such as 10m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in [
            "",
            "10",
            "s",
            "1.5h",
            "-1s",
            "1w",
            "99999999999999999999s",
            "1h30m",
        ] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
