//! Authorisation of requests. The usual attacker is a web page in the operator's browser: it sends
//! requests to addresses that only the operator can reach.

mod origin;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;
use zeroize::Zeroizing;

pub(super) use self::origin::is_page;
use self::origin::{is_from_our_page, is_ours};
use super::response::ErrorResponse;
use crate::snapshot::admin::{Access, LiveAccess, Role};

/// What a listener demands of a request.
#[derive(Debug)]
pub(super) enum Auth {
    /// Nothing: metrics are readable by anyone who can connect.
    Open,
    /// Nothing: the permissions of the socket's file decide.
    File,
    /// A token, a certificate, or both, and an IP address in `Host` or a name of the certificate. Another
    /// host name there is how a web page gets around the same-origin policy (DNS rebinding).
    Access(LiveAccess),
}

/// Who has connected.
#[derive(Debug)]
pub(super) enum Peer {
    /// A process of this user.
    Unix(Option<u32>),
    /// An address.
    Tcp {
        address: SocketAddr,
        /// What the listener demands; `None` on the metrics listener.
        access: Option<Arc<Access>>,
        /// The name of its verified certificate.
        certificate: Option<String>,
    },
}

impl Peer {
    pub(super) const fn tcp(
        address: SocketAddr,
        access: Option<Arc<Access>>,
        certificate: Option<String>,
    ) -> Self {
        Self::Tcp {
            address,
            access,
            certificate,
        }
    }
}

/// For the log: the user, or the address.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(Some(uid)) => write!(f, "uid {uid}"),
            Self::Unix(None) => f.write_str("an unknown user"),
            Self::Tcp { address, .. } => address.fmt(f),
        }
    }
}

/// A client whose request is admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// What it may do.
    pub(super) role: Role,
    who: String,
    address: Option<SocketAddr>,
}

impl Caller {
    /// The address of a client over TCP.
    pub(super) const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// A refusal, unless this client may do what needs `role`.
    pub(super) fn must_be(&self, role: Role) -> Result<(), ErrorResponse> {
        if self.role >= role {
            return Ok(());
        }
        let message = match role {
            Role::All => "this token may not stop the process: a bare one may",
            Role::Read | Role::Operate => {
                "this token may only query: one with `operate` may change"
            }
        };
        Err(ErrorResponse::new(StatusCode::FORBIDDEN, message))
    }
}

/// For the log: the user, or the certificate and the token's role.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.who)
    }
}

/// Admits a client by what it has connected as and by the head of its request.
pub(super) fn admit(request: &Parts, peer: &Peer) -> Result<Caller, ErrorResponse> {
    let forbidden = |message| Err(ErrorResponse::new(StatusCode::FORBIDDEN, message));
    let (address, access, certificate) = match peer {
        Peer::Tcp {
            address,
            access: Some(access),
            certificate,
        } => (*address, access, certificate),
        Peer::Tcp { access: None, .. } | Peer::Unix(_) => {
            // No page can have been loaded from here. Metrics may be opened by a link.
            let is_link = matches!(peer, Peer::Tcp { .. });
            let is_foreign = !is_link && !is_from_our_page(request);
            if request.headers.contains_key(ORIGIN) || is_foreign {
                return forbidden("requests of web pages are refused");
            }
            return Ok(without_token(peer));
        }
    };
    let host = single(request, HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host else {
        let message = "one Host header is needed";
        return Err(ErrorResponse::new(StatusCode::BAD_REQUEST, message));
    };
    if !is_ours(host, access.tls.as_ref()) {
        return forbidden(match access.tls {
            Some(_) => "Host must be an IP address, localhost, or a name of the certificate",
            None => "Host must be an IP address or localhost",
        });
    }
    let has_origin = request.headers.contains_key(ORIGIN);
    let scheme = if access.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let ours = format!("{scheme}://{host}");
    let is_own = |origin: &HeaderValue| origin.as_bytes().eq_ignore_ascii_case(ours.as_bytes());
    if (has_origin && !single(request, ORIGIN).is_some_and(is_own)) || !is_from_our_page(request) {
        return forbidden("requests of other web pages are refused");
    }
    let (role, token) = match &access.tokens {
        None => (Role::All, None),
        Some(tokens) => {
            let presented = presented(request);
            let role = presented.as_ref().and_then(|(_, text)| tokens.role(text));
            let (Some(role), Some((scheme, _))) = (role, presented) else {
                let message = "the token is missing or wrong";
                return Err(ErrorResponse::new(StatusCode::UNAUTHORIZED, message));
            };
            // A browser adds it to requests of any page; those that change something name their page.
            let is_safe = request.method.is_safe() || has_origin;
            if scheme == Scheme::Basic && !is_safe {
                return forbidden("a change with Basic authorization needs an Origin header");
            }
            (role, Some(role))
        }
    };
    Ok(Caller {
        role,
        who: shown_by(certificate.as_deref(), token),
        address: Some(address),
    })
}

/// A client of a listener that demands neither token nor certificate.
fn without_token(peer: &Peer) -> Caller {
    let (who, address, role) = match peer {
        Peer::Unix(_) => (peer.to_string(), None, Role::All),
        Peer::Tcp { address, .. } => ("anyone".to_owned(), Some(*address), Role::Read),
    };
    Caller { role, who, address }
}

fn shown_by(certificate: Option<&str>, token: Option<Role>) -> String {
    let certificate = certificate.map(|name| format!("certificate {name}"));
    let token = token.map(|role| match role {
        Role::All => "token".to_owned(),
        role => format!("token {}", role.word()),
    });
    let shown: Vec<_> = certificate.into_iter().chain(token).collect();
    shown.join(", ")
}

/// How a token was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    /// By a program.
    Bearer,
    /// By a browser, as a password or, with an empty one, as the user (RFC 7617).
    Basic,
}

