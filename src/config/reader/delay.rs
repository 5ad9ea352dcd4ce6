//! Delays that are made on purpose. Knows no key.

use std::borrow::Cow;
use std::time::Duration as StdDuration;

use serde_json::{Value, json};

use super::invalid::Invalid;
use super::loose_quantities::is_unlimited;
use super::quantities::{Duration, Quantity};
use super::read::Leaf;
use super::reference::Form;

/// The longest delay: one that seems to last forever would look like a defect.
const MOST: StdDuration = StdDuration::from_secs(3600);

/// How much later something happens; zero for `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay(pub StdDuration);

impl Leaf for Delay {
    fn what() -> Cow<'static, str> {
        format!("{} or `none`", Duration::what()).into()
    }

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text == "none" {
            return Ok(Self(StdDuration::ZERO));
        }
        match Duration::parse(text) {
            Ok(zero) if zero.is_zero() => {
                Err(Invalid::new("{} is no delay").help("write `none`, or leave it out"))
            }
            Ok(Duration(time)) if time > MOST => {
                Err(Invalid::new("the delay {} is out of bounds").help("at most `1h`"))
            }
            Ok(Duration(time)) => Ok(Self(time)),
            Err(invalid) if is_unlimited(text) || text == "0" => {
                Err(invalid.fix("write `none` for no delay".to_owned()))
            }
            Err(invalid) => Err(invalid),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [{ "const": "none" }, <Duration as Leaf>::schema()] })
    }

    fn form() -> Form {
        <Duration as Leaf>::form().or(Form::of("`none`"))
    }

    fn render(&self) -> String {
        match self.0.is_zero() {
            true => "none".to_owned(),
            false => Leaf::render(&Duration(self.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_read_and_printed_as_written() {
        for text in ["none", "100ms", "2s", "1h"] {
            assert_eq!(Delay::parse(text).unwrap().render(), text);
        }
        for text in ["0s", "0", "61m", "2", "-1s", "off", ""] {
            assert!(Delay::parse(text).is_err(), "{text}");
        }
    }
}
