//! The client's side of a dialogue, with origins.

use super::dialogue::{Dialogue, Protocol, Step};
use super::{imap, ldap, pop3, postgres, smtp, xmpp};

/// The client's side of a dialogue.
#[derive(Debug)]
pub struct Ask<'a> {
    /// How we introduce ourselves.
    name: &'a str,
    /// The name of the server that we want.
    server: &'a str,
    state: State,
}

#[derive(Debug)]
enum State {
    Postgres,
    Ldap,
    Smtp(smtp::Client),
    Imap(imap::Client),
    Pop3(pop3::Client),
    Xmpp(xmpp::Client),
}

impl<'a> Ask<'a> {
    /// A dialogue of this protocol with `server`, in which we call ourselves `name`.
    pub fn new(protocol: Protocol, name: &'a str, server: &'a str) -> Self {
        Self {
            name,
            server,
            state: match protocol {
                Protocol::Postgres => State::Postgres,
                Protocol::Ldap => State::Ldap,
                Protocol::Smtp => State::Smtp(smtp::Client::default()),
                Protocol::Imap => State::Imap(imap::Client::default()),
                Protocol::Pop3 => State::Pop3(pop3::Client::default()),
                Protocol::Xmpp => State::Xmpp(xmpp::Client::default()),
            },
        }
    }
}

impl Dialogue for Ask<'_> {
    fn opening(&self) -> Vec<u8> {
        match &self.state {
            State::Postgres => postgres::request(),
            State::Ldap => ldap::request(),
            State::Xmpp(_) => xmpp::request(self.server),
            State::Smtp(_) | State::Imap(_) | State::Pop3(_) => Vec::new(),
        }
    }

    fn next(&mut self, bytes: &mut Vec<u8>) -> Step {
        match &mut self.state {
            State::Postgres => postgres::answer(bytes),
            State::Ldap => ldap::answer(bytes),
            State::Smtp(client) => client.next(self.name, bytes),
            State::Imap(client) => client.next(bytes),
            State::Pop3(client) => client.next(bytes),
            State::Xmpp(client) => client.next(bytes),
        }
    }

    fn objection(&self, _: &str) -> Vec<u8> {
        Vec::new()
    }
}
