//! The decision on the first bytes of a client, which must not depend on how they were delivered. Shared by
//! the fuzz target and the test of its corpus.

use std::sync::LazyLock;

use reseal::internals::{
    CloseWith, HELLO_MAX, Hello, HostName, HostNameError, HostPattern, Match, Parser, Query,
    RouteTable,
};

/// The result for a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is incomplete.
    More,
    /// It is refused, with this reason and alert.
    Refused(&'static str, Vec<u8>),
    /// The route, or why there is none, and the other facts that a handshake depends on.
    Routed(
        Result<&'static str, String>,
        Option<String>,
        Vec<Vec<u8>>,
        bool,
    ),
}

static ROUTES: LazyLock<RouteTable<&'static str>> = LazyLock::new(|| {
    let mut routes = RouteTable::default();
    let h2 = Match {
        alpn: vec![b"h2".to_vec()],
        ..Match::default()
    };
    let mut add = |pattern: &str, when: &Match, route| {
        if let Ok(pattern) = HostPattern::parse(pattern) {
            routes.add(pattern, when.clone(), route);
        }
    };
    add("a.test", &h2, "a over h2");
    add("a.test", &Match::default(), "a");
    add("*.wild.test", &Match::default(), "wild");
    add("strict.test", &h2, "strict over h2");
    routes
});

/// The decision on these bytes, delivered in these portions.
pub fn decide<'a>(portions: impl IntoIterator<Item = &'a [u8]>) -> Decision {
    let mut parser = Parser::default();
    let mut bytes = Vec::new();
    for portion in portions {
        bytes.extend_from_slice(portion);
        match parser.feed(&bytes) {
            Ok(None) => {}
            Ok(Some(hello)) => return route(hello),
            Err(failure) => {
                let alert = match failure.close_with {
                    CloseWith::Alert(alert) => alert,
                    _ => Vec::new(),
                };
                return Decision::Refused(failure.reason.code(), alert);
            }
        }
    }
    Decision::More
}

fn route(hello: Hello) -> Decision {
    let name = match hello.server_name.as_deref().map(HostName::from_wire) {
        None | Some(Err(HostNameError::Address)) => None,
        Some(Ok(name)) => Some(name),
        Some(Err(HostNameError::Malformed)) => {
            return Decision::Refused("hello_malformed", Vec::new());
        }
    };
    let query = Query {
        name: name.as_ref(),
        alpn: &hello.alpn,
        source: None,
        speaks_tls: true,
    };
    let route = ROUTES.choose(&query).copied();
    let route = route.map_err(|unrouted| format!("{unrouted:?}"));
    let name = name.map(|name| name.as_str().to_owned());
    Decision::Routed(route, name, hello.alpn, hello.prefers_chacha)
}

/// Delivers the bytes whole, byte by byte, and in halves; then their handshake messages in records of other
/// lengths.
pub fn must_not_depend_on_fragmentation(bytes: &[u8]) {
    let bytes = bytes.get(..HELLO_MAX).unwrap_or(bytes);
    let whole = decide([bytes]);
    assert_eq!(decide(bytes.chunks(1)), whole, "byte by byte");
    let (first, second) = bytes.split_at(bytes.len() / 2);
    assert_eq!(decide([first, second]), whole, "in halves");
    // Only a hello that is alone in its records is the same hello in other records.
    let Some(message) = message(bytes).filter(|_| matches!(whole, Decision::Routed(..))) else {
        return;
    };
    for len in [1, 7, 64, message.len().div_ceil(2)] {
        let cut = records(&message, len);
        if cut.len() < HELLO_MAX {
            assert_eq!(decide([&cut[..]]), whole, "in records of {len}");
        }
    }
}

/// The hello in these records, if they contain nothing else.
fn message(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    while let [22, _, _, high, low, rest @ ..] = bytes {
        let len = usize::from(*high) << 8 | usize::from(*low);
        message.extend_from_slice(rest.get(..len)?);
        bytes = &rest[len..];
    }
    let len = message.get(1..4)?;
    let len = len.iter().fold(4, |len, byte| len + usize::from(*byte))
        + usize::from(*message.get(2)?) * 255
        + usize::from(*message.get(1)?) * 65_535;
    (bytes.is_empty() && message.len() == len).then_some(message)
}

/// A message in records of this many bytes.
fn records(message: &[u8], len: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for part in message.chunks(len.clamp(1, 16_384)) {
        records.extend([22, 3, 1]);
        records.extend((part.len() as u16).to_be_bytes());
        records.extend(part);
    }
    records
}
