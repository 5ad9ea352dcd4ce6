//! Lints for ALPN: unregistered protocols, and clients whose protocol is not offered to the origin.

use crate::config::reader::problem::{Problems, quoted};
use crate::config::reader::read::{Located, nearest};
use crate::config::reader::values::Protocol;
use crate::config::spec::{self, Mode, UpstreamAlpn};

/// IANA's registry "TLS Application-Layer Protocol Negotiation (ALPN) Protocol IDs". `h2c` is left out:
/// it is reserved, and must not be used over TLS.
const REGISTERED: [&str; 36] = [
    "http/0.9",
    "http/1.0",
    "http/1.1",
    "spdy/1",
    "spdy/2",
    "spdy/3",
    "stun.turn",
    "stun.nat-discovery",
    "h2",
    "webrtc",
    "c-webrtc",
    "ftp",
    "imap",
    "pop3",
    "managesieve",
    "coap",
    "co",
    "xmpp-client",
    "xmpp-server",
    "acme-tls/1",
    "mqtt",
    "dot",
    "ntske/1",
    "sunrpc",
    "h3",
    "smb",
    "irc",
    "nntp",
    "nnsp",
    "doq",
    "sip/2",
    "tds/8.0",
    "dicom",
    "postgresql",
    "radius/1.0",
    "radius/1.1",
];

/// Common misspellings of registered protocols, in lower case and without punctuation.
const MEANT: [(&str, &str); 17] = [
    ("http2", "h2"),
    ("http20", "h2"),
    ("h2c", "h2"),
    ("h20", "h2"),
    ("grpc", "h2"),
    ("http1", "http/1.1"),
    ("http11", "http/1.1"),
    ("http", "http/1.1"),
    ("https", "http/1.1"),
    ("h1", "http/1.1"),
    ("h11", "http/1.1"),
    ("http10", "http/1.0"),
    ("http3", "h3"),
    ("acmetls", "acme-tls/1"),
    ("mqtts", "mqtt"),
    ("imaps", "imap"),
    ("postgres", "postgresql"),
];

/// Warns about protocols that are close to a registered one. Private protocols are fine.
pub(super) fn unregistered(spec: &spec::Spec, problems: &mut Problems) {
    let mut check = |list: &[Located<Protocol>]| {
        for item in list {
            let given = item.value.0.as_str();
            if ["h3", "doq"].contains(&given) {
                let message = format!("{} is spoken over QUIC, and never over TCP", quoted(given));
                problems.warning(item.at, message).help("leave it out");
            } else if let Some(list) = list_in(given) {
                let message = format!(
                    "{} is one protocol, and not registered for ALPN",
                    quoted(given)
                );
                problems
                    .warning(item.at, message)
                    .help(format!("write a list: `[{list}]`"));
            } else if let Some(meant) = meant(given) {
                let message = format!("{} is no registered protocol of ALPN", quoted(given));
                problems
                    .warning(item.at, message)
                    .help(format!("did you mean `{meant}`?"));
            }
        }
    };
    for endpoint in spec.endpoints.iter() {
        check(&endpoint.tls.alpn);
        for route in endpoint.routes.iter() {
            let lists = [&route.alpn, &route.matches.alpn];
            lists.into_iter().flatten().for_each(|list| check(list));
        }
    }
    for (_, upstream) in &spec.upstreams.0 {
        if let UpstreamAlpn::List(list) = &upstream.tls.alpn.value {
            check(list);
        }
    }
}

/// The registered protocols that one text holds, as HAProxy and Envoy write them, joined for a list.
fn list_in(given: &str) -> Option<String> {
    let parts = given.split([',', ' ', ':']).filter(|part| !part.is_empty());
    let parts = parts.map(|part| match REGISTERED.contains(&part) {
        true => Some(part),
        false => meant(part),
    });
    let parts: Vec<_> = parts.collect::<Option<_>>()?;
    (parts.len() > 1).then(|| parts.join(", "))
}

/// The registered protocol that an unregistered one probably means. Case matters on the wire.
fn meant(given: &str) -> Option<&'static str> {
    if REGISTERED.contains(&given) {
        return None;
    }
    let letters = given.chars().filter(char::is_ascii_alphanumeric);
    let plain = letters.collect::<String>().to_ascii_lowercase();
    let same = |id: &&&str| {
        let letters = id.chars().filter(char::is_ascii_alphanumeric);
        letters.eq(plain.chars())
    };
    if let Some(same) = REGISTERED.iter().find(same) {
        return Some(same);
    }
    let alias = MEANT.iter().find(|(written, _)| *written == plain);
    // Short identifiers are all similar.
    alias.map(|(_, meant)| *meant).or_else(|| {
        let long = REGISTERED.iter().filter(|id| id.len() >= 6).copied();
        nearest(given, long).filter(|near| near.len().abs_diff(given.len()) <= 1)
    })
}

/// Warns about routes whose clients may negotiate HTTP/2 that the origins are not offered.
pub(super) fn unforwarded(spec: &spec::Spec, problems: &mut Problems) {
    for endpoint in spec.endpoints.iter() {
        for route in endpoint.routes.iter() {
            if route.mode.value == Mode::Reencrypt {
                unforwarded_by(endpoint, route, spec, problems);
            }
        }
    }
}

fn unforwarded_by(
    endpoint: &spec::Endpoint,
    route: &Located<spec::Route>,
    spec: &spec::Spec,
    problems: &mut Problems,
) {
    let Some(upstream) = route
        .upstream_name()
        .and_then(|name| spec.upstreams.get(name))
    else {
        return;
    };
    let alpn = &upstream.tls.alpn;
    let offers = |protocol: &str| match &alpn.value {
        UpstreamAlpn::Forward => true,
        UpstreamAlpn::None => false,
        UpstreamAlpn::List(list) => list.iter().any(|item| item.value.0 == protocol),
    };
    for protocol in ["h2", "http/1.1"] {
        // An origin that is offered no ALPN is expected to speak HTTP/1.1.
        let is_default = protocol == "http/1.1" && alpn.value == UpstreamAlpn::None;
        if !route.may_negotiate(&endpoint.tls.alpn, protocol) || offers(protocol) || is_default {
            continue;
        }
        let message = format!(
            "clients of the route {} may choose {protocol}, but its origins are not offered {protocol} and \
             would speak something else",
            quoted(route.name.as_str())
        );
        problems.warning(alpn.at, message).help(format!(
            "leave `alpn` out of the upstream, so that origins are offered what the client chose, or leave \
             {protocol} out of the route's"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_protocols_are_matched_with_registered_ones() {
        for (given, expected) in [
            ("http2", "h2"),
            ("HTTP/2", "h2"),
            ("http/2.0", "h2"),
            ("H2", "h2"),
            ("h2c", "h2"),
            ("HTTP/1.1", "http/1.1"),
            ("http1.1", "http/1.1"),
            ("http/1", "http/1.1"),
            ("http", "http/1.1"),
            ("htpp/1.1", "http/1.1"),
            ("acme-tls", "acme-tls/1"),
            ("postgresq", "postgresql"),
            ("postgres", "postgresql"),
            ("MQTT", "mqtt"),
        ] {
            assert_eq!(meant(given), Some(expected), "{given}");
        }
        for good in REGISTERED {
            assert_eq!(meant(good), None);
        }
        for private in [
            "istio",
            "istio-peer-exchange",
            "my-protocol",
            "x",
            "teleport-proxy",
            "hq",
        ] {
            assert_eq!(meant(private), None, "{private}");
        }
    }
}
