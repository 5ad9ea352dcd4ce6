//! Where a request of a browser comes from.

use std::net::IpAddr;

use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use crate::snapshot::admin::AdminTls;

/// Whether a browser says that the page that sends the request is ours, or that its user has typed the
/// address (Fetch Metadata). Programs, and browsers older than 2023, say nothing. A page of ours may be
/// opened from anywhere: it holds no data.
pub(super) fn is_from_our_page(request: &Parts) -> bool {
    let header = |name: &str| {
        let mut values = request.headers.get_all(name).iter();
        let value = values.next()?;
        let is_single = values.next().is_none();
        Some(
            value
                .to_str()
                .ok()
                .filter(|_| is_single)
                .unwrap_or_default(),
        )
    };
    match header("sec-fetch-site") {
        None | Some("same-origin") => true,
        Some("none") => request.method.is_safe(),
        Some(_) => {
            let is_opened = header("sec-fetch-mode") == Some("navigate")
                && header("sec-fetch-dest") == Some("document");
            is_opened && request.method.is_safe() && is_page(request.uri.path())
        }
    }
}

/// Whether this is the address of the page itself.
pub(in crate::admin) fn is_page(path: &str) -> bool {
    matches!(path, "/" | "/dashboard")
}

/// Whether a `Host` header names this listener.
pub(super) fn is_ours(host: &str, tls: Option<&AdminTls>) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok() || tls.is_some_and(|tls| tls.is_for(host))
}

#[cfg(test)]
mod tests {
    use hyper::Request;

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
            assert_eq!(is_ours(host, None), ours, "{host}");
        }
    }

    #[test]
    fn another_site_may_open_the_page_and_nothing_else() {
        let from = |method: &str, path: &str, headers: &[(&str, &str)]| {
            let mut request = Request::builder().method(method).uri(path);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            is_from_our_page(&request.body(()).unwrap().into_parts().0)
        };
        let navigation = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(from("GET", "/dashboard", &navigation));
        assert!(!from("GET", "/status", &navigation));
        assert!(!from("POST", "/dashboard", &navigation));
        let framed = [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
        ];
        assert!(!from("GET", "/dashboard", &framed));
        for (site, get, post) in [
            ("same-origin", true, true),
            ("none", true, false),
            ("same-site", false, false),
            ("cross-site", false, false),
            ("", false, false),
            ("Same-Origin", false, false),
        ] {
            let headers = [("sec-fetch-site", site)];
            assert_eq!(from("GET", "/status", &headers), get, "{site}");
            assert_eq!(from("POST", "/kill", &headers), post, "{site}");
        }
        let twice = [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ];
        assert!(!from("GET", "/status", &twice));
        assert!(from("POST", "/kill", &[]));
    }
}
