//! Every form of a server name, on every endpoint, in every version, for new and resumed sessions, for every
//! fragmentation of the hello, with every kind of certificate: the route chosen by the name always decides.

mod cells;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::{SupportedProtocolVersion, version};

use crate::harness::{
    Fragmentation, Identity, Leaf, List, Origin, Proxy, WireClient, WireName, pki,
};

const DATA: &[u8] = b"let in";
const NO_SUCH_NAME: u8 = 112;

/// The forms of a name on the wire, and the route of each.
const NAMES: [(Option<&str>, Named); 8] = [
    (Some("a.test"), Named::Exact),
    (Some("A.TEST"), Named::Exact),
    (Some("a.test."), Named::Exact),
    (Some("x.wild.test"), Named::Wild),
    (Some("X.Wild.TEST."), Named::Wild),
    (Some("nobody.test"), Named::Unknown),
    (Some("127.0.0.1"), Named::Absent),
    (None, Named::Absent),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Exact,
    Wild,
    Unknown,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Auth {
    Off,
    Optional,
    Required,
}

/// An endpoint: its name, mode, and client auth for an exact name, a wildcard and the default route.
struct Shape {
    name: &'static str,
    mode: &'static str,
    exact: Auth,
    wild: Auth,
    default: Option<Auth>,
}

const fn shape(name: &'static str, exact: Auth, wild: Auth, default: Option<Auth>) -> Shape {
    Shape {
        name,
        mode: "terminate",
        exact,
        wild,
        default,
    }
}

const ENDPOINTS: [Shape; 8] = {
    use Auth::{Off, Optional, Required};
    [
        shape("strict", Required, Required, None),
        shape("optional", Optional, Optional, None),
        shape("open", Off, Off, None),
        shape("strict-by-default", Required, Required, Some(Required)),
        shape("optional-by-default", Optional, Optional, Some(Optional)),
        shape("open-by-default", Required, Optional, Some(Off)),
        shape("mixed", Required, Off, Some(Optional)),
        Shape {
            mode: "reencrypt",
            ..shape("reencrypting", Required, Optional, None)
        },
    ]
};

/// The issuer of sessions that are valid on no other endpoint: it admits every client.
const DONOR: Shape = shape("donor", Auth::Off, Auth::Off, Some(Auth::Off));

impl Shape {
    /// The route for a name and its client auth, if any.
    fn route(&self, named: Named) -> Option<(&'static str, Auth)> {
        match named {
            Named::Exact => Some(("a.test", self.exact)),
            Named::Wild => Some(("any.wild.test", self.wild)),
            Named::Unknown | Named::Absent => Some(("fallback", self.default?)),
        }
    }
}

/// The states of a client certificate, with the reason and alert of a rejection.
const STATES: [(&str, Option<(&str, u8)>); 8] = [
    ("none", Some(("client_cert_missing", 116))),
    ("good", None),
    ("expired", Some(("client_cert_expired", 45))),
    ("early", Some(("client_cert_not_yet_valid", 45))),
    ("revoked", Some(("client_cert_revoked", 44))),
    ("of a stranger", Some(("client_cert_unknown_ca", 48))),
    ("a server's", Some(("client_cert_wrong_usage", 43))),
    ("not allowed", Some(("client_cert_not_allowed", 49))),
];

const REVOKED: u64 = 4711;

fn certificate(state: &str) -> Option<Identity> {
    let clients = &pki().clients;
    let alice = || Leaf::client("alice");
    Some(match state {
        "none" => return None,
        "good" => clients.issue(&alice()),
        "expired" => clients.issue(&alice().expired()),
        "early" => clients.issue(&alice().early()),
        "revoked" => clients.issue(&alice().serial(REVOKED)),
        "of a stranger" => pki().stranger.issue(&alice()),
        "a server's" => clients.issue(&alice().for_servers()),
        "not allowed" => clients.issue(&Leaf::client("mallory")),
        other => panic!("{other}"),
    })
}

/// The reason and alert of a rejection; `None` if the client is admitted.
fn verdict(
    route: Option<(&str, Auth)>,
    named: Named,
    state: (&'static str, Option<(&'static str, u8)>),
) -> Option<(&'static str, u8)> {
    let Some((_, auth)) = route else {
        let reason = if named == Named::Absent {
            "no_sni"
        } else {
            "unknown_sni"
        };
        return Some((reason, NO_SUCH_NAME));
    };
    match (auth, state.0) {
        (Auth::Off, _) | (Auth::Optional, "none") => None,
        _ => state.1,
    }
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Without a session.
    Full,
    /// With a ticket of the same route if it issues one, else of the donor.
    Ticket,
    /// With a session id, likewise.
    Id,
    /// With a ticket of the donor.
    Foreign,
}

