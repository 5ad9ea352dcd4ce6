//! Every ordered pair of policies: a session of one is worth nothing to another.

use rustls::client::{Resumption, Tls12Resumption};
use rustls::version;

use crate::harness::{
    Cut, End, FrozenSessions, Identity, Origin, Place, Proxy, Stream, Wire, WireName, pki,
};

/// All ask for the same name, so that the name is not what keeps them apart.
const NAME: WireName = WireName(Some("a.test"));

/// Endpoints of one route: what they add to `tls`, their client auth, and which certificate they show.
/// Alice comes in everywhere.
const POLICIES: [(&str, &str, Shown); 14] = [
    ("", "{ mode: off }", Shown::First),
    ("", "{ mode: off }", Shown::Second),
    ("", "{ mode: optional, ca: client-ca.pem }", Shown::First),
    ("", "{ mode: required, ca: client-ca.pem }", Shown::First),
    // The same once more: only the endpoint is another.
    ("", "{ mode: required, ca: client-ca.pem }", Shown::First),
    ("", "{ mode: off }", Shown::First),
    ("", "{ mode: required, ca: client-ca.pem }", Shown::Second),
    (
        "",
        "{ mode: required, ca: [client-ca.pem, stranger-ca.pem] }",
        Shown::First,
    ),
    (
        "",
        "{ mode: required, ca: client-ca.pem, allow: { common_name: alice } }",
        Shown::First,
    ),
    (
        "",
        "{ mode: required, ca: client-ca.pem, allow: { dns: \"*.clients.test\" } }",
        Shown::First,
    ),
    (
        "",
        "{ mode: required, ca: client-ca.pem, allow: { dns: \"*.clients.test\", common_name: alice } }",
        Shown::First,
    ),
    (
        "",
        "{ mode: optional, ca: client-ca.pem, allow: [{ dns: \"*.clients.test\" }, { common_name: alice }] }",
        Shown::First,
    ),
    (
        "max_version: 1.3",
        "{ mode: optional, ca: client-ca.pem, recheck: log }",
        Shown::First,
    ),
    (
        "min_version: 1.2",
        "{ mode: required, ca: client-ca.pem, send_ca_names: false }",
        Shown::First,
    ),
];

#[derive(Clone, Copy)]
enum Shown {
    First,
    Second,
}

/// Two routes of one endpoint, which the client's address chooses between.
const BY_SOURCE: [(&str, &str); 2] = [
    ("127.0.0.0/8", "{ mode: required, ca: client-ca.pem }"),
    ("::1", "{ mode: off }"),
];

fn proxy(origin: &Origin) -> (Proxy, Vec<Place>) {
    let first = pki().edge(&["a.test", "any.test"]);
    let second = pki().edge(&["a.test", "any.test"]);
    let mut draft = Proxy::builder();
    for (n, (tls, auth, shown)) in POLICIES.iter().enumerate() {
        draft = draft
            .endpoint(&format!("policy-{n}"), "tls")
            .identity(match shown {
                Shown::First => &first,
                Shown::Second => &second,
            })
            .on_tls("resumption: { tickets: 8, max_age: 1h }")
            .route("terminate", "a.test", origin)
            .on_route(&format!("client_auth: {auth}"));
        if !tls.is_empty() {
            draft = draft.on_tls(tls);
        }
    }
    draft = draft
        .endpoint("by-source", "tls")
        .listen("\"*:0\"")
        .identity(&first)
        .on_tls("resumption: { tickets: 8, max_age: 1h }");
    for (n, (source, auth)) in BY_SOURCE.iter().enumerate() {
        draft = draft
            .route("terminate", "a.test", origin)
            .named(&format!("from-{n}"))
            .matching(&format!("source: \"{source}\""))
            .on_route(&format!("client_auth: {auth}"));
    }
    let proxy = draft.start();
    let mut places: Vec<_> = (0..POLICIES.len())
        .map(|n| proxy.place(&format!("policy-{n}")).clone())
        .collect();
    let port = proxy.place("by-source").port();
    places.extend(
        ["127.0.0.1", "::1"]
            .map(|ip| Place::Tcp((ip.parse::<std::net::IpAddr>().unwrap(), port).into())),
    );
    (proxy, places)
}

/// A client with enough sessions of this place to offer one to each.
fn with_sessions(client: &Wire, kind: Tls12Resumption, place: &Place, uses: usize) -> Wire {
    let memory = FrozenSessions::new();
    let client = client.remembering(Resumption::store(memory.clone()).tls12_resumption(kind));
    while memory.len() < uses {
        let before = memory.len();
        assert!(!is_resumed(&client, place));
        assert!(memory.len() > before, "no session from {place}");
    }
    memory.freeze();
    client
}

fn is_resumed(client: &Wire, place: &Place) -> bool {
    let (_, stream) = client.connect(place, NAME, Cut::Whole);
    exchange(&stream.unwrap_or_else(|end| panic!("{end:?} at {place}: not a full handshake")))
}

fn exchange(stream: &Stream) -> bool {
    stream.must_echo(b"x");
    stream.end();
    assert_eq!(stream.receive_to_end().1, End::Clean);
    stream.is_resumed()
}

#[test]
fn no_session_crosses_from_any_policy_to_any_other() {
    let origin = Origin::echo();
    let (_proxy, places) = proxy(&origin);
    let alice: Identity = pki().client("alice");
    let (mut own, mut across, mut pairs) = (0, 0, 0);
    for (version, kind) in [
        (&version::TLS12, Tls12Resumption::SessionIdOrTickets),
        (&version::TLS12, Tls12Resumption::SessionIdOnly),
        (&version::TLS13, Tls12Resumption::Disabled),
    ] {
        let client = Wire::new(version, Some(&alice));
        for (n, from) in places.iter().enumerate() {
            let client = with_sessions(&client, kind, from, places.len());
            for (m, to) in places.iter().enumerate() {
                let resumed = is_resumed(&client, to);
                if n == m {
                    own += usize::from(resumed);
                } else {
                    pairs += 1;
                    across += usize::from(resumed);
                    assert!(!resumed, "{n} -> {m} in {:?} by {kind:?}", version.version);
                }
            }
        }
    }
    println!(
        "{} policies, {pairs} ordered pairs by tickets, ids and versions: {across} resumed across, {own} on their own",
        places.len()
    );
    assert_eq!((own, across), (3 * places.len(), 0));
}
