//! Who may use the listener on loopback, where every user of the machine and every page can connect: the
//! browser that was given the address that was printed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use hyper::Method;
use hyper::header::{COOKIE, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::http::request::Parts;

/// The length of a secret in hexadecimal: 256 bits.
const SECRET_LEN: usize = 64;

/// The secrets of one run.
pub(super) struct Guard {
    address: SocketAddr,
    /// Exchanged once, for the session.
    one_time: String,
    was_used: AtomicBool,
    session: String,
    /// The first part of every path. Browsers send the cookies of a host to all of its ports (RFC 6265 section
    /// 8.5), so that one for the whole host would be shown to any other server on loopback.
    place: String,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is that of our page, and for this path.
    Pass(String),
    /// It has shown the one-time token: it gets this cookie, and the page at this path.
    Begin { cookie: String, page: String },
    /// It is refused, for this reason.
    Refuse(&'static str),
}

impl Guard {
    pub(super) fn new(address: SocketAddr) -> Result<Self, String> {
        Ok(Self {
            address,
            one_time: secret()?,
            was_used: AtomicBool::new(false),
            session: secret()?,
            place: secret()?,
        })
    }

    /// The address that is printed. It works once.
    pub(super) fn url(&self) -> String {
        format!("http://{}/open/{}", self.address, self.one_time)
    }

    pub(super) fn judge(&self, request: &Parts) -> Verdict {
        let host = single(request, HOST).and_then(|host| host.to_str().ok());
        let Some(host) = host.filter(|host| self.is_ours(host)) else {
            return Verdict::Refuse("this is not the address that was printed");
        };
        let text = |name: HeaderName| {
            let has = request.headers.contains_key(&name);
            has.then(|| {
                single(request, name)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or("")
            })
        };
        let ours = format!("http://{host}");
        let origin = text(ORIGIN);
        let site = text(HeaderName::from_static("sec-fetch-site"));
        let is_change = !request.method.is_safe();
        let from_elsewhere = match (origin, site) {
            (Some(origin), _) if origin != ours => true,
            // Every browser names the page that sends a change.
            (None, _) if is_change => true,
            (_, None | Some("same-origin")) => false,
            (_, Some("none")) => is_change,
            (_, Some(_)) => true,
        };
        if let Some(token) = request.uri.path().strip_prefix("/open/") {
            return self.exchange(request, token);
        }
        if from_elsewhere {
            return Verdict::Refuse("requests of other web pages are refused");
        }
        let path = self.below_place(request.uri.path());
        match path.filter(|_| self.has_session(request)) {
            Some(path) => Verdict::Pass(path.to_owned()),
            None => Verdict::Refuse(
                "open the address that `reseal ctl dashboard` has printed; it works once, so run it again",
            ),
        }
    }

    /// What is behind our place in a path.
    fn below_place<'p>(&self, path: &'p str) -> Option<&'p str> {
        let path = path.strip_prefix('/')?;
        let (place, path) = path.split_at(path.find('/')?);
        is_equal(place, &self.place).then_some(path)
    }

    fn exchange(&self, request: &Parts, token: &str) -> Verdict {
        if request.method != Method::GET || !is_equal(token, &self.one_time) {
            return Verdict::Refuse("the token in this address is wrong");
        }
        if self.was_used.swap(true, Ordering::Relaxed) {
            return Verdict::Refuse(
                "this address was used already: run `reseal ctl dashboard` again",
            );
        }
        let (name, session, place) = (self.cookie_name(), &self.session, &self.place);
        Verdict::Begin {
            cookie: format!("{name}={session}; Path=/{place}/; HttpOnly; SameSite=Strict"),
            page: format!("/{place}/dashboard"),
        }
    }

    /// Several may run at a time.
    fn cookie_name(&self) -> String {
        format!("reseal-{}", self.address.port())
    }

    fn has_session(&self, request: &Parts) -> bool {
        let name = self.cookie_name();
        let cookies = request.headers.get_all(COOKIE).iter();
        let cookies = cookies.filter_map(|cookies| cookies.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split("; "));
        pairs.any(|pair| match pair.split_once('=') {
            Some((found, value)) => found == name && is_equal(value, &self.session),
            None => false,
        })
    }

    fn is_ours(&self, host: &str) -> bool {
        let port = self.address.port();
        host == self.address.to_string() || host == format!("localhost:{port}")
    }
}

