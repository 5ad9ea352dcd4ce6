//! XMPP: `<starttls/>` (RFC 6120 section 5).

use super::dialogue::Step;
use super::xml::{Kind, Tag, Text};

const TLS_NAMESPACE: &str = "urn:ietf:params:xml:ns:xmpp-tls";
const STREAMS: &str = "http://etherx.jabber.org/streams";

/// The longest name that is echoed, in bytes (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 255;

/// The server's side.
#[derive(Debug, Default)]
pub(super) struct Server {
    is_open: bool,
    /// `<starttls>` came, its end has not.
    is_starting: bool,
}

impl Server {
    pub(super) fn next(&mut self, name: &str, bytes: &mut Vec<u8>) -> Step {
        loop {
            let tag = match Tag::take(bytes, Text::Refused) {
                Ok(Some(tag)) => tag,
                Ok(None) => return Step::Read,
                Err(why) => return self.refuse(why),
            };
            match (self.is_open, tag.kind, tag.name.as_str()) {
                (_, Kind::Declaration, _) if !self.is_starting => {}
                (true, Kind::End, "starttls") if self.is_starting => return proceed(),
                _ if self.is_starting => return self.refuse("`<starttls>` has content"),
                (false, Kind::Start, "stream") => {
                    self.is_open = true;
                    return Step::Send(stream(&tag, name).into_bytes());
                }
                (true, kind @ (Kind::Empty | Kind::Start), "starttls")
                    if tag.attribute("xmlns") == Some(TLS_NAMESPACE) =>
                {
                    match kind {
                        Kind::Empty => return proceed(),
                        _ => self.is_starting = true,
                    }
                }
                (true, Kind::End, "stream") => return Step::Quit(b"</stream:stream>".to_vec()),
                (false, ..) => return self.refuse("no stream of XMPP"),
                (true, ..) => return self.refuse("a stanza before `<starttls/>`"),
            }
        }
    }

    fn refuse(&self, why: &str) -> Step {
        Step::Refuse {
            answer: self.error(),
            why: why.to_owned(),
        }
    }

    /// A stream error (RFC 6120 section 4.9.3.14), inside our stream if that is open.
    pub(super) fn error(&self) -> Vec<u8> {
        match self.is_open {
            false => Vec::new(),
            true => {
                b"<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
                      </stream:error></stream:stream>"
                    .to_vec()
            }
        }
    }
}

fn proceed() -> Step {
    Step::Tls(format!("<proceed xmlns='{TLS_NAMESPACE}'/>").into_bytes())
}

/// Our stream and its only feature. The stream of a client names the domain that it wants.
fn stream(tag: &Tag, name: &str) -> String {
    let is_name = |name: &&str| {
        let mut bytes = name.bytes();
        !name.is_empty()
            && name.len() <= NAME_MAX
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    let from = tag.attribute("to").filter(is_name).unwrap_or(name);
    let kind = match tag.attribute("xmlns") {
        Some("jabber:server") => "jabber:server",
        _ => "jabber:client",
    };
    // The stream that counts is the one inside TLS, which the origin opens: this one needs no secret id.
    format!(
        "<?xml version='1.0'?><stream:stream from='{from}' id='reseal' version='1.0' xmlns='{kind}' \
         xmlns:stream='{STREAMS}'><stream:features><starttls xmlns='{TLS_NAMESPACE}'><required/>\
         </starttls></stream:features>"
    )
}

/// What the client's side sends first.
pub(super) fn request(domain: &str) -> Vec<u8> {
    format!(
        "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='{STREAMS}'>"
    )
    .into_bytes()
}

/// The client's side.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// The features of the origin hold `<starttls/>`.
    is_offered: bool,
    is_requested: bool,
}

impl Client {
    pub(super) fn next(&mut self, bytes: &mut Vec<u8>) -> Step {
        let refused = |why: &str| Step::Refuse {
            answer: Vec::new(),
            why: why.to_owned(),
        };
        loop {
            let tag = match Tag::take(bytes, Text::Skipped) {
                Ok(Some(tag)) => tag,
                Ok(None) => return Step::Read,
                Err(why) => return refused(why),
            };
            match (self.is_requested, tag.kind, tag.name.as_str()) {
                (_, _, "error") => return refused("the origin answered with a stream error"),
                (true, Kind::Empty | Kind::End, "proceed") => return Step::Tls(Vec::new()),
                (true, Kind::Start, "proceed") => {}
                (true, ..) => return refused("the origin did not answer `<proceed/>`"),
                (false, _, "starttls") => self.is_offered = true,
                (false, Kind::End | Kind::Empty, "features") if self.is_offered => {
                    self.is_requested = true;
                    return Step::Send(format!("<starttls xmlns='{TLS_NAMESPACE}'/>").into_bytes());
                }
                (false, Kind::End | Kind::Empty, "features") => {
                    return refused("the origin does not offer `<starttls/>`");
                }
                (false, ..) => {}
            }
        }
    }
}
