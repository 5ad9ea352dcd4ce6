//! Sessions of clients: their age, sharing between instances, and verification at resumption.

mod lifetime;

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::{Resumption, Tls12Resumption};

use crate::harness::{
    Client, ConfigCheck, End, FrozenSessions, Identity, Leaf, List, NamelessSessions, Origin,
    Proxy, ProxyBuilder, Record, Stream, output, pki,
};

const CERTIFICATE_REVOKED: u8 = 44;

const SECRET: &[u8] = b"a secret of more than 32 bytes, for tests";

const OTHER: &[u8] = b"another secret of more than 32 bytes, for tests";

fn exchange(stream: &Stream) -> bool {
    stream.must_echo(b"x");
    stream.end();
    assert_eq!(stream.receive_to_end().1, End::Clean);
    stream.is_resumed()
}

/// One of several instances that differ only in their secrets and this policy.
fn instance(origin: &Origin, identity: &Identity, secrets: &[&[u8]], policy: &str) -> ProxyBuilder {
    let mut draft = Proxy::builder()
        .endpoint("edge", "tls")
        .identity(identity)
        .route("terminate", "a.test", origin)
        .on_route(&format!("client_auth: {policy}"));
    for (n, secret) in secrets.iter().enumerate() {
        draft = draft.file(&format!("secret-{n}"), secret);
    }
    let names: Vec<_> = (0..secrets.len()).map(|n| format!("secret-{n}")).collect();
    if names.is_empty() {
        return draft;
    }
    draft.top(&format!(
        "process: {{ ticket_secret: [{}] }}",
        names.join(", ")
    ))
}

/// Whether `to` resumes a session of `from`; `to` must admit the client.
fn crosses(client: &Client, from: &Proxy, to: &Proxy) -> bool {
    let memory = FrozenSessions::new();
    let config = client.clone().sessions(memory.clone()).config();
    let connect = |proxy: &Proxy| {
        proxy
            .client("a.test")
            .connect_with(&config, "a.test")
            .unwrap()
    };
    assert!(!exchange(&connect(from)));
    memory.freeze();
    exchange(&connect(to))
}

fn both(client: &Client) -> [Client; 2] {
    [client.clone().tls12(), client.clone().tls13()]
}

#[test]
fn instances_that_share_a_secret_resume_each_others_sessions() {
    let origin = Origin::echo();
    let identity = pki().edge(&["a.test"]);
    let required = "{ mode: required, ca: client-ca.pem }";
    let start = |secrets: &[&[u8]]| instance(&origin, &identity, secrets, required).start();
    // The list is rotated: the new secret is added at the end first, then before the old one.
    let (old, both_, new) = (start(&[SECRET]), start(&[OTHER, SECRET]), start(&[OTHER]));
    let (twin, alone) = (start(&[SECRET]), start(&[]));
    let client = old.client("a.test").certificate(&pki().client("alice"));
    for client in both(&client) {
        for (from, to, resumes) in [
            (&old, &twin, true),
            (&old, &both_, true),
            (&both_, &new, true),
            (&new, &both_, true),
            (&both_, &old, false),
            (&old, &new, false),
            (&old, &alone, false),
            (&alone, &old, false),
        ] {
            assert_eq!(crosses(&client, from, to), resumes);
        }
    }
}

/// Policies that share all names and the secret, and differ in their requirements.
const APART: [&str; 7] = [
    "{ mode: off }",
    "{ mode: optional, ca: client-ca.pem }",
    "{ mode: required, ca: client-ca.pem }",
    "{ mode: required, ca: [client-ca.pem, stranger-ca.pem] }",
    "{ mode: required, ca: client-ca.pem, allow: { common_name: alice } }",
    "{ mode: required, ca: client-ca.pem, allow: { dns: alice.clients.test } }",
    "{ mode: required, ca: client-ca.pem, allow: [{ common_name: alice }, { common_name: bob }] }",
];

#[test]
fn a_shared_secret_resumes_under_no_other_policy() {
    let origin = Origin::echo();
    let identity = pki().edge(&["a.test"]);
    let start = |policy: &str| instance(&origin, &identity, &[SECRET], policy).start();
    let mut instances: Vec<_> = APART.iter().map(|policy| start(policy)).collect();
    // A policy that differs only in its certificate.
    let other = pki().edge(&["a.test"]);
    instances.push(instance(&origin, &other, &[SECRET], APART[2]).start());
    let client = instances[0]
        .client("a.test")
        .certificate(&pki().client("alice"));
    let mut pairs = 0;
    for client in both(&client) {
        for (n, from) in instances.iter().enumerate() {
            for (m, to) in instances.iter().enumerate() {
                assert_eq!(crosses(&client, from, to), n == m, "{n} -> {m}");
                pairs += 1;
            }
        }
    }
    println!(
        "{pairs} pairs of {} policies with one secret",
        instances.len()
    );
}

