//! Values in YAML's flow style, for commands that write a configuration.

/// A scalar with exactly this text: JSON strings are YAML, and `$` is escaped because it would start a
/// variable. What cannot be seen is written as an escape.
pub(super) fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text.replace('$', "$$")).to_string();
    let mut out = String::new();
    for char in json.chars() {
        if char.is_ascii() || char.is_alphanumeric() {
            out.push(char);
        } else {
            out.push_str(&format!("\\U{:08x}", u32::from(char)));
        }
    }
    out
}

/// The same, without quotes where YAML needs none.
pub(super) fn scalar(text: &str) -> String {
    const WORDS: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "null", "none"];
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    let is_word = WORDS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if begins && !is_word && text.bytes().all(is_plain) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// One value as it is, several as a list.
pub(super) fn one_or_many(values: &[String]) -> String {
    match values {
        [value] => value.clone(),
        _ => list(values),
    }
}

pub(super) fn list(values: &[String]) -> String {
    format!("[{}]", values.join(", "))
}

pub(super) fn map(entries: &[(&str, String)]) -> String {
    let entries: Vec<_> = entries
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    format!("{{ {} }}", entries.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_plain_where_they_stay_text() {
        for plain in ["a", "/etc/a-b_c.pem", "a.example.com"] {
            assert_eq!(scalar(plain), plain);
        }
        for (text, expected) in [
            ("", "\"\""),
            ("yes", "\"yes\""),
            ("None", "\"None\""),
            ("1.2", "\"1.2\""),
            ("a: b", "\"a: b\""),
            ("*.a", "\"*.a\""),
            ("a#b", "\"a#b\""),
            ("$HOME", "\"$$HOME\""),
            ("a\"\n", "\"a\\\"\\n\""),
            ("ä\u{2028}", "\"ä\\U00002028\""),
        ] {
            assert_eq!(scalar(text), expected);
        }
    }
}
