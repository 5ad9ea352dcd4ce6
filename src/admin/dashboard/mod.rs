//! The dashboard: a page for browsers, and the stream of events that keeps it up to date.

mod feed;
pub(super) mod stream;

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderName, HeaderValue};

pub(super) use self::feed::{Feed, PAGES_MAX};
use super::response::{self, HttpResponse};

/// What the page may load: its own parts, from where it comes itself. No text can become markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// Headers of the page beside its policy.
const HEADERS: [(&str, &str); 5] = [
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

/// A part of the page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asset {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// A part with the name that it has in the page.
macro_rules! part {
    ($name:literal, $kind:ident) => {
        Asset {
            path: concat!("/dashboard/", $name),
            kind: $kind,
            text: include_str!(concat!("page/", $name)),
        }
    };
}

const PAGE: &str = include_str!("page/index.html");

static ASSETS: [Asset; 17] = [
    Asset {
        path: "/",
        kind: HTML,
        text: PAGE,
    },
    Asset {
        path: "/dashboard",
        kind: HTML,
        text: PAGE,
    },
    part!("style.css", CSS),
    part!("icon.svg", SVG),
    part!("main.js", SCRIPT),
    part!("feed.js", SCRIPT),
    part!("dom.js", SCRIPT),
    part!("format.js", SCRIPT),
    part!("plot.js", SCRIPT),
    part!("history.js", SCRIPT),
    part!("overview.js", SCRIPT),
    part!("endpoints.js", SCRIPT),
    part!("origins.js", SCRIPT),
    part!("connections.js", SCRIPT),
    part!("failures.js", SCRIPT),
    part!("certificates.js", SCRIPT),
    part!("reloads.js", SCRIPT),
];

/// The part of the page at this path.
pub(super) fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

impl Asset {
    pub(super) fn response(&self) -> HttpResponse {
        let mut response = response::with_type(StatusCode::OK, self.kind, self.text);
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        for (name, value) in HEADERS {
            let name = HeaderName::from_static(name);
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_no_other_place_and_holds_no_script_or_style_of_its_own() {
        for asset in &ASSETS {
            for forbidden in [
                "https://",
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "eval(",
            ] {
                assert!(
                    !asset.text.contains(forbidden),
                    "{} has {forbidden}",
                    asset.path
                );
            }
            // The namespace of SVG is no place that is asked.
            let others = asset.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!others.contains("http://"), "{}", asset.path);
        }
        for forbidden in ["<style", " style=", " onclick", " onload", "javascript:"] {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
        assert!(!POLICY.contains("unsafe-"));
        let scripts: Vec<_> = PAGE.match_indices("<script").collect();
        assert_eq!(scripts.len(), 1);
        assert!(PAGE.contains("<script type=\"module\" src=\"./dashboard/main.js\"></script>"));
    }

    #[test]
    fn every_module_that_a_module_names_is_a_part_of_the_page() {
        for asset in ASSETS.iter().filter(|asset| asset.kind == SCRIPT) {
            for line in asset.text.lines().filter(|line| line.contains(" from \"")) {
                let named = line.split('"').nth(1).unwrap();
                let path = named.replace("./", "/dashboard/");
                assert!(super::asset(&path).is_some(), "{}: {named}", asset.path);
            }
        }
    }
}