#[test]
fn a_policy_is_the_same_however_its_authorities_are_ordered() {
    let origin = Origin::echo();
    let identity = pki().edge(&["a.test"]);
    let start = |ca: &str| {
        let policy = format!("{{ mode: required, ca: {ca}, recheck: log }}");
        instance(&origin, &identity, &[SECRET], &policy).start()
    };
    let one = start("[client-ca.pem, stranger-ca.pem]");
    let other = start("[stranger-ca.pem, client-ca.pem]");
    for client in both(&one.client("a.test").certificate(&pki().client("alice"))) {
        assert!(crosses(&client, &one, &other));
    }
}

#[test]
fn a_resuming_client_is_verified_again_and_refused_if_revoked() {
    let origin = Origin::echo();
    let identity = pki().edge(&["a.test"]);
    let before = instance(
        &origin,
        &identity,
        &[SECRET],
        "{ mode: required, ca: client-ca.pem }",
    );
    // The same policy with a CRL: CRLs are not part of a session's scope, they are checked at resumption.
    let list = List::of(&[4711]).pem(&pki().clients);
    let after = instance(
        &origin,
        &identity,
        &[SECRET],
        "{ mode: required, ca: client-ca.pem, crl: clients.crl }",
    )
    .file("clients.crl", list);
    let (before, after) = (before.start(), after.start());
    let client = before.client("a.test");
    let mallory = pki().clients.issue(&Leaf::client("mallory").serial(4711));
    for version in both(&client) {
        assert!(crosses(
            &version.clone().certificate(&pki().client("alice")),
            &before,
            &after
        ));
        after.outcome().must_be("ok");
        let accepted = origin.accepts();
        let memory = FrozenSessions::new();
        let config = version
            .certificate(&mallory)
            .sessions(memory.clone())
            .config();
        exchange(
            &before
                .client("a.test")
                .connect_with(&config, "a.test")
                .unwrap(),
        );
        memory.freeze();
        let end = match after.client("a.test").connect_with(&config, "a.test") {
            Ok(stream) => stream.receive_to_end().1,
            Err(end) => end,
        };
        assert_eq!(end, End::Alert(CERTIFICATE_REVOKED));
        let record = after.outcome();
        record.must_be("client_cert_revoked");
        assert_eq!(record["client_cert"]["subject"], "CN=mallory");
        assert_eq!(
            origin.accepts(),
            accepted + 1,
            "only the first proxy dialled"
        );
    }
}

/// A configuration with which each connection of a client offers the newest session.
fn renewing(client: &Client, kind: Tls12Resumption) -> Arc<ClientConfig> {
    let mut config = (*client.config()).clone();
    config.resumption = Resumption::store(NamelessSessions::new()).tls12_resumption(kind);
    Arc::new(config)
}

const KINDS: [(Tls12Resumption, bool); 3] = [
    (Tls12Resumption::SessionIdOrTickets, false),
    (Tls12Resumption::SessionIdOnly, false),
    (Tls12Resumption::Disabled, true),
];

/// A client of one of the kinds of sessions.
fn client_of_kind(proxy: &Proxy, is_tls13: bool) -> Client {
    let client = proxy.client("a.test");
    match is_tls13 {
        true => client.tls13(),
        false => client.tls12(),
    }
}

#[test]
fn resumption_off_resumes_nothing() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("resumption: off")
        .start();
    for (kind, is_tls13) in KINDS {
        let client = client_of_kind(&proxy, is_tls13);
        let config = renewing(&client, kind);
        for _ in 0..2 {
            assert!(!exchange(&client.connect_with(&config, "a.test").unwrap()));
        }
    }
}

/// Two connections of a client whose first hello always has a share of the wrong group.
fn twice_with_a_retry(proxy: &Proxy, certificate: Option<&Identity>) -> Record {
    let mut client = proxy
        .client("a.test")
        .tls13()
        .sessions(FrozenSessions::new());
    if let Some(certificate) = certificate {
        client = client.certificate(certificate);
    }
    let memory = FrozenSessions::new();
    let config = client.sessions(memory.clone()).config();
    let connect = || {
        proxy
            .client("a.test")
            .connect_with(&config, "a.test")
            .unwrap()
    };
    exchange(&connect());
    proxy.outcome().must_be("ok");
    memory.freeze();
    exchange(&connect());
    proxy.outcome()
}

