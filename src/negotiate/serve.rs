//! The server's side of a dialogue, with clients.

use super::dialogue::{Dialogue, Negotiate, Protocol, Step};
use super::{imap, ldap, pop3, postgres, smtp, xmpp};

/// The server's side of a dialogue.
#[derive(Debug)]
pub struct Serve<'a> {
    /// The name that greetings hold.
    name: &'a str,
    state: State,
}

#[derive(Debug)]
enum State {
    Postgres(postgres::Server),
    Ldap,
    Smtp,
    Imap,
    Pop3,
    Xmpp(xmpp::Server),
}

impl<'a> Serve<'a> {
    /// A dialogue of this protocol, in which we call ourselves `name`.
    pub fn new(protocol: Protocol, name: &'a str) -> Self {
        Self {
            name,
            state: match protocol {
                Protocol::Postgres => State::Postgres(postgres::Server::default()),
                Protocol::Ldap => State::Ldap,
                Protocol::Smtp => State::Smtp,
                Protocol::Imap => State::Imap,
                Protocol::Pop3 => State::Pop3,
                Protocol::Xmpp => State::Xmpp(xmpp::Server::default()),
            },
        }
    }
}

impl Dialogue for Serve<'_> {
    fn opening(&self) -> Vec<u8> {
        match &self.state {
            State::Smtp => smtp::greeting(self.name),
            State::Imap => imap::greeting(self.name),
            State::Pop3 => pop3::greeting(self.name),
            State::Postgres(_) | State::Ldap | State::Xmpp(_) => Vec::new(),
        }
    }

    fn next(&mut self, bytes: &mut Vec<u8>) -> Step {
        match &mut self.state {
            State::Postgres(server) => server.next(bytes),
            State::Ldap => ldap::serve(bytes),
            State::Smtp => smtp::serve(self.name, bytes),
            State::Imap => imap::serve(bytes),
            State::Pop3 => pop3::serve(bytes),
            State::Xmpp(server) => server.next(self.name, bytes),
        }
    }

    fn objection(&self, why: &str) -> Vec<u8> {
        match &self.state {
            State::Postgres(_) => postgres::error_response(why),
            State::Ldap => Vec::new(),
            State::Smtp => format!("554 5.5.0 Error: {why}\r\n").into_bytes(),
            State::Imap => format!("* BYE {why}\r\n").into_bytes(),
            State::Pop3 => format!("-ERR {why}\r\n").into_bytes(),
            State::Xmpp(server) => server.error(),
        }
    }
}

impl Negotiate {
    /// The ClientHello of captured bytes of a client, with or without the dialogue before it; `None` if TLS
    /// does not begin in it.
    pub fn behind_dialogue(&self, mut bytes: Vec<u8>) -> Option<Vec<u8>> {
        const HANDSHAKE_RECORD: u8 = 0x16;
        if bytes.first() == Some(&HANDSHAKE_RECORD) {
            return Some(bytes);
        }
        let mut dialogue = Serve::new(self.protocol, &self.name);
        loop {
            match dialogue.next(&mut bytes) {
                Step::Send(_) => {}
                Step::Tls(_) | Step::Direct => return Some(bytes),
                Step::Read | Step::Unknown | Step::Quit(_) | Step::Refuse { .. } => return None,
            }
        }
    }
}
