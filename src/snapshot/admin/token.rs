//! The tokens of the admin listener, and what each lets its bearer do.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// What a client may do, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Query.
    Read,
    /// Query, and change everything but whether the process runs.
    Operate,
    /// Everything.
    All,
}

impl Role {
    /// The role with this word, which stands before a token.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Read, Self::Operate]
            .into_iter()
            .find(|role| role.word() == word)
    }

    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::All => "all",
        }
    }
}

/// A token. Only its digest is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// The least length of a token in bytes.
    pub const LEN_MIN: usize = 16;

    /// The token of this text.
    pub fn new(text: &[u8]) -> Self {
        let mut stored = [0; 32];
        for (to, from) in stored.iter_mut().zip(digest(&SHA256, text).as_ref()) {
            *to = *from;
        }
        Self(stored)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<redacted>)")
    }
}

/// The tokens of a file, each with its role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens(Vec<(Role, Token)>);

/// Why a text holds no tokens: the line, from 1, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    /// The line; `None` for the text as a whole.
    pub line: Option<usize>,
    /// The reason.
    pub why: String,
}

impl Tokens {
    /// The most tokens of a file: each is compared for every request.
    pub const COUNT_MAX: usize = 64;

    /// Reads a token from each line that is not empty: `read:TOKEN`, `operate:TOKEN`, or a bare one.
    ///
    /// # Errors
    ///
    /// If a line is no token, an unknown role stands before it, or one occurs twice.
    pub fn parse(text: &[u8]) -> Result<Self, TokenError> {
        let mut tokens: Vec<(Role, Token)> = Vec::new();
        for (n, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let wrong = |why| TokenError {
                line: Some(n + 1),
                why,
            };
            let (role, bare) = role_and_token(line).map_err(wrong)?;
            let is_good = |byte: &u8| byte.is_ascii_graphic() && *byte != b':';
            if bare.len() < Token::LEN_MIN || !bare.iter().all(is_good) {
                let least = Token::LEN_MIN;
                return Err(wrong(format!(
                    "a token is one line of at least {least} printable characters, without a colon"
                )));
            }
            let token = Token::new(bare);
            if tokens.iter().any(|(_, known)| *known == token) {
                return Err(wrong("this token stands in the file twice".to_owned()));
            }
            tokens.push((role, token));
        }
        match tokens.len() {
            0 => Err(TokenError {
                line: None,
                why: "there is no token in it".to_owned(),
            }),
            1..=Self::COUNT_MAX => Ok(Self(tokens)),
            _ => Err(TokenError {
                line: None,
                why: format!("it has more than {} tokens", Self::COUNT_MAX),
            }),
        }
    }

    /// The role of the token with this text. The time does not tell how much of a token is right, nor which.
    pub fn role(&self, text: &[u8]) -> Option<Role> {
        let Token(presented) = Token::new(text);
        let mut found = None;
        for (role, Token(token)) in &self.0 {
            if verify_slices_are_equal(token, &presented).is_ok() {
                found = Some(*role);
            }
        }
        found
    }
}

/// A line's role and token. Tokens have no colon, so that no misspelt role gives all rights.
fn role_and_token(line: &[u8]) -> Result<(Role, &[u8]), String> {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return Ok((Role::All, line));
    };
    let (word, token) = line.split_at(colon);
    let role = std::str::from_utf8(word).ok().and_then(Role::of);
    let role = role.ok_or("what stands before the colon is no role: `read` and `operate` are")?;
    Ok((role, token.get(1..).unwrap_or_default()))
}

/// The token of a file for a client of the admin listener: the one with most rights, without its role.
pub fn strongest(text: &str) -> Option<&str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let tokens = lines.map(|line| match line.split_once(':') {
        Some((word, token)) => (Role::of(word), token),
        None => (Some(Role::All), line),
    });
    // The first of several.
    tokens
        .rev()
        .max_by_key(|(role, _)| *role)
        .map(|(_, token)| token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0123456789abcdef";

    #[test]
    fn a_token_matches_only_itself_and_is_redacted_in_debug_output() {
        let tokens = Tokens::parse(A.as_bytes()).unwrap();
        assert_eq!(tokens.role(A.as_bytes()), Some(Role::All));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789abcdeF",
            "read:0123456789abcdef",
        ] {
            assert_eq!(tokens.role(other.as_bytes()), None, "{other}");
        }
        let debug = format!("{tokens:?}");
        assert!(debug.contains("Token(<redacted>)"), "{debug}");
        assert!(!debug.contains("0123"), "{debug}");
    }

    #[test]
    fn each_line_is_a_token_with_its_role() {
        let text = "\nread:0123456789abcdef\r\n  operate:1123456789abcdef\n2123456789abcdef\n\n";
        let tokens = Tokens::parse(text.as_bytes()).unwrap();
        for (token, role) in [
            ("0123456789abcdef", Role::Read),
            ("1123456789abcdef", Role::Operate),
            ("2123456789abcdef", Role::All),
        ] {
            assert_eq!(tokens.role(token.as_bytes()), Some(role), "{token}");
        }
        assert_eq!(strongest(text), Some("2123456789abcdef"));
        assert_eq!(strongest("read:a\noperate:b\noperate:c"), Some("b"));
        assert_eq!(strongest("\n"), None);
        assert!(Role::Read < Role::Operate && Role::Operate < Role::All);
    }

    #[test]
    fn what_is_no_token_is_refused_with_its_line() {
        for (text, line, why) in [
            ("", None, "no token"),
            ("\n \n", None, "no token"),
            ("short", Some(1), "at least 16"),
            ("\nread:short", Some(2), "at least 16"),
            ("reed:0123456789abcdef", Some(1), "no role"),
            (":0123456789abcdef", Some(1), "no role"),
            ("all:0123456789abcdef", Some(1), "no role"),
            ("read:operate:0123456789abcdef", Some(1), "without a colon"),
            ("0123456789 abcdef", Some(1), "printable"),
            ("read:0123456789abcdef\n0123456789abcdef", Some(2), "twice"),
        ] {
            let error = Tokens::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(error.why.contains(why), "{text}: {}", error.why);
        }
        let many: String = (0..=Tokens::COUNT_MAX)
            .map(|n| format!("{n:016}\n"))
            .collect();
        assert!(Tokens::parse(many.as_bytes()).is_err());
    }
}