/// The token that a request carries.
fn presented(request: &Parts) -> Option<(Scheme, Zeroizing<Vec<u8>>)> {
    let value = single(request, AUTHORIZATION)?.as_bytes();
    if let Some(token) = value.strip_prefix(b"Bearer ") {
        return Some((Scheme::Bearer, Zeroizing::new(token.to_vec())));
    }
    let encoded = value.strip_prefix(b"Basic ")?;
    let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = (decoded.get(..colon)?, decoded.get(colon + 1..)?);
    let token = if password.is_empty() { user } else { password };
    Some((Scheme::Basic, Zeroizing::new(token.to_vec())))
}

/// The value of a header that is present exactly once.
fn single(request: &Parts, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = request.headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hyper::Request;

    use super::*;
    use crate::snapshot::admin::Tokens;

    const READ: &str = "0123456789abcdef";
    const OPERATE: &str = "1123456789abcdef";

    /// The role that a request with these headers gets, or the status of its refusal.
    fn admitted(method: &str, headers: &[(&str, &str)]) -> Result<Role, u16> {
        let tokens = format!("read:{READ}\noperate:{OPERATE}\n");
        let access = Arc::new(Access {
            tokens: Some(Arc::new(Tokens::parse(tokens.as_bytes()).unwrap())),
            tls: None,
        });
        let peer = Peer::tcp((Ipv4Addr::LOCALHOST, 1).into(), Some(access), None);
        let mut request = Request::builder().method(method).uri("/kill");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let caller = admit(&head, &peer);
        caller
            .map(|caller| caller.role)
            .map_err(|refused| refused.status.as_u16())
    }

    #[test]
    fn a_token_gives_its_role_however_it_is_sent() {
        let host = ("host", "127.0.0.1:9");
        let origin = ("origin", "http://127.0.0.1:9");
        let bearer = |token: &str| format!("Bearer {token}");
        let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
        for (authorization, expected) in [
            (bearer(READ), Ok(Role::Read)),
            (bearer(OPERATE), Ok(Role::Operate)),
            (bearer(&format!("read:{READ}")), Err(401)),
            (basic(format!("anyone:{READ}")), Ok(Role::Read)),
            (basic(format!("{READ}:")), Ok(Role::Read)),
            (basic(format!(":{OPERATE}")), Ok(Role::Operate)),
            (basic(READ.to_owned()), Err(401)),
            (format!("Basic {READ}"), Err(401)),
            (format!("bearer {READ}"), Err(401)),
            (READ.to_owned(), Err(401)),
        ] {
            let headers = [host, origin, ("authorization", authorization.as_str())];
            assert_eq!(admitted("GET", &headers), expected, "{authorization}");
            assert_eq!(admitted("POST", &headers), expected, "{authorization}");
        }
        let basic = basic(format!(":{OPERATE}"));
        let ambient = [host, ("authorization", basic.as_str())];
        assert_eq!(admitted("GET", &ambient), Ok(Role::Operate));
        assert_eq!(admitted("POST", &ambient), Err(403));
    }

    #[test]
    fn only_our_own_page_may_send_requests() {
        let token = format!("Bearer {OPERATE}");
        let host = ("host", "127.0.0.1:9");
        for (origin, expected) in [
            ("http://127.0.0.1:9", Ok(Role::Operate)),
            ("https://127.0.0.1:9", Err(403)),
            ("http://127.0.0.1:8", Err(403)),
            ("http://127.0.0.1", Err(403)),
            ("http://localhost:9", Err(403)),
            ("http://evil.test", Err(403)),
            ("null", Err(403)),
            ("", Err(403)),
        ] {
            let headers = [host, ("authorization", token.as_str()), ("origin", origin)];
            assert_eq!(admitted("POST", &headers), expected, "{origin}");
            assert_eq!(admitted("GET", &headers), expected, "{origin}");
        }
        let twice = [
            host,
            ("authorization", token.as_str()),
            ("origin", "http://127.0.0.1:9"),
            ("origin", "http://127.0.0.1:9"),
        ];
        assert_eq!(admitted("POST", &twice), Err(403));
    }
}
