//! The greeting of servers that speak first: ours, and that of an origin behind ours.

use super::dialogue::{Greeted, Protocol};
use super::{imap, pop3, smtp};

/// Our greeting under this name; empty where the server does not speak first.
pub fn greeting(protocol: Protocol, name: &str) -> Vec<u8> {
    match protocol {
        Protocol::Smtp => smtp::greeting(name),
        Protocol::Imap => imap::greeting(name),
        Protocol::Pop3 => pop3::greeting(name),
        Protocol::Postgres | Protocol::Ldap | Protocol::Xmpp => Vec::new(),
    }
}

/// Takes the greeting of a server off `bytes`; `None` while it is incomplete.
pub(super) fn take(protocol: Protocol, bytes: &mut Vec<u8>) -> Option<Greeted> {
    match protocol {
        Protocol::Smtp => smtp::take_greeting(bytes),
        Protocol::Imap => imap::take_greeting(bytes),
        Protocol::Pop3 => pop3::take_greeting(bytes),
        Protocol::Postgres | Protocol::Ldap | Protocol::Xmpp => Some(Ok(())),
    }
}
