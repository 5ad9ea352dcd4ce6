//! Texts and names of types from libraries as ordinary words.

/// The text of a library error, cut before any debug output.
pub(super) fn plain(text: &str) -> String {
    let end = text.find(['{', '[']).unwrap_or(text.len());
    let words = text.get(..end).unwrap_or_default().split_whitespace();
    let words: Vec<_> = words.map(spaced).collect();
    words.join(" ")
}

/// A camel-case name as separate words, cut before brackets.
pub(super) fn spaced(name: &str) -> String {
    let end = name.find(['(', '{', '[', ' ']).unwrap_or(name.len());
    let name: Vec<char> = name.get(..end).unwrap_or_default().chars().collect();
    let mut words = String::new();
    for (n, c) in name.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|n| name.get(n));
        let after = name.get(n + 1);
        let begins = c.is_ascii_uppercase()
            && before.is_some_and(|b| {
                !b.is_ascii_uppercase() && b.is_ascii_alphanumeric()
                    || b.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase)
            });
        if begins {
            words.push(' ');
        }
        words.push(*c);
    }
    let word = |word: &str| match word {
        "Tls12" => "TLS 1.2".to_owned(),
        "Tls13" => "TLS 1.3".to_owned(),
        "Kx" => "key exchange".to_owned(),
        "Psk" => "PSK".to_owned(),
        "Ech" => "ECH".to_owned(),
        "Ec" => "EC".to_owned(),
        "Quic" => "QUIC".to_owned(),
        "Sct" => "SCT".to_owned(),
        "Ems" => "extended master secret".to_owned(),
        "Ccs" => "change of cipher".to_owned(),
        "Sig" => "signature".to_owned(),
        "Cert" => "certificate".to_owned(),
        word if word.chars().skip(1).any(|c| c.is_ascii_uppercase()) => word.to_owned(),
        word => word.to_lowercase(),
    };
    words.split(' ').map(word).collect::<Vec<_>>().join(" ")
}
