//! Keywords: the `keyword!` macro, and the error about an unknown word. Knows no key.

use serde_json::{Value, json};

use super::invalid::Invalid;
use super::problem::quoted_list;
use super::read::nearest;

/// Declares an enum of keywords: each variant is one word of the file. `impl Type("what") { .. }` reads the
/// words into an enum of another module, where that has the same variants. `instead` lists words of other
/// programs, each with the word or the advice to give for it.
macro_rules! keyword {
    (
        $(#[doc = $about:literal])+
        pub enum $name:ident($what:literal) {
            $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+
            $(instead $($($other:literal)|+ => $meant:literal),+;)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl $name {
            /// The word as written in the file.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        keyword! {
            impl $name($what) {
                $($(#[doc = $doc])+ $variant = $word,)+
                $(instead $($($other)|+ => $meant),+;)?
            }
        }
    };
    (
        impl $name:ident($what:literal) {
            $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+
            $(instead $($($other:literal)|+ => $meant:literal),+;)?
        }
    ) => {
        impl $crate::config::reader::words::Keyword for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
            const INSTEAD: $crate::config::reader::words::Instead = &[$($($(($other, $meant)),+),+)?];
        }

        impl $crate::config::reader::read::Leaf for $name {
            fn what() -> std::borrow::Cow<'static, str> {
                use $crate::config::reader::words::{Keyword, one_of};
                one_of(Self::WORDS).into()
            }

            fn parse(text: &str) -> Result<Self, $crate::config::reader::invalid::Invalid> {
                use $crate::config::reader::words::{Keyword, canonical, unknown_word};
                match canonical(text, Self::WORDS) {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(unknown_word($what, text, Self::WORDS, Self::INSTEAD)),
                }
            }

            fn schema() -> serde_json::Value {
                use $crate::config::reader::words::{Keyword, schema};
                schema(Self::WORDS)
            }

            fn form() -> $crate::config::reader::reference::Form {
                $crate::config::reader::reference::Form::one_of(&[
                    $(($word, concat!($($doc),+).trim_ascii())),+
                ])
            }

            fn render(&self) -> String {
                match self {
                    $(Self::$variant => $word,)+
                }
                .to_owned()
            }
        }
    };
}
pub(in crate::config) use keyword;

/// An enum of keywords.
pub trait Keyword {
    /// All words, as written in the file.
    const WORDS: &'static [&'static str];
    /// Words of other programs.
    const INSTEAD: Instead;
}

/// Words of other programs, in lower case with `_`, each with the word to write here, or with advice in a
/// sentence. The word `.` stands for every text with a dot, such as a host name.
pub type Instead = &'static [(&'static str, &'static str)];

/// What to write or do in place of a word of another program.
pub(super) fn instead(text: &str, words: Instead) -> Option<&'static str> {
    let text = text.to_ascii_lowercase().replace(['-', ' '], "_");
    let is_it = |other: &str| other == text || other == "." && text.contains('.');
    let found = words.iter().find(|(other, _)| is_it(other));
    found.map(|(_, meant)| *meant)
}

/// The words for `off`, including those that YAML tools write for it.
pub fn is_off(text: &str) -> bool {
    matches!(text, "off" | "no" | "false")
}

/// The word as the enum spells it: tools for YAML 1.1 turn `off` and `on` into booleans.
pub fn canonical<'t>(text: &'t str, words: &[&'static str]) -> &'t str {
    match text {
        text if is_off(text) && words.contains(&"off") => "off",
        "on" | "yes" | "true" if words.contains(&"on") => "on",
        text => text,
    }
}

/// The words as a choice, for messages.
pub fn one_of(words: &[&str]) -> String {
    match words {
        [only] => format!("`{only}`"),
        words => format!("one of {}", quoted_list(words.iter().copied())),
    }
}

/// The error about an unknown word.
pub fn unknown_word(what: &str, text: &str, words: &[&'static str], others: Instead) -> Invalid {
    let did_you_mean = |word: &str| format!("did you mean `{word}`?");
    let fix = match instead(text, others) {
        Some(word) if words.contains(&word) => Some(did_you_mean(word)),
        Some(advice) => Some(advice.to_owned()),
        None => nearest(text, words.iter().copied()).map(did_you_mean),
    };
    Invalid::new(format!("unknown {what} {{}}"))
        .help(format!("write {}", one_of(words)))
        .fix(fix)
}

/// The JSON Schema of a choice of words.
pub fn schema(words: &[&str]) -> Value {
    let mut all: Vec<Value> = words.iter().map(|word| json!(word)).collect();
    if words.contains(&"off") {
        all.push(json!(false));
    }
    // Versions may be written without quotes.
    all.extend(
        words
            .iter()
            .filter_map(|word| word.parse::<f64>().ok())
            .map(|number| json!(number)),
    );
    json!({ "enum": all })
}
