//! ALPN: matching, negotiation with the client, and the offer to the origin.

use crate::harness::{End, ForgedHello, Origin, Proxy, pki};

const NO_APPLICATION_PROTOCOL: u8 = 120;

#[test]
fn alpn_follows_the_preference_of_the_endpoint() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("alpn: [h2, http/1.1]")
        .start();
    let client = proxy.client("a.test").alpn(&["http/1.1", "h2"]).connect();
    assert_eq!(client.alpn().as_deref(), Some("h2"));
    client.must_echo(b"x");
    client.end();
    client.receive_to_end();
    proxy
        .outcome_of(&client)
        .must_be("ok")
        .must_have("alpn", "h2");
}

#[test]
fn the_alpn_list_of_a_route_replaces_that_of_the_endpoint() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("alpn: [h2]")
        .on_route("alpn: [http/1.1]")
        .start();
    let client = proxy.client("a.test").alpn(&["h2", "http/1.1"]).connect();
    assert_eq!(client.alpn().as_deref(), Some("http/1.1"));
}

#[test]
fn without_an_alpn_list_nothing_is_negotiated() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    let client = proxy.client("a.test").alpn(&["h2"]).connect();
    assert_eq!(client.alpn(), None);
    client.must_echo(b"x");
}

#[test]
fn a_client_without_alpn_is_served() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("alpn: [h2]")
        .start();
    let client = proxy.client("a.test").connect();
    assert_eq!(client.alpn(), None);
    client.must_echo(b"x");
}

#[test]
fn no_common_alpn_protocol_is_an_alert() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("alpn: [h2]")
        .start();
    for client in [
        proxy.client("a.test").tls12(),
        proxy.client("a.test").tls13(),
    ] {
        let refusal = client.alpn(&["http/1.1", "acme"]).refusal();
        assert_eq!(refusal, End::Alert(NO_APPLICATION_PROTOCOL));
        proxy
            .outcome()
            .must_be("no_common_alpn")
            .must_have("stage", "client_tls");
    }
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn a_route_can_match_the_offered_alpn_protocols() {
    let (acme, rest) = (Origin::echo(), Origin::echo());
    let proxy = Proxy::builder()
        .passthrough("a.test", &acme)
        .named("acme")
        .matching("alpn: [acme-tls/1]")
        .passthrough("a.test", &rest)
        .named("rest")
        .start();
    let offers = [
        vec!["acme-tls/1"],
        vec!["h2", "acme-tls/1"],
        vec!["h2"],
        vec![],
    ];
    for offer in offers {
        let hello = match offer.is_empty() {
            true => ForgedHello::new(b"a.test"),
            false => ForgedHello::new(b"a.test").alpn(&offer),
        };
        let client = proxy.dial("edge");
        client.must_echo(hello.bytes());
        client.end();
        client.receive_to_end();
        let route = if offer.contains(&"acme-tls/1") {
            "acme"
        } else {
            "rest"
        };
        proxy
            .outcome_of(&client)
            .must_be("ok")
            .must_have("route", route);
    }
    assert_eq!((acme.accepts(), rest.accepts()), (2, 2));
}

#[test]
fn the_negotiated_protocol_is_offered_to_the_origin() {
    let origin = Origin::with_tls()
        .alpn(&["http/1.1", "h2"])
        .serve(|stream| stream.send(stream.alpn().unwrap_or_default()));
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_tls("alpn: [h2, http/1.1]")
        .start();
    for protocol in ["h2", "http/1.1"] {
        let client = proxy.client("a.test").alpn(&[protocol]).connect();
        assert_eq!(client.receive(protocol.len()), protocol.as_bytes());
    }
}

#[test]
fn an_origin_that_selects_no_protocol_fails_before_any_byte() {
    let origin = Origin::with_tls().echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_tls("alpn: [h2]")
        .start();
    let client = proxy.client("a.test").alpn(&["h2"]).connect();
    client.send(b"not for this origin");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    let record = proxy.outcome_of(&client);
    record
        .must_be("origin_alpn")
        .must_have("stage", "origin_tls")
        .must_have("fault", "origin");
    assert_eq!(origin.bytes(), 0);
}

#[test]
fn an_origin_that_rejects_the_protocol_fails() {
    let origin = Origin::with_tls().alpn(&["http/1.1"]).echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .on_tls("alpn: [h2]")
        .start();
    let client = proxy.client("a.test").alpn(&["h2"]).connect();
    assert_eq!(client.receive_to_end().1, End::Reset);
    proxy.outcome_of(&client).must_be("origin_alpn");
}

#[test]
fn a_fixed_alpn_list_is_offered_whatever_the_client_offers() {
    let origin = Origin::with_tls()
        .alpn(&["http/1.1", "h2"])
        .serve(|stream| stream.send(stream.alpn().unwrap_or_default()));
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .origin_tls("{ ca: origin-ca.pem, server_name: origin.test, alpn: [http/1.1] }")
        .on_tls("alpn: [h2]")
        .start();
    for client in [proxy.client("a.test"), proxy.client("a.test").alpn(&["h2"])] {
        assert_eq!(client.connect().receive(8), b"http/1.1");
    }
}

#[test]
fn alpn_none_offers_nothing_to_the_origin() {
    let origin = Origin::with_tls()
        .alpn(&["h2"])
        .serve(|stream| stream.send(stream.alpn().unwrap_or_else(|| "nothing".to_owned())));
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .origin_tls("{ ca: origin-ca.pem, server_name: origin.test, alpn: none }")
        .on_tls("alpn: [h2]")
        .start();
    let client = proxy.client("a.test").alpn(&["h2"]).connect();
    assert_eq!(client.receive(7), b"nothing");
}

#[test]
fn in_passthrough_the_origin_negotiates_alpn() {
    let origin = Origin::tls(&pki().origin(&["a.test"])).alpn(&["h2"]).echo();
    let proxy = Proxy::builder().passthrough("a.test", &origin).start();
    let client = proxy.client("a.test").alpn(&["http/1.1", "h2"]).connect();
    assert_eq!(client.alpn().as_deref(), Some("h2"));
    client.must_echo(b"x");
}
