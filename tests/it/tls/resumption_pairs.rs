//! Every ordered pair of policies: a session of one is not valid under another.

use rustls::client::{Resumption, Tls12Resumption};
use rustls::version;

use crate::harness::{
    End, Fragmentation, FrozenSessions, Identity, ListenAddr, Origin, Proxy, Stream, WireClient,
    WireName, pki,
};

/// All clients send the same name, so the name does not separate the sessions.
const NAME: WireName = WireName(Some("a.test"));

/// Endpoints with one route: their additions to `tls`, their client auth, and the certificate they present.
/// Every one of them admits Alice.
const POLICIES: [(&str, &str, Presented); 14] = [
    ("", "{ mode: off }", Presented::First),
    ("", "{ mode: off }", Presented::Second),
    (
        "",
        "{ mode: optional, ca: client-ca.pem }",
        Presented::First,
    ),
    (
        "",
        "{ mode: required, ca: client-ca.pem }",
        Presented::First,
    ),
    // The same policy once more, on another endpoint.
    (
        "",
        "{ mode: required, ca: client-ca.pem }",
        Presented::First,
    ),
    ("", "{ mode: off }", Presented::First),
    (
        "",
        "{ mode: required, ca: client-ca.pem }",
        Presented::Second,
    ),
    (
        "",
        "{ mode: required, ca: [client-ca.pem, stranger-ca.pem] }",
        Presented::First,
    ),
    (
        "",
        "{ mode: required, ca: client-ca.pem, allow: { common_name: alice } }",
        Presented::First,
    ),
    (
        "",
        "{ mode: required, ca: client-ca.pem, allow: { dns: \"*.clients.test\" } }",
        Presented::First,
    ),
    (
        "",
        "{ mode: required, ca: client-ca.pem, allow: { dns: \"*.clients.test\", common_name: alice } }",
        Presented::First,
    ),
    (
        "",
        "{ mode: optional, ca: client-ca.pem, allow: [{ dns: \"*.clients.test\" }, { common_name: alice }] }",
        Presented::First,
    ),
    (
        "max_version: 1.3",
        "{ mode: optional, ca: client-ca.pem, recheck: log }",
        Presented::First,
    ),
    (
        "min_version: 1.2",
        "{ mode: required, ca: client-ca.pem, send_ca_names: false }",
        Presented::First,
    ),
];

#[derive(Clone, Copy)]
enum Presented {
    First,
    Second,
}

/// Two routes of one endpoint, distinguished by the client's address.
const BY_SOURCE: [(&str, &str); 2] = [
    ("127.0.0.0/8", "{ mode: required, ca: client-ca.pem }"),
    ("::1", "{ mode: off }"),
];

fn proxy(origin: &Origin) -> (Proxy, Vec<ListenAddr>) {
    let first = pki().edge(&["a.test", "any.test"]);
    let second = pki().edge(&["a.test", "any.test"]);
    let mut draft = Proxy::builder();
    for (n, (tls, auth, presented)) in POLICIES.iter().enumerate() {
        draft = draft
            .endpoint(&format!("policy-{n}"), "tls")
            .identity(match presented {
                Presented::First => &first,
                Presented::Second => &second,
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
        .map(|n| proxy.listen_addr(&format!("policy-{n}")).clone())
        .collect();
    let port = proxy.listen_addr("by-source").port();
    places.extend(
        ["127.0.0.1", "::1"]
            .map(|ip| ListenAddr::Tcp((ip.parse::<std::net::IpAddr>().unwrap(), port).into())),
    );
    (proxy, places)
}

/// A client with enough sessions of this endpoint to offer one to each other endpoint.
fn with_sessions(
    client: &WireClient,
    kind: Tls12Resumption,
    place: &ListenAddr,
    uses: usize,
) -> WireClient {
    let memory = FrozenSessions::new();
    let client =
        client.with_session_store(Resumption::store(memory.clone()).tls12_resumption(kind));
    while memory.len() < uses {
        let before = memory.len();
        assert!(!is_resumed(&client, place));
        assert!(memory.len() > before, "no session from {place}");
    }
    memory.freeze();
    client
}

fn is_resumed(client: &WireClient, place: &ListenAddr) -> bool {
    let (_, stream) = client.connect(place, NAME, Fragmentation::Whole);
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
        let client = WireClient::new(version, Some(&alice));
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
        "{} policies, {pairs} ordered pairs by tickets, ids and versions: {across} resumed across, \
         {own} on their own",
        places.len()
    );
    assert_eq!((own, across), (3 * places.len(), 0));
}