#[test]
fn a_session_offered_after_a_retry_is_not_resumed_under_client_auth() {
    let origin = Origin::echo();
    let start = |policy: &str| {
        Proxy::builder()
            .terminate("a.test", &origin)
            .on_tls(policy)
            .on_tls("groups: [secp384r1]")
            .start()
    };
    let strict = start("client_auth: { mode: required, ca: client-ca.pem }");
    let record = twice_with_a_retry(&strict, Some(&pki().client("alice")));
    record.must_be("ok").must_have("tls_group", "secp384r1");
    assert_eq!(record["tls_resumed"], false);
    assert_eq!(record["client_cert"]["subject"], "CN=alice");
    let open = start("client_auth: { mode: off }");
    assert_eq!(twice_with_a_retry(&open, None)["tls_resumed"], true);
}

/// An origin that answers once and ends, so that `s_client` has read everything, tickets included, before
/// it ends.
fn answering() -> Origin {
    Origin::plain().serve(|stream| {
        if let Ok(data) = stream.read() {
            stream.send(data);
            stream.end();
            stream.receive_to_end();
        }
    })
}

/// Runs `openssl s_client` with these additional arguments.
fn s_client(proxy: &Proxy, more: &[&str]) -> String {
    let address = proxy.listen_addr("edge").to_string();
    let mut arguments = vec![
        "s_client",
        "-connect",
        &address,
        "-servername",
        "a.test",
        "-ign_eof",
    ];
    arguments.extend(more);
    output("openssl", &arguments, "x\n").text()
}

#[test]
fn openssl_resumes_by_ticket_and_by_id_with_its_identity() {
    let origin = answering();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .start();
    let alice = pki().client("alice");
    let write = |name: &str, text: &str| {
        let path = proxy.directory().write(name, text);
        path.display().to_string()
    };
    let (cert, key) = (write("c.pem", &alice.cert), write("c.key", &alice.key));
    let saved = proxy.directory().join("session").display().to_string();
    for flags in [&["-tls1_2"][..], &["-tls1_2", "-no_ticket"], &["-tls1_3"]] {
        let run = |session: &[&str]| {
            let own = ["-cert", &cert, "-key", &key];
            let said = s_client(&proxy, &[flags, &own, session].concat());
            proxy.outcome().must_be("ok");
            said
        };
        assert!(
            run(&["-sess_out", &saved]).contains("New, TLSv1"),
            "{flags:?}"
        );
        let said = run(&["-sess_in", &saved]);
        assert!(said.contains("Reused, TLSv1"), "{flags:?}:\n{said}");
    }
}

#[test]
fn openssl_has_no_early_data_to_send() {
    let origin = answering();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let path = |name: &str| proxy.directory().join(name).display().to_string();
    proxy.directory().write("early", "GET / HTTP/1.0\r\n\r\n");
    s_client(&proxy, &["-tls1_3", "-sess_out", &path("session")]);
    let said = s_client(
        &proxy,
        &[
            "-tls1_3",
            "-sess_in",
            &path("session"),
            "-early_data",
            &path("early"),
        ],
    );
    assert!(
        said.contains("Reused, TLSv1.3") && said.contains("Early data was not sent"),
        "{said}"
    );
    assert_eq!(origin.bytes(), 4, "the origin gets the input only");
}

#[test]
fn a_ticket_secret_must_be_long_and_private() {
    let text = "process: { ticket_secret: secret }\n\
         endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: { certificates: [{ cert: good.pem, key: good.key }] }\n\
         \x20   routes: [{ name: a, mode: terminate, upstream: up, match: { sni: a.test } }]\n\
         upstreams:\n\
         \x20 up: { origins: [\"127.0.0.1:9\"] }\n";
    let with = |secret: &[u8], mode| ConfigCheck::new(text).with_file("secret", secret, mode);
    with(SECRET, 0o600).must_be_good();
    with(&SECRET[..31], 0o600).must_report("secret }", &["at least 32 bytes, this has 31"]);
    with(SECRET, 0o644).must_report("secret }", &["every user may read"]);
    ConfigCheck::new(&text.replace("secret }", "[] }")).must_report("[] }", &["empty list"]);
}
