//! Where OCSP responses come from: files, and the responders of CAs.

use serde_json::{Value, json};

use super::urls::{HttpUrl, Interval};
use crate::config::reader::definitions::Definitions;
use crate::config::reader::fields::spec;
use crate::config::reader::read::{Read, Reader};
use crate::config::reader::reference::{Form, Reference};
use crate::config::reader::rendered::Rendered;
use crate::config::reader::values::Path;
use crate::config::reader::yaml::{Kind, Node};

/// The word that has a response fetched.
const FETCH: &str = "fetch";

/// A file with an OCSP response, or a responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OcspSource {
    /// A file, in DER.
    File(Path),
    /// A responder.
    Fetch(Box<OcspFetch>),
}

spec! {
    /// An OCSP response that Reseal fetches. `ocsp: fetch` takes the defaults.
    pub struct OcspFetch {
        /// The URL of the responder, of `http` or `https`. Its host may have any address. Absent: the one
        /// that the certificate names, which must have a public address. Redirects are not followed.
        optional url: HttpUrl,
        /// How often it is fetched, at least: a response is fetched again when half of its time is over.
        default every: Interval = "12h"
            because "responders sign for days, and clients have no use for a newer one",
        /// The directory that keeps it over restarts, readable for Reseal's user alone. It is made if it is
        /// missing.
        default state: Path = "/var/lib/reseal/ocsp"
            because "a service of systemd has its state below /var/lib",
        /// A file in PEM with the certificate of the issuer. Absent: the one in the file of `cert`.
        optional issuer: Path,
        example "{ url: URL }";
        instead
            "uri" | "address" | "responder" | "ssl_stapling_responder" => "url",
            "interval" | "refresh" | "period" => "every",
            "cache" | "dir" | "path" | "file" | "directory" => "state",
            "chain" | "ca" | "ssl_trusted_certificate" => "issuer";
    }
}

impl Read for OcspSource {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if matches!(node.kind, Kind::Map(_)) {
            return OcspFetch::read(node, cx).map(|fetch| Self::Fetch(Box::new(fetch)));
        }
        match cx.peek(node).as_deref() {
            Some(FETCH) => {
                let fetch = cx.default::<OcspFetch>("{}", node.at)?;
                Some(Self::Fetch(Box::new(fetch.value)))
            }
            Some(text) if text.starts_with("http://") || text.starts_with("https://") => {
                cx.error(node.at, "this is a URL, and not the path of a file")
                    .help("have the response fetched: `ocsp: { url: URL }`");
                None
            }
            _ => Path::read(node, cx).map(Self::File),
        }
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let file = <Path as Read>::schema(definitions);
        json!({ "anyOf": [file, OcspFetch::schema(definitions)] })
    }

    fn form(reference: &mut Reference) -> Form {
        const WORDS: &[(&str, &str)] = &[(
            FETCH,
            "It is fetched from the responder that the certificate names. A file of that name is `./fetch`.",
        )];
        let fetch = OcspFetch::form(reference);
        <Path as Read>::form(reference)
            .or(Form::one_of(WORDS))
            .or(fetch)
    }

    fn render(&self) -> Rendered {
        match self {
            Self::File(path) => Read::render(path),
            Self::Fetch(fetch) => fetch.render(),
        }
    }

    fn keys() -> &'static [&'static str] {
        OcspFetch::keys()
    }
}
