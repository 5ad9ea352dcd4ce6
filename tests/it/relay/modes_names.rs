//! Server names: the choice of route and certificate.

use crate::harness::{End, ForgedHello, Leaf, Origin, Proxy, Record, Stream, pki};

const UNRECOGNIZED_NAME: u8 = 112;
/// An unencrypted fatal alert as on the wire.
const UNRECOGNIZED_NAME_RECORD: [u8; 7] = [21, 3, 3, 0, 2, 2, UNRECOGNIZED_NAME];

/// The response of the proxy to these bytes up to its end, and the record.
#[track_caller]
fn answer(proxy: &Proxy, bytes: &[u8]) -> (Vec<u8>, Record) {
    let client = proxy.dial("edge");
    client.write_raw(bytes).unwrap();
    let (data, end) = client.receive_to_end();
    assert_eq!(end, End::Clean, "an alert must not be overtaken by a reset");
    (data, proxy.outcome_of(&client))
}

/// Sends a forged hello, waits for a ServerHello and closes.
#[track_caller]
fn is_served(proxy: &Proxy, hello: &ForgedHello) -> Record {
    let client = proxy.dial("edge");
    client.write_raw(&hello.bytes()).unwrap();
    let answer = client.receive(6);
    assert_eq!((answer[0], answer[5]), (22, 2), "not a ServerHello");
    let record = {
        let address = client.local();
        client.reset();
        proxy.outcome_from(address)
    };
    record.must_have("stage", "client_tls");
    record
}

#[test]
fn an_unknown_name_gets_the_unrecognized_name_alert() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .passthrough("b.test", &origin)
        .start();
    let (data, record) = answer(&proxy, &ForgedHello::new(b"c.test").bytes());
    assert_eq!(data, UNRECOGNIZED_NAME_RECORD);
    record
        .must_be("unknown_sni")
        .must_have("sni", "c.test")
        .must_have("stage", "route");
    record.must_have("fault", "client");
    assert_eq!(
        proxy.client("c.test").refusal(),
        End::Alert(UNRECOGNIZED_NAME)
    );
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn an_absent_name_gets_the_unrecognized_name_alert() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let (data, record) = answer(&proxy, &ForgedHello::without_sni().bytes());
    assert_eq!(data, UNRECOGNIZED_NAME_RECORD);
    record.must_be("no_sni");
    assert!(!record.has("sni"), "{record:?}");
    assert_eq!(
        proxy.client("a.test").without_sni().refusal(),
        End::Alert(UNRECOGNIZED_NAME)
    );
}

#[test]
fn a_default_route_matches_absent_and_unknown_names() {
    let (own, other) = (Origin::echo(), Origin::echo());
    let proxy = Proxy::builder()
        .terminate("a.test", &own)
        .terminate("b.test", &other)
        .on_endpoint("default_route: { route: b.test, certificate: identity-1 }")
        .start();
    is_served(&proxy, &ForgedHello::without_sni()).must_have("route", "b.test");
    is_served(&proxy, &ForgedHello::new(b"c.test")).must_have("route", "b.test");
    is_served(&proxy, &ForgedHello::new(b"a.test")).must_have("route", "a.test");
    let client = proxy.client("b.test").without_sni().connect();
    client.must_echo(b"by default");
    assert_eq!((own.accepts(), other.accepts()), (0, 1));
}

#[test]
fn the_case_of_a_name_and_one_trailing_dot_do_not_matter() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for name in ["A.TEST", "a.Test", "a.test.", "A.test."] {
        let record = is_served(&proxy, &ForgedHello::new(name.as_bytes()));
        record
            .must_have("sni", "a.test")
            .must_have("route", "a.test");
    }
}

#[test]
fn an_address_in_place_of_a_name_counts_as_no_name() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for address in ["10.0.0.1", "::1"] {
        let (data, record) = answer(&proxy, &ForgedHello::new(address.as_bytes()).bytes());
        assert_eq!(data, UNRECOGNIZED_NAME_RECORD, "{address}");
        record.must_be("no_sni");
    }
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("default_route: a.test")
        .start();
    is_served(&proxy, &ForgedHello::new(b"10.0.0.1")).must_have("route", "a.test");
}

#[test]
fn an_invalid_server_name_is_hello_malformed() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_endpoint("default_route: a.test")
        .start();
    for name in [
        "a..test",
        "-a.test",
        "a b",
        "a\0.test",
        "*.test",
        "a.test:443",
        "b\u{fc}cher.test",
    ] {
        let (data, record) = answer(&proxy, &ForgedHello::new(name.as_bytes()).bytes());
        assert_eq!(data[..6], [21, 3, 3, 0, 2, 2], "{name:?}: a fatal alert");
        record.must_be("hello_malformed");
    }
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn an_exact_name_beats_a_wildcard_of_one_label_and_that_beats_the_default() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .passthrough("x.wild.test", &origin)
        .passthrough("*.wild.test", &origin)
        .passthrough("other.test", &origin)
        .on_endpoint("default_route: other.test")
        .start();
    let cases = [
        ("x.wild.test", "x.wild.test"),
        ("y.wild.test", "any.wild.test"),
        ("wild.test", "other.test"),
        ("x.y.wild.test", "other.test"),
    ];
    for (sni, route) in cases {
        let client = proxy.dial("edge");
        let hello = ForgedHello::new(sni.as_bytes()).bytes();
        client.write_raw(&hello).unwrap();
        assert_eq!(client.receive(hello.len()), hello);
        client.end();
        assert_eq!(client.receive_to_end().1, End::Clean);
        proxy
            .outcome_of(&client)
            .must_be("ok")
            .must_have("route", route);
    }
}

