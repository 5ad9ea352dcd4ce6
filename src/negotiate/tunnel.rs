//! HTTP CONNECT (RFC 9110 section 9.3.6): an HTTP proxy between us and the origin.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::dialogue::{Dialogue, Step};
use super::socket::{Interrupted, drive, last, reset, retry};
use crate::outcome::{Failure, OriginRefusal, Reason};
use crate::transport::Socket;

/// The most fields of an answer's head.
const FIELDS_MAX: usize = 64;

/// The value of `Proxy-Authorization`: overwritten when it is dropped, and in no text.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization(Arc<Zeroizing<String>>);

impl Authorization {
    /// The longest value, in bytes: proxies refuse a head above 8 to 64 KiB.
    pub const LEN_MAX: usize = 8 * 1024;

    /// The value, of visible ASCII and spaces inside; `None` for another text, which could hold more fields.
    pub fn new(text: &str) -> Option<Self> {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~');
        let is_good = !text.is_empty()
            && text.len() <= Self::LEN_MAX
            && text.trim() == text
            && text.bytes().all(is_plain);
        is_good.then(|| Self(Arc::new(Zeroizing::new(text.to_owned()))))
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(<redacted>)")
    }
}

/// The proxy through which origins are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Where it is.
    pub proxy: SocketAddr,
    /// What it is shown, if anything.
    pub authorization: Option<Authorization>,
}

impl Tunnel {
    /// Asks the proxy to connect us with `target`, as `HOST:PORT`.
    pub async fn open(
        &self,
        target: &str,
        socket: &mut Socket,
        deadline: Instant,
    ) -> Result<(), OriginRefusal> {
        let mut dialogue = Connect::new(target, self.authorization.as_ref());
        let mut bytes = Vec::new();
        let driven = timeout_at(deadline, drive(&mut dialogue, socket, &mut bytes, &mut 0)).await;
        let said = |words: &str| format!("the proxy {} {words}", self.proxy);
        let interrupted = match driven {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(interrupted)) => interrupted,
            Err(_) => {
                let failure = Failure::new(Reason::OriginConnectTimeout);
                return Err(retry(failure.detail(said("has not answered CONNECT"))));
            }
        };
        let refused = |words: &str| Failure::new(Reason::OriginTlsRefused).detail(said(words));
        Err(match interrupted {
            Interrupted::Ended { .. } => {
                let failure = Failure::new(Reason::OriginClosed);
                retry(failure.detail(said("closed in place of an answer to CONNECT")))
            }
            Interrupted::Socket(error) => retry(reset(&error)),
            // Another origin, or the same one later, may be reachable from there.
            Interrupted::Refused { why, .. } if dialogue.is_unreachable() => {
                retry(Failure::new(Reason::OriginUnreachable).detail(said(&why)))
            }
            Interrupted::Refused { why, .. } => last(refused(&why)),
            Interrupted::Violated { why, .. } => {
                let failure = Failure::new(Reason::OriginTlsError);
                last(failure.detail(said(&format!("has sent too much: {why}"))))
            }
            Interrupted::Unknown | Interrupted::Quit(_) => {
                last(refused("did not answer CONNECT by HTTP/1"))
            }
        })
    }
}

/// Our side of the dialogue.
#[derive(Debug)]
pub struct Connect<'a> {
    target: &'a str,
    authorization: Option<&'a Authorization>,
    status: Option<u16>,
}

impl<'a> Connect<'a> {
    /// A dialogue that asks for `target`.
    pub const fn new(target: &'a str, authorization: Option<&'a Authorization>) -> Self {
        Self {
            target,
            authorization,
            status: None,
        }
    }

    /// Whether the proxy said that it cannot reach the origin. Squid says 500 where it finds no address.
    fn is_unreachable(&self) -> bool {
        matches!(self.status, Some(500 | 502..=504))
    }
}

impl Dialogue for Connect<'_> {
    fn opening(&self) -> Vec<u8> {
        let target = self.target;
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
        if let Some(Authorization(value)) = self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(value.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request
    }

    fn next(&mut self, bytes: &mut Vec<u8>) -> Step {
        loop {
            // The parser would skip empty lines before the status line, as of requests.
            if bytes.first().is_some_and(|first| *first != b'H') {
                return Step::Unknown;
            }
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
            let mut head = httparse::Response::new(&mut fields);
            let end = match head.parse(bytes) {
                Ok(httparse::Status::Complete(end)) => end,
                Ok(httparse::Status::Partial) => return Step::Read,
                Err(_) => return Step::Unknown,
            };
            let status = head.code.unwrap_or_default();
            self.status = Some(status);
            match status {
                // Interim (RFC 9110 section 15.2).
                100 | 102..=199 => drop(bytes.drain(..end)),
                // Fields about a content have no meaning here (section 9.3.6).
                200..=299 => {
                    bytes.drain(..end);
                    return Step::Tls(Vec::new());
                }
                _ => {
                    let words = head.reason.unwrap_or_default();
                    return Step::Refuse {
                        answer: Vec::new(),
                        why: format!("answered CONNECT by {status} {words}")
                            .trim_end()
                            .to_owned(),
                    };
                }
            }
        }
    }

    fn objection(&self, _: &str) -> Vec<u8> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(answer: &[u8]) -> (Step, Vec<u8>) {
        let mut bytes = answer.to_vec();
        let step = Connect::new("a.test:443", None).next(&mut bytes);
        (step, bytes)
    }

    #[test]
    fn the_request_names_the_origin_and_shows_the_authorization() {
        let request = Connect::new("a.test:443", None).opening();
        assert_eq!(
            request,
            b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"
        );
        let basic = Authorization::new("Basic dXNlcjpwYXNz").unwrap();
        assert_eq!(format!("{basic:?}"), "Authorization(<redacted>)");
        let request = Connect::new("[2001:db8::1]:443", Some(&basic)).opening();
        let request = String::from_utf8(request).unwrap();
        assert!(
            request.ends_with("\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n\r\n"),
            "{request}"
        );
        for bad in [
            "",
            " a",
            "a ",
            "a\r\nX: y",
            "a\tb",
            "ä",
            "a\0",
            &"a".repeat(8193),
        ] {
            assert_eq!(Authorization::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_2xx_answer_opens_the_tunnel_and_what_is_behind_it_stays() {
        for (answer, rest) in [
            (
                &b"HTTP/1.1 200 Connection established\r\n\r\n"[..],
                &b""[..],
            ),
            (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", b""),
            (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204\r\n\r\n", b""),
            (b"HTTP/1.1 200 OK\r\n\r\nx", b"x"),
        ] {
            assert_eq!(step(answer), (Step::Tls(Vec::new()), rest.to_vec()));
            for at in 1..answer.len() - rest.len() {
                assert_eq!(step(&answer[..at]).0, Step::Read, "{at}");
            }
        }
    }

    #[test]
    fn other_answers_are_refusals_in_the_words_of_the_proxy() {
        let Step::Refuse { why, .. } = step(
            b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
        )
        .0
        else {
            panic!("a refusal");
        };
        assert_eq!(why, "answered CONNECT by 407 Proxy Authentication Required");
        assert!(matches!(
            step(b"HTTP/1.1 101 Switching\r\n\r\n").0,
            Step::Refuse { .. }
        ));
        assert!(matches!(
            step(b"HTTP/1.1 302\r\n\r\n").0,
            Step::Refuse { .. }
        ));
        for foreign in [
            &b"SSH-2.0-x\r\n"[..],
            b"\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTX",
            b"\x15\x03",
        ] {
            assert_eq!(step(foreign).0, Step::Unknown, "{foreign:?}");
        }
    }
}
