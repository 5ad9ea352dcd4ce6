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
        instead
            "tls1.2" | "tls_1.2" | "tls1_2" | "tlsv1.2" | "tlsv1_2" | "tls12" | "tls_v1_2"
                | "tls_1_2" | "12" | "versiontls12" | "ssl_version_tls1_2" => "1.2",
            "tls1.3" | "tls_1.3" | "tls1_3" | "tlsv1.3" | "tlsv1_3" | "tls13" | "tls_v1_3"
                | "tls_1_3" | "13" | "versiontls13" => "1.3",
            "1" | "1.0" | "1.1" | "tls1" | "tlsv1" | "tls1.0" | "tlsv1.0" | "tls1.1" | "tlsv1.1"
                | "tlsv1_1" | "tlsv1_0" | "ssl3" | "sslv3" | "sslv2" | "3.0" =>
                    "TLS 1.1 and older are never spoken; the least is `1.2`";
    }
}

/// Declares the name of an entry of a table.
macro_rules! entry {
    ($(#[doc = $about:literal])+ $name:ident, $what:literal, $entry:ty, $table:ident, $word:ident, $meant:path) => {
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
                found.map(Self).ok_or_else(|| {
                    let invalid = words::unknown_word($what, text, &Self::words(), &[]);
                    match $meant(text) {
                        Some(advice) => invalid.fix(advice),
                        None => invalid,
                    }
                })
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
    CipherSuite, "cipher suite", Suite, SUITES, iana, suite_meant
}

entry! {
    /// A key exchange group.
    Group, "key exchange group", TlsGroup, GROUPS, word, group_meant
}

/// Advice about a cipher suite in the words of OpenSSL or of another program.
fn suite_meant(text: &str) -> Option<String> {
    let upper = text.to_ascii_uppercase();
    let plain = |name: &str| {
        name.replace("TLS13_", "TLS_")
            .replace(['-', '_'], "")
            .to_ascii_uppercase()
    };
    let given = plain(&upper);
    let known = SUITES.iter().find(|suite| {
        [suite.iana, suite.openssl]
            .iter()
            .any(|name| plain(name) == given)
    });
    if let Some(suite) = known {
        return Some(format!("did you mean `{}`?", suite.iana));
    }
    if text.contains([':', '!', '+', '@', ','])
        || ["HIGH", "MEDIUM", "DEFAULT", "ALL", "MODERN"].contains(&&*upper)
    {
        return Some(
            "write a list of suites, not a cipher string of OpenSSL; without the key, \
            all that are supported are used"
                .to_owned(),
        );
    }
    let parts: Vec<_> = upper.split(['-', '_']).collect();
    let has = |part: &str| parts.contains(&part);
    let is_weak = [
        "CBC", "RC4", "DES", "3DES", "CBC3", "NULL", "EXPORT", "ANON", "MD5",
    ]
    .iter()
    .any(|part| has(part));
    let is_suite = upper.contains("AES")
        || upper.contains("CHACHA20")
        || upper.contains("CAMELLIA")
        || is_weak;
    let is_aead = upper.contains("GCM") || upper.contains("CHACHA20");
    if is_suite && (is_weak || !is_aead) {
        return Some("only suites with an AEAD (GCM, ChaCha20-Poly1305) are supported".to_owned());
    }
    let is_tls12 = is_suite && !has("ECDHE");
    is_tls12.then(|| "only suites with ECDHE, and those of TLS 1.3, are supported".to_owned())
}

/// Advice about a key exchange group in the words of OpenSSL or of another program.
fn group_meant(text: &str) -> Option<String> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '_', '.'], "");
    let given = plain(text);
    if text.contains([':', ',', ' ']) {
        return Some("write a list, such as `[X25519, secp256r1]`".to_owned());
    }
    if ["p521", "secp521r1", "nistp521", "x448", "curve448"].contains(&given.as_str()) {
        return Some("it is not supported; `secp384r1` is the strongest of its kind".to_owned());
    }
    let same = GROUPS
        .iter()
        .map(|group| group.word)
        .find(|word| plain(word) == given);
    let word = same.or_else(|| {
        Some(match given.as_str() {
            "p256" | "prime256v1" | "secp256r1" | "nistp256" | "curvep256" => "secp256r1",
            "p384" | "secp384r1" | "nistp384" | "curvep384" => "secp384r1",
            "curve25519" => "x25519",
            "kyber" | "mlkem768" | "x25519kyber768" | "x25519kyber768draft00" => "X25519MLKEM768",
            _ => return None,
        })
    });
    let word = GROUPS
        .iter()
        .map(|group| group.word)
        .find(|known| Some(plain(known)) == word.map(plain))?;
    Some(format!("did you mean `{word}`?"))
}
