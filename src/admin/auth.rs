//! Authorisation of requests. The usual attacker is a web page in the operator's browser: it sends
//! requests to addresses that only the operator can reach.

use std::net::IpAddr;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use super::response::ErrorResponse;
use crate::snapshot::admin::Token;

/// What a listener demands of a request.
#[derive(Debug)]
pub(super) enum Auth {
    /// Nothing: metrics are readable by anyone who can connect.
    Open,
    /// Nothing: the permissions of the socket's file decide.
    File,
    /// The token, and an IP address in `Host`. A host name there is how a web page gets around the
    /// same-origin policy (DNS rebinding).
    Token(Token),
}

impl Auth {
    pub(super) fn admit(&self, request: &Parts) -> Result<(), ErrorResponse> {
        let forbidden = |message| Err(ErrorResponse::new(StatusCode::FORBIDDEN, message));
        if request.headers.contains_key(ORIGIN) {
            return forbidden("requests of web pages are refused");
        }
        let Self::Token(token) = self else {
            return Ok(());
        };
        match single(request, HOST).map(|host| (host, is_address(host))) {
            None => {
                return Err(ErrorResponse::new(
                    StatusCode::BAD_REQUEST,
                    "one Host header is needed",
                ));
            }
            Some((_, false)) => return forbidden("Host must be an IP address or localhost"),
            Some((_, true)) => {}
        }
        let presented = single(request, AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        match presented {
            Some(presented) if token.is(presented) => Ok(()),
            _ => Err(ErrorResponse::new(
                StatusCode::UNAUTHORIZED,
                "the token is missing or wrong",
            )),
        }
    }
}

/// The value of a header that is present exactly once.
fn single(request: &Parts, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = request.headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_address(host: &HeaderValue) -> bool {
    let Some(authority) = host.to_str().ok().and_then(|h| h.parse::<Authority>().ok()) else {
        return false;
    };
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    !authority.as_str().contains('@') && (host == "localhost" || bare.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_ours() {
        for (host, ours) in [
            ("127.0.0.1", true),
            ("127.0.0.1:9000", true),
            ("[::1]:9000", true),
            ("localhost:9000", true),
            ("evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost.evil.example", false),
            ("localhost@evil.example", false),
            ("evil@localhost", false),
            ("", false),
        ] {
            assert_eq!(is_address(&HeaderValue::from_static(host)), ours, "{host}");
        }
    }
}