#[test]
fn each_name_gets_its_own_certificate() {
    let origin = Origin::echo();
    let exact = pki().edge(&["x.wild.test"]);
    let wildcard = pki().edge(&["*.wild.test"]);
    let proxy = Proxy::builder()
        .route("terminate", "*.wild.test", &origin)
        .identity(&wildcard)
        .identity(&exact)
        .start();
    let certificate = |sni: &str| proxy.client(sni).connect().peer_certificate();
    assert_eq!(certificate("x.wild.test"), Some(exact.chain()[0].to_vec()));
    assert_eq!(
        certificate("y.wild.test"),
        Some(wildcard.chain()[0].to_vec())
    );
}

#[test]
fn rsa_or_ecdsa_is_chosen_by_the_clients_signature_schemes() {
    let origin = Origin::echo();
    let rsa = pki().edge.issue(&Leaf::server(&["a.test"]).rsa());
    let ecdsa = pki().edge(&["a.test"]);
    let proxy = Proxy::builder()
        .route("terminate", "a.test", &origin)
        .identity(&rsa)
        .identity(&ecdsa)
        .start();
    for client in [
        proxy.client("a.test").tls12(),
        proxy.client("a.test").tls13(),
    ] {
        let certificate = client.connect().peer_certificate();
        assert_eq!(
            certificate,
            Some(ecdsa.chain()[0].to_vec()),
            "the cheaper key is preferred"
        );
        let certificate = client.rsa_only().connect().peer_certificate();
        assert_eq!(certificate, Some(rsa.chain()[0].to_vec()));
    }
}

#[test]
fn a_client_that_can_verify_none_of_the_certificates_gets_an_alert() {
    const HANDSHAKE_FAILURE: u8 = 40;
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let refusal = proxy.client("a.test").rsa_only().refusal();
    assert_eq!(refusal, End::Alert(HANDSHAKE_FAILURE));
    proxy.outcome().must_be("no_common_signature");
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_not_chosen_over_a_valid_one() {
    let origin = Origin::echo();
    let renewal = pki().edge.issue(&Leaf::server(&["a.test"]).early());
    let current = pki().edge(&["a.test"]);
    let proxy = Proxy::builder()
        .route("terminate", "a.test", &origin)
        .identity(&renewal)
        .identity(&current)
        .start();
    let certificate = proxy.client("a.test").connect().peer_certificate();
    assert_eq!(certificate, Some(current.chain()[0].to_vec()));
}

#[test]
fn a_client_that_rejects_our_certificate_has_its_own_reason() {
    let origin = Origin::echo();
    let stranger = pki().stranger.issue(&Leaf::server(&["a.test"]));
    let proxy = Proxy::builder()
        .route("terminate", "a.test", &origin)
        .identity(&stranger)
        .start();
    for client in [
        proxy.client("a.test").tls12(),
        proxy.client("a.test").tls13(),
    ] {
        assert!(matches!(client.refusal(), End::Broken(_)));
        let record = proxy.outcome();
        record
            .must_be("client_rejected_certificate")
            .must_have("stage", "client_tls");
    }
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn a_route_can_match_the_source_address() {
    let (near, far) = (Origin::echo(), Origin::echo());
    let proxy = Proxy::builder()
        .passthrough("a.test", &far)
        .named("far")
        .matching("source: [192.0.2.0/24]")
        .passthrough("a.test", &near)
        .named("near")
        .matching("source: [127.0.0.0/8, 10.0.0.0/8]")
        .start();
    let client = proxy.dial("edge");
    client.must_echo(ForgedHello::new(b"a.test").bytes());
    assert_eq!((near.accepts(), far.accepts()), (1, 0));
}

#[test]
fn a_name_whose_routes_do_not_match_never_falls_back_to_a_wider_pattern() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .passthrough("a.wild.test", &origin)
        .matching("source: [192.0.2.0/24]")
        .passthrough("*.wild.test", &origin)
        .passthrough("other.test", &origin)
        .on_endpoint("default_route: other.test")
        .start();
    let (data, record) = answer(&proxy, &ForgedHello::new(b"a.wild.test").bytes());
    assert_eq!(data, UNRECOGNIZED_NAME_RECORD);
    record.must_be("no_route").must_have("fault", "policy");
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn a_plain_client_without_a_matching_route_is_reset() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .matching("source: [192.0.2.0/24]")
        .start();
    let client: Stream = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy.outcome_of(&client).must_be("no_route");
}
