//! Where revocation lists come from: files, and the URLs of CAs.

use serde_json::{Value, json};

use super::trust::Trust;
use super::urls::{HttpUrl, Interval};
use crate::config::reader::definitions::Definitions;
use crate::config::reader::fields::spec;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::read::{Read, Reader};
use crate::config::reader::reference::{Form, Reference};
use crate::config::reader::rendered::Rendered;
use crate::config::reader::values::Path;
use crate::config::reader::yaml::{Kind, Node};
use crate::hostname::HostPattern;

/// A file with revocation lists, a URL of them, or the URLs that certificates name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListSource {
    /// A file, in PEM or DER.
    File(Path),
    /// A URL.
    Url(Box<ListUrl>),
    /// The URLs in the certificates of the CAs.
    Certificates(Box<ListsOfCertificates>),
}

spec! {
    /// Revocation lists that Reseal fetches.
    pub struct ListUrl {
        /// The URL, of `http` or `https`, in PEM or DER. Its host may have any address. Redirects are not
        /// followed.
        required url: HttpUrl,
        /// How often they are fetched, at least: a list that ends sooner is fetched before its end.
        default every: Interval = "1h"
            because "a revocation is then heard within the hour, and CAs publish seldom more often",
        /// The directory that keeps them over restarts, readable for Reseal's user alone. It is made if it is
        /// missing.
        default state: Path = "/var/lib/reseal/crl"
            because "a service of systemd has its state below /var/lib",
        /// Files in PEM with the CAs that must have signed the lists. Absent: those of `ca` beside `crl`. It
        /// is needed for the lists of an intermediate that only clients send.
        optional issuer: OneOrMany<Path>,
        /// The CAs that may sign the certificate of the server of `https`: files in PEM, `webpki` (the public
        /// CAs that are built in), or `system` (the system's store). Absent: those that must have signed the
        /// lists, and `webpki`.
        optional ca: Trust,
        example "{ url: URL, every: 1h }";
        instead
            "uri" | "address" | "distribution_point" => "url",
            "interval" | "refresh" | "period" | "refresh_interval" => "every",
            "cache" | "dir" | "path" | "file" | "directory" => "state";
    }
}

spec! {
    /// Revocation lists that Reseal fetches from where the certificates of the CAs say.
    pub struct ListsOfCertificates {
        /// In place of `url`: `true`, every distribution point (RFC 5280, section 4.2.1.13) in the
        /// certificates of `ca` beside `crl` whose host is one of `hosts`. Its host must have a public
        /// address.
        required from_certificates: bool,
        /// The hosts that lists are fetched from: names, or `*.` for one label.
        required hosts: OneOrMany<HostPattern>,
        /// How often they are fetched, at least: a list that ends sooner is fetched before its end.
        default every: Interval = "1h"
            because "a revocation is then heard within the hour, and CAs publish seldom more often",
        /// The directory that keeps them over restarts, readable for Reseal's user alone. It is made if it is
        /// missing.
        default state: Path = "/var/lib/reseal/crl"
            because "a service of systemd has its state below /var/lib",
        example "{ from_certificates: true, hosts: [HOST] }";
        instead
            "interval" | "refresh" | "period" | "refresh_interval" => "every",
            "cache" | "dir" | "path" | "file" | "directory" => "state",
            "host" | "allow" | "names" => "hosts";
    }
}

impl Read for ListSource {
    fn read(node: &Node, cx: &mut Reader<'_>) -> Option<Self> {
        if let Kind::Map(entries) = &node.kind {
            if entries
                .iter()
                .any(|(key, _)| key.text == "from_certificates")
            {
                let lists = ListsOfCertificates::read(node, cx)?;
                if !lists.from_certificates.value {
                    cx.error(
                        lists.from_certificates.at,
                        "`from_certificates: false` fetches nothing",
                    )
                    .help("write `url: URL` in its place, or leave the whole entry out");
                    return None;
                }
                return Some(Self::Certificates(Box::new(lists)));
            }
            return ListUrl::read(node, cx).map(|url| Self::Url(Box::new(url)));
        }
        if let Some(text) = cx.peek(node)
            && (text.starts_with("http://") || text.starts_with("https://"))
        {
            cx.error(node.at, "this is a URL, and not the path of a file")
                .help("have it fetched: `{ url: URL, every: 1h }`");
            return None;
        }
        Path::read(node, cx).map(Self::File)
    }

    fn schema(definitions: &mut Definitions) -> Value {
        let file = <Path as Read>::schema(definitions);
        let url = ListUrl::schema(definitions);
        json!({ "anyOf": [file, url, ListsOfCertificates::schema(definitions)] })
    }

    fn form(reference: &mut Reference) -> Form {
        let maps = ListUrl::form(reference).or(ListsOfCertificates::form(reference));
        <Path as Read>::form(reference).or(maps)
    }

    fn render(&self) -> Rendered {
        match self {
            Self::File(path) => Read::render(path),
            Self::Url(url) => url.render(),
            Self::Certificates(lists) => lists.render(),
        }
    }

    fn keys() -> &'static [&'static str] {
        ListUrl::keys()
    }
}
