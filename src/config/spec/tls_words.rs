//! Words of TLS: versions, cipher suites, key exchange groups. The suites and groups are those of the table
//! in `tls`.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::config::reader::invalid::Invalid;
use crate::config::reader::read::Leaf;
use crate::config::reader::reference::Form;
use crate::config::reader::words::{self, keyword};
use crate::tls::suites::{GROUPS, Group as TlsGroup, SUITES, Suite};

keyword! {
    /// A version of TLS.
    pub enum TlsVersion("TLS version") {
        /// RFC 5246.
        V1_2 = "1.2",
        /// RFC 8446.
        V1_3 = "1.3",
    }
}

/// Declares the name of an entry of a table.
macro_rules! entry {
    ($(#[doc = $about:literal])+ $name:ident, $what:literal, $entry:ty, $table:ident, $word:ident) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug)]
        pub struct $name(pub &'static $entry);

        impl $name {
            fn words() -> [&'static str; $table.len()] {
                $table.each_ref().map(|entry| entry.$word)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.$word == other.0.$word
            }
        }

        impl Eq for $name {}

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0.$word)
            }
        }

        impl Leaf for $name {
            fn what() -> Cow<'static, str> {
                words::one_of(&Self::words()).into()
            }

            fn parse(text: &str) -> Result<Self, Invalid> {
                let found = $table.iter().find(|entry| entry.$word == text);
                found
                    .map(Self)
                    .ok_or_else(|| words::unknown_word($what, text, &Self::words()))
            }

            fn schema() -> Value {
                words::schema(&Self::words())
            }

            fn form() -> Form {
                Form {
                    words: Self::words().map(|word| (word, "")).to_vec(),
                    ..Form::of($what)
                }
            }

            fn render(&self) -> String {
                self.to_string()
            }
        }
    };
}

entry! {
    /// A cipher suite, by its IANA name.
    CipherSuite, "cipher suite", Suite, SUITES, iana
}

entry! {
    /// A key exchange group.
    Group, "key exchange group", TlsGroup, GROUPS, word
}
