//! SMTP: STARTTLS (RFC 3207).

use super::dialogue::{Greeted, Step};
use super::lines::{command, shown, take};

/// The greeting, with our name.
pub(super) fn greeting(name: &str) -> Vec<u8> {
    format!("220 {name} ESMTP reseal\r\n").into_bytes()
}

/// The server's answer to the next command.
pub(super) fn serve(name: &str, bytes: &mut Vec<u8>) -> Step {
    let Some(line) = take(bytes) else {
        return Step::Read;
    };
    let send = |answer: &str| Step::Send(format!("{answer}\r\n").into_bytes());
    match command(&line) {
        (verb, _) if verb == "EHLO" => send(&format!("250-{name}\r\n250 STARTTLS")),
        (verb, _) if verb == "HELO" => send(&format!("250 {name}")),
        (verb, _) if verb == "NOOP" => send("250 2.0.0 OK"),
        (verb, _) if verb == "QUIT" => Step::Quit(b"221 2.0.0 Bye\r\n".to_vec()),
        (verb, []) if verb == "STARTTLS" => Step::Tls(b"220 2.0.0 Ready to start TLS\r\n".to_vec()),
        (verb, _) if verb == "STARTTLS" => send("501 5.5.4 STARTTLS takes no parameters"),
        _ => send("530 5.7.0 Must issue a STARTTLS command first"),
    }
}

/// The client's side.
#[derive(Debug, Default)]
pub(super) enum Client {
    #[default]
    Greeting,
    Ehlo,
    Starttls,
}

impl Client {
    pub(super) fn next(&mut self, name: &str, bytes: &mut Vec<u8>) -> Step {
        let reply = match Reply::take(bytes) {
            Ok(Some(reply)) => reply,
            Ok(None) => return Step::Read,
            Err(line) => return refused(format!("no reply of SMTP: {}", shown(&line))),
        };
        match self {
            Self::Greeting if reply.code == *b"220" => {
                *self = Self::Ehlo;
                Step::Send(format!("EHLO {name}\r\n").into_bytes())
            }
            Self::Ehlo if reply.code == *b"250" => {
                if !reply.has("STARTTLS") {
                    return refused("the origin does not offer STARTTLS".to_owned());
                }
                *self = Self::Starttls;
                Step::Send(b"STARTTLS\r\n".to_vec())
            }
            Self::Starttls if reply.code == *b"220" => Step::Tls(Vec::new()),
            _ => refused(format!("the origin answered {}", shown(&reply.last()))),
        }
    }
}

fn refused(why: String) -> Step {
    Step::Refuse {
        answer: Vec::new(),
        why,
    }
}

/// Takes the greeting of a server off `bytes`; `None` while it is incomplete.
pub(super) fn take_greeting(bytes: &mut Vec<u8>) -> Option<Greeted> {
    match Reply::take(bytes) {
        Ok(None) => None,
        Ok(Some(reply)) if reply.code == *b"220" => Some(Ok(())),
        Ok(Some(reply)) => Some(Err(shown(&reply.last()))),
        Err(line) => Some(Err(shown(&line))),
    }
}

/// A reply of one or more lines (RFC 5321 section 4.2).
struct Reply {
    code: [u8; 3],
    /// The lines, without code and separator.
    lines: Vec<Vec<u8>>,
}

impl Reply {
    /// Takes a whole reply off `bytes`. An error is the line that is none.
    fn take(bytes: &mut Vec<u8>) -> Result<Option<Self>, Vec<u8>> {
        let mut rest = bytes.clone();
        let mut lines = Vec::new();
        while let Some(line) = take(&mut rest) {
            let (Some((code, text)), true) = (
                line.split_first_chunk::<3>(),
                line.iter().take(3).all(u8::is_ascii_digit),
            ) else {
                return Err(line);
            };
            let (code, is_last) = match text.first() {
                None | Some(b' ') => (*code, true),
                Some(b'-') => (*code, false),
                Some(_) => return Err(line),
            };
            lines.push(text.get(1..).unwrap_or_default().to_vec());
            if is_last {
                *bytes = rest;
                return Ok(Some(Self { code, lines }));
            }
        }
        Ok(None)
    }

    /// Whether a line begins with this keyword of an extension.
    fn has(&self, keyword: &str) -> bool {
        self.lines.iter().any(|line| command(line).0 == keyword)
    }

    /// Its last line, with the code.
    fn last(&self) -> Vec<u8> {
        let text = self.lines.last().map(Vec::as_slice).unwrap_or_default();
        [&self.code, &b" "[..], text].concat()
    }
}
