//! POP3: STLS (RFC 2595 section 4).

use super::dialogue::{Greeted, Step};
use super::lines::{command, shown, take};

/// The greeting, with our name.
pub(super) fn greeting(name: &str) -> Vec<u8> {
    format!("+OK {name} reseal\r\n").into_bytes()
}

/// The server's answer to the next command.
pub(super) fn serve(bytes: &mut Vec<u8>) -> Step {
    let Some(line) = take(bytes) else {
        return Step::Read;
    };
    let (verb, arguments) = command(&line);
    match (verb.as_str(), arguments) {
        ("CAPA", []) => Step::Send(b"+OK\r\nSTLS\r\n.\r\n".to_vec()),
        ("QUIT", []) => Step::Quit(b"+OK bye\r\n".to_vec()),
        ("STLS", []) => Step::Tls(b"+OK begin TLS now\r\n".to_vec()),
        _ => Step::Send(b"-ERR TLS is required first: STLS\r\n".to_vec()),
    }
}

/// The client's side.
#[derive(Debug, Default)]
pub(super) enum Client {
    #[default]
    Greeting,
    Stls,
}

impl Client {
    pub(super) fn next(&mut self, bytes: &mut Vec<u8>) -> Step {
        let Some(line) = take(bytes) else {
            return Step::Read;
        };
        match (&self, command(&line).0.as_str()) {
            (Self::Greeting, "+OK") => {
                *self = Self::Stls;
                Step::Send(b"STLS\r\n".to_vec())
            }
            (Self::Stls, "+OK") => Step::Tls(Vec::new()),
            _ => Step::Refuse {
                answer: Vec::new(),
                why: format!("the origin answered {}", shown(&line)),
            },
        }
    }
}

/// Takes the greeting of a server off `bytes`; `None` while it is incomplete.
pub(super) fn take_greeting(bytes: &mut Vec<u8>) -> Option<Greeted> {
    let line = take(bytes)?;
    let is_welcome = command(&line).0 == "+OK";
    Some(if is_welcome {
        Ok(())
    } else {
        Err(shown(&line))
    })
}