const FRAGMENTATIONS: [Fragmentation; 3] = [
    Fragmentation::Whole,
    Fragmentation::Segments(97),
    Fragmentation::Records(41),
];

fn proxy(plain: &Origin, tls_origin: &Origin) -> Proxy {
    let identity = pki().edge(&["a.test", "*.wild.test", "any.test"]);
    let mut draft = Proxy::builder().file("clients.crl", List::of(&[REVOKED]).pem(&pki().clients));
    for (n, shape) in ENDPOINTS.iter().chain([&DONOR]).enumerate() {
        let origin = if shape.mode == "reencrypt" {
            tls_origin
        } else {
            plain
        };
        let named = [("a.test", shape.exact), ("*.wild.test", shape.wild)];
        let tickets = if shape.name == DONOR.name {
            8
        } else {
            FRAGMENTATIONS.len()
        };
        draft = draft
            .endpoint(shape.name, "tls")
            .identity(&identity)
            .on_tls(&format!(
                "resumption: {{ tickets: {tickets}, max_age: 1h }}"
            ));
        for (sni, auth) in named {
            draft = draft.route(shape.mode, sni, origin).on_route(&block(auth));
            if shape.mode == "reencrypt" {
                draft = draft.origin_tls("{ ca: origin-ca.pem, server_name: origin.test }");
            }
        }
        if let Some(auth) = shape.default {
            draft = draft
                .route(shape.mode, "", origin)
                .named("fallback")
                .on_route(&block(auth))
                .on_endpoint(&format!(
                    "default_route: {{ route: fallback, certificate: identity-{n} }}"
                ));
        }
    }
    draft.start()
}

fn block(auth: Auth) -> String {
    let mode = match auth {
        Auth::Off => return "client_auth: { mode: off }".to_owned(),
        Auth::Optional => "optional",
        Auth::Required => "required",
    };
    format!(
        "client_auth: {{ mode: {mode}, ca: client-ca.pem, crl: clients.crl, allow: {{ common_name: alice }} \
         }}"
    )
}

/// Counts over all cells.
#[derive(Default)]
struct Counts {
    cells: AtomicUsize,
    resumed: AtomicUsize,
    plain: AtomicUsize,
    tls_origin: AtomicUsize,
    reasons: Mutex<BTreeMap<String, usize>>,
}

/// One certificate, one version and one name: the cells of all endpoints.
struct Group<'a> {
    proxy: &'a Proxy,
    counts: &'a Counts,
    version: &'static SupportedProtocolVersion,
    state: (&'static str, Option<(&'static str, u8)>),
    name: WireName,
    named: Named,
    client: WireClient,
}

impl Counts {
    fn accepted(&self, shape: &Shape) {
        let count = if shape.mode == "reencrypt" {
            &self.tls_origin
        } else {
            &self.plain
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn promise_1_the_route_chosen_by_name_decides_for_every_kind_of_tls_12_hello() {
    every_cell_of(&version::TLS12, 6_000, 800);
}

#[test]
fn promise_1_the_route_chosen_by_name_decides_for_every_kind_of_tls_13_hello() {
    every_cell_of(&version::TLS13, 4_500, 400);
}

/// Runs all cells of a version: at least `cells_min`, at least `resumed_min` of them with a resumed session.
fn every_cell_of(version: &'static SupportedProtocolVersion, cells_min: usize, resumed_min: usize) {
    let (plain, tls_origin) = (Origin::echo(), Origin::with_tls().echo());
    let proxy = proxy(&plain, &tls_origin);
    let counts = Counts::default();
    let mut groups = Vec::new();
    for state in STATES {
        let client = WireClient::new(version, certificate(state.0).as_ref());
        groups.extend(NAMES.map(|(name, named)| Group {
            proxy: &proxy,
            counts: &counts,
            version,
            state,
            name: WireName(name),
            named,
            client: client.clone(),
        }));
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(group) = groups.get(next.fetch_add(1, Ordering::Relaxed)) {
                    group.run();
                }
            });
        }
    });
    let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let (cells, resumed) = (read(&counts.cells), read(&counts.resumed));
    println!("{cells} cells, {resumed} of them resumed");
    for (reason, count) in counts.reasons.lock().unwrap().iter() {
        println!("{count:6} {reason}");
    }
    // The origin of a route has not seen the clients that the route rejected.
    for (origin, accepted) in [(&plain, &counts.plain), (&tls_origin, &counts.tls_origin)] {
        assert_eq!(origin.accepts(), read(accepted));
        assert_eq!(origin.bytes(), (read(accepted) * DATA.len()) as u64);
    }
    assert!(
        cells >= cells_min && resumed > resumed_min,
        "{cells} cells, {resumed} resumed"
    );
}
