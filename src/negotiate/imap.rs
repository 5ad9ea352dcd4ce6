//! IMAP: STARTTLS (RFC 9051 section 6.2.1).

use super::dialogue::{Greeted, Step};
use super::lines::{command, shown, take};

/// Before TLS there is only STARTTLS: no LOGIN (RFC 9051 section 6.2.3).
const CAPABILITIES: &str = "CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED";

/// The greeting, with our name.
pub(super) fn greeting(name: &str) -> Vec<u8> {
    format!("* OK [{CAPABILITIES}] {name} reseal\r\n").into_bytes()
}

/// The server's answer to the next command.
pub(super) fn serve(bytes: &mut Vec<u8>) -> Step {
    let Some(line) = take(bytes) else {
        return Step::Read;
    };
    let line = shown(&line);
    let (tag, rest) = line.split_once(' ').unwrap_or((&line, ""));
    let is_tag = |byte: u8| byte.is_ascii_graphic() && !b"(){%*\"\\+]".contains(&byte);
    if tag.is_empty() || !tag.bytes().all(is_tag) {
        return Step::Send(b"* BAD a command begins with a tag\r\n".to_vec());
    }
    let (verb, arguments) = command(rest.as_bytes());
    let send = |answer: String| Step::Send(format!("{answer}\r\n").into_bytes());
    match (verb.as_str(), arguments) {
        ("CAPABILITY", []) => send(format!("* {CAPABILITIES}\r\n{tag} OK completed")),
        ("NOOP", []) => send(format!("{tag} OK completed")),
        ("LOGOUT", []) => Step::Quit(format!("* BYE\r\n{tag} OK completed\r\n").into_bytes()),
        ("STARTTLS", []) => Step::Tls(format!("{tag} OK begin TLS now\r\n").into_bytes()),
        // RFC 5530 section 3.
        ("LOGIN" | "AUTHENTICATE", _) => send(format!(
            "{tag} NO [PRIVACYREQUIRED] TLS is required first: STARTTLS"
        )),
        _ => send(format!("{tag} BAD TLS is required first: STARTTLS")),
    }
}

/// The client's side.
#[derive(Debug, Default)]
pub(super) enum Client {
    #[default]
    Greeting,
    Starttls,
}

impl Client {
    pub(super) fn next(&mut self, bytes: &mut Vec<u8>) -> Step {
        loop {
            let Some(line) = take(bytes) else {
                return Step::Read;
            };
            let refused = Step::Refuse {
                answer: Vec::new(),
                why: format!("the origin answered {}", shown(&line)),
            };
            let (tag, rest) = command(&line);
            let (verb, _) = command(rest);
            match (&self, tag.as_str(), verb.as_str()) {
                // A session that is logged in already cannot begin TLS: `PREAUTH` is refused.
                (Self::Greeting, "*", "OK") => {
                    *self = Self::Starttls;
                    return Step::Send(b"A STARTTLS\r\n".to_vec());
                }
                (Self::Starttls, "A", "OK") => return Step::Tls(Vec::new()),
                (Self::Starttls, "*", verb) if verb != "BYE" => {}
                _ => return refused,
            }
        }
    }
}

/// Takes the greeting of a server off `bytes`; `None` while it is incomplete.
pub(super) fn take_greeting(bytes: &mut Vec<u8>) -> Option<Greeted> {
    let line = take(bytes)?;
    let (mark, rest) = command(&line);
    let is_welcome = mark == "*" && command(rest).0 == "OK";
    Some(if is_welcome {
        Ok(())
    } else {
        Err(shown(&line))
    })
}
