//! What the dialogues have in common.

use std::sync::Arc;

/// How TLS begins with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiate {
    /// The protocol of the dialogue.
    pub protocol: Protocol,
    /// How we call ourselves in it.
    pub name: Arc<str>,
}

/// How many bytes of a peer a dialogue takes: a greeting with terms of use, and some commands.
pub const RECEIVED_MAX: usize = 16 * 1024;

/// A protocol in which TLS begins after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// PostgreSQL: SSLRequest (its documentation, sections 54.2.11 and 54.7).
    Postgres,
    /// LDAP: the extended operation StartTLS (RFC 4511 section 4.14).
    Ldap,
    /// SMTP: STARTTLS (RFC 3207).
    Smtp,
    /// IMAP: STARTTLS (RFC 9051 section 6.2.1).
    Imap,
    /// POP3: STLS (RFC 2595 section 4).
    Pop3,
    /// XMPP: `<starttls/>` (RFC 6120 section 5).
    Xmpp,
}

impl Protocol {
    /// Whether the server sends a greeting before the client says anything.
    pub const fn server_speaks_first(self) -> bool {
        matches!(self, Self::Smtp | Self::Imap | Self::Pop3)
    }

    /// The ALPN protocol of clients that begin with TLS at once on the same port.
    pub const fn direct_alpn(self) -> Option<&'static str> {
        match self {
            Self::Postgres => Some("postgresql"),
            _ => None,
        }
    }
}

/// Whether a greeting welcomes the client; an error is what the server said instead.
pub type Greeted = Result<(), String>;

/// What a dialogue does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It needs more bytes.
    Read,
    /// It sends these bytes and goes on.
    Send(Vec<u8>),
    /// It sends these bytes, and TLS begins.
    Tls(Vec<u8>),
    /// The peer began with TLS at once; the bytes are those of its hello.
    Direct,
    /// What came is not of this protocol.
    Unknown,
    /// It sends these bytes, and the connection ends as the peer wishes.
    Quit(Vec<u8>),
    /// It sends the answer and ends the connection.
    Refuse {
        /// The refusal in the words of the protocol; may be empty.
        answer: Vec<u8>,
        /// The reason for the log.
        why: String,
    },
}

/// One side of a dialogue.
pub trait Dialogue {
    /// What is sent before the peer says anything.
    fn opening(&self) -> Vec<u8>;

    /// The next step. Takes what it understood off the front of `bytes`.
    fn next(&mut self, bytes: &mut Vec<u8>) -> Step;

    /// A refusal for a peer that violates the protocol, in words of the protocol; may be empty.
    fn objection(&self, why: &str) -> Vec<u8>;
}
