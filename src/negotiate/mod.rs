//! TLS that begins inside another protocol: the dialogues before the ClientHello, with clients and with
//! origins; and the one with an HTTP proxy on the way to an origin.
//!
//! A `Dialogue` is pure: bytes of the peer go in, a `Step` comes out; `socket` alone reads and writes. Each
//! dialogue is the least that its protocol allows: nothing of a client but the request for TLS is answered
//! other than by a refusal, and nothing of an origin before TLS ever reaches a client. Bytes that a peer
//! sends before the answer to its request end the connection: an attacker on the path could have put them
//! there (CVE-2011-0411, CVE-2021-23214, CVE-2021-23222).

mod ask;
mod dialogue;
mod greeting;
mod imap;
mod ldap;
mod lines;
mod pop3;
mod postgres;
mod serve;
mod smtp;
mod socket;
#[cfg(test)]
mod tests;
mod tunnel;
mod xml;
mod xmpp;

pub use self::ask::Ask;
pub use self::dialogue::{Dialogue, Negotiate, Protocol, Step};
pub use self::greeting::greeting;
pub use self::serve::Serve;
pub use self::socket::read_greeting;
pub use self::tunnel::{Authorization, Connect, Tunnel};