/// The value of a header that is present exactly once.
fn single(request: &Parts, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = request.headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_equal(presented: &str, secret: &str) -> bool {
    verify_slices_are_equal(presented.as_bytes(), secret.as_bytes()).is_ok()
}

fn secret() -> Result<String, String> {
    let mut bytes = [0; SECRET_LEN / 2];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "there is no randomness".to_owned())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn guard() -> Guard {
        Guard::new("127.0.0.1:9".parse().unwrap()).unwrap()
    }

    fn judged(guard: &Guard, method: &str, path: &str, headers: &[(&str, &str)]) -> Verdict {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        guard.judge(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn the_address_that_is_printed_works_once() {
        let guard = guard();
        let url = guard.url();
        let path = url.strip_prefix("http://127.0.0.1:9").unwrap();
        let host = [("host", "127.0.0.1:9")];
        assert!(matches!(
            judged(&guard, "GET", "/open/", &host),
            Verdict::Refuse(_)
        ));
        let wrong = "/open/".to_owned() + &"0".repeat(SECRET_LEN);
        assert!(matches!(
            judged(&guard, "GET", &wrong, &host),
            Verdict::Refuse(_)
        ));
        assert!(matches!(
            judged(&guard, "POST", path, &host),
            Verdict::Refuse(_)
        ));
        assert!(matches!(
            judged(&guard, "GET", "/dashboard", &host),
            Verdict::Refuse(_)
        ));
        let Verdict::Begin { cookie, page } = judged(&guard, "GET", path, &host) else {
            panic!("refused");
        };
        let place = page.strip_suffix("/dashboard").unwrap();
        assert!(cookie.contains(&format!("; Path={place}/;")), "{cookie}");
        assert!(
            cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
            "{cookie}"
        );
        assert!(matches!(
            judged(&guard, "GET", path, &host),
            Verdict::Refuse(_)
        ));
        let pair = cookie.split("; ").next().unwrap();
        let with = [host[0], ("cookie", pair)];
        let pass = |path: &str| Verdict::Pass(path.to_owned());
        assert_eq!(judged(&guard, "GET", &page, &with), pass("/dashboard"));
        // Whoever sees the cookie elsewhere does not know the place.
        for path in ["/dashboard", "/events", "/", "//dashboard", &page[..9]] {
            assert!(matches!(
                judged(&guard, "GET", path, &with),
                Verdict::Refuse(_)
            ));
        }
        let among = format!("a=b; {pair}; c");
        let with = [host[0], ("cookie", among.as_str())];
        let events = format!("{place}/events");
        assert_eq!(judged(&guard, "GET", &events, &with), pass("/events"));
        let wrong = format!("reseal-9={}", "0".repeat(SECRET_LEN));
        let with = [host[0], ("cookie", wrong.as_str())];
        assert!(matches!(
            judged(&guard, "GET", &events, &with),
            Verdict::Refuse(_)
        ));
    }

    #[test]
    fn only_our_own_page_may_send_requests() {
        let guard = guard();
        let cookie = format!("reseal-9={}", guard.session);
        let host = ("host", "127.0.0.1:9");
        let ours = ("origin", "http://127.0.0.1:9");
        let session = ("cookie", cookie.as_str());
        for (headers, get, post) in [
            (vec![host], true, false),
            (vec![host, ours], true, true),
            (
                vec![host, ours, ("sec-fetch-site", "same-origin")],
                true,
                true,
            ),
            (vec![host, ("sec-fetch-site", "none")], true, false),
            (vec![host, ours, ("sec-fetch-site", "none")], true, false),
            (
                vec![host, ours, ("sec-fetch-site", "cross-site")],
                false,
                false,
            ),
            (vec![host, ("sec-fetch-site", "same-site")], false, false),
            (vec![host, ("origin", "http://127.0.0.1:8")], false, false),
            (vec![host, ("origin", "null")], false, false),
            (
                vec![host, ours, ("origin", "http://evil.test")],
                false,
                false,
            ),
            (
                vec![("host", "evil.test:9"), ("origin", "http://evil.test:9")],
                false,
                false,
            ),
            (vec![("host", "127.0.0.1:8")], false, false),
            (
                vec![("host", "localhost:9"), ("origin", "http://localhost:9")],
                true,
                true,
            ),
            (vec![], false, false),
        ] {
            let headers = [headers.as_slice(), &[session]].concat();
            let kill = format!("/{}/kill", guard.place);
            let passes = |method| {
                let verdict = judged(&guard, method, &kill, &headers);
                verdict == Verdict::Pass("/kill".to_owned())
            };
            assert_eq!(passes("GET"), get, "{headers:?}");
            assert_eq!(passes("POST"), post, "{headers:?}");
        }
    }
}
