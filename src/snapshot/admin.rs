//! The settings of the admin socket and the metrics listener.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};

/// The admin and metrics listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdminSettings {
    /// The admin socket, if any.
    pub listen: Option<AdminListen>,
    /// The listener for `/metrics`, `/healthz` and `/readyz`, if any.
    pub metrics: Option<SocketAddr>,
}

/// The address of the admin socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// A unix socket: a user who may connect to it has full control.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Its permission bits.
        permissions: u32,
        /// Its owner, by name or number.
        owner: Option<String>,
        /// Its group, by name or number.
        group: Option<String>,
    },
    /// A TCP address: a client with the token has full control.
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The token.
        token: Token,
    },
}

/// The path of the admin socket in the first directory of `RUNTIME_DIRECTORY`, which service managers set.
pub fn socket_in(runtime_directories: &str) -> Option<PathBuf> {
    let first = runtime_directories.split(':').next();
    let first = first.filter(|first| !first.is_empty())?;
    Some(Path::new(first).join("admin.sock"))
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

    /// Whether `text` is the token, compared in constant time.
    pub fn is(&self, text: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, digest(&SHA256, text).as_ref()).is_ok()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_only_itself_and_is_redacted_in_debug_output() {
        let token = Token::new(b"0123456789abcdef");
        assert!(token.is(b"0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789abcdeF",
        ] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{token:?}"), "Token(<redacted>)");
    }
}
