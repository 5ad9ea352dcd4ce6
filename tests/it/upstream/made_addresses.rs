//! Origins whose addresses are made of the names that clients ask for.

use std::net::SocketAddr;

use crate::harness::{
    ConfigCheck, Directory, DnsAnswer, End, Identity, Leaf, LetterOrigin, NameServer, Origin,
    Proxy, ProxyBuilder, Stream, eventually, pki, recorded_hello,
};

/// An edge that passes `*.test` and `**.deep.test` through to what their names lead to.
fn tenants(server: &NameServer, directory: &Directory, port: u16) -> ProxyBuilder {
    let origins = format!(
        "[{{ address: \"{{1}}.tenants.internal:{port}\", under: tenants.internal, loopback: true }}]"
    );
    Proxy::builder()
        .passthrough("*.test", &"127.0.0.1:1")
        .origins(&origins)
        .passthrough("**.deep.test", &"127.0.0.1:1")
        .origins(&origins)
        .resolving_by(server, directory)
}

/// A client whose hello is sent to an origin and echoed there, and the letter of that.
#[track_caller]
fn open(proxy: &Proxy, sni: &str) -> (Vec<u8>, Stream) {
    let (client, hello) = (proxy.dial("edge"), recorded_hello(sni));
    client.write_raw(&hello).unwrap();
    let letter = client.receive(1);
    assert_eq!(client.receive(hello.len()), hello);
    (letter, client)
}

#[track_caller]
fn letter(proxy: &Proxy, sni: &str) -> Vec<u8> {
    let (letter, client) = open(proxy, sni);
    client.end();
    letter
}

#[track_caller]
fn refused(proxy: &Proxy, sni: &str, reason: &str) -> crate::harness::Record {
    let client = proxy.dial("edge");
    client.write_raw(&recorded_hello(sni)).unwrap();
    client.receive_to_end();
    let record = proxy.outcome_of(&client);
    record.must_be(reason);
    record
}

fn addresses(origins: &[LetterOrigin]) -> Vec<SocketAddr> {
    origins.iter().map(LetterOrigin::address).collect()
}

#[test]
fn the_labels_that_the_wildcard_took_lead_to_the_origin() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origins = LetterOrigin::at_one_port("abc");
    let at = addresses(&origins);
    server.addresses("one.tenants.internal", &at[..1]);
    server.addresses("two.tenants.internal", &at[1..2]);
    server.addresses("x.two.tenants.internal", &at[2..]);
    let proxy = tenants(&server, &directory, at[0].port()).admin().start();
    for (sni, expected) in [
        ("one.test", b"a"),
        ("TWO.test", b"b"),
        ("x.two.deep.test", b"c"),
        ("one.deep.test", b"a"),
        ("one.test", b"a"),
    ] {
        assert_eq!(letter(&proxy, sni), expected, "{sni}");
        let record = proxy.outcome();
        let origin = format!("{{1}}.tenants.internal:{} (127.0.", at[0].port());
        assert!(record.text("origin").starts_with(&origin), "{record:?}");
    }
    // Names of clients are in no label of a metric, and in no line of the process's log.
    let page = proxy.metrics_at_rest();
    for (_, labels) in page.series() {
        assert!(
            !format!("{labels:?}").contains("one."),
            "a client's name is a label: {labels:?}"
        );
    }
    let log = proxy.log().join("\n");
    assert!(!log.contains("one.tenants"), "{log}");
}

#[test]
fn a_name_that_makes_no_address_or_has_none_is_refused() {
    let (server, directory) = (NameServer::new(), Directory::new());
    // Whatever resolv.conf searches, a name stays where it is.
    server.addresses(
        "lost.tenants.internal.search.test",
        &["127.0.0.1:1".parse().unwrap()],
    );
    let conf = format!(
        "{}search search.test\noptions ndots:9\n",
        server.resolv_conf()
    );
    let proxy = tenants(&server, &directory, 9)
        .resolving_by_files(&[("resolv.conf", &conf)], &directory)
        .start();
    refused(&proxy, "lost.test", "origin_resolve").must_have("stage", "resolve");
    for sni in ["a_b.test", "a_b.deep.test"] {
        let record = refused(&proxy, sni, "unknown_sni");
        record
            .must_have("stage", "route")
            .must_have("fault", "client");
        assert!(
            record.text("detail").contains("letters, digits"),
            "{record:?}"
        );
    }
    refused(&proxy, "deep.test", "origin_resolve");
    // The name of the client is short enough, and what would be made of it is not.
    let long = format!("{}.deep.test", ["a".repeat(59).as_str(); 4].join("."));
    refused(&proxy, &long, "unknown_sni");
}

/// Loopback, link-local and their kin in an answer are not dialled, in no form.
#[test]
fn an_answer_that_is_this_machine_or_its_link_is_refused() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origins = LetterOrigin::at_one_port("a");
    let at = addresses(&origins);
    server.addresses("here.tenants.internal", &at);
    for (name, ip) in [("any", [0, 0, 0, 0]), ("link", [169, 254, 169, 254])] {
        let answer = DnsAnswer::Addresses(vec![ip.into()], 1);
        server.set_answer(&format!("{name}.tenants.internal"), answer);
    }
    let port = at[0].port();
    let origins = format!("[{{ address: \"{{1}}.tenants.internal:{port}\", under: internal }}]");
    let proxy = Proxy::builder()
        .passthrough("*.test", &"127.0.0.1:1")
        .origins(&origins)
        .resolving_by(&server, &directory)
        .start();
    for sni in ["here.test", "any.test", "link.test"] {
        let record = refused(&proxy, sni, "origin_resolve");
        assert!(
            record.text("detail").contains("loopback: true"),
            "{record:?}"
        );
    }
}

#[test]
fn the_certificate_has_to_name_what_was_made() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let issue = |name: &str| pki().origins.issue(&Leaf::server(&[name]));
    let echo = |identity: &Identity| Origin::tls(identity).echo();
    let good = echo(&issue("one.tenants.internal"));
    server.addresses("one.tenants.internal", &["127.0.0.1:1".parse().unwrap()]);
    server.addresses("two.tenants.internal", &["127.0.0.1:1".parse().unwrap()]);
    let port = good.listen_addr().port();
    let origins = format!(
        "[{{ address: \"{{1}}.tenants.internal:{port}\", under: tenants.internal, loopback: true }}]"
    );
    let proxy = Proxy::builder()
        .route("reencrypt", "*.a.test", &"127.0.0.1:1")
        .certificate_for(&["*.a.test"])
        .origins(&origins)
        .origin_tls("{ ca: origin-ca.pem }")
        .resolving_by(&server, &directory)
        .start();
    let stream = proxy.client("one.a.test").connect();
    stream.must_echo(b"sealed");
    stream.end();
    proxy.outcome().must_be("ok");
    assert_ne!(proxy.client("two.a.test").refusal(), End::Clean);
    proxy.outcome().must_be("origin_tls_name");
}

/// Random names cost neither memory nor places of others, and a name in use goes on.
#[test]
fn a_flood_of_made_up_names_displaces_nobody() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origins = LetterOrigin::at_one_port("a");
    let at = addresses(&origins);
    server.addresses("one.tenants.internal", &at);
    let proxy = tenants(&server, &directory, at[0].port()).admin().start();
    let (first, live) = open(&proxy, "one.test");
    assert_eq!(first, b"a");
    for n in 0..600 {
        let client = proxy.dial("edge");
        client
            .write_raw(&recorded_hello(&format!("made-up-{n}.test")))
            .unwrap();
        client.receive_to_end();
        proxy.outcome_of(&client).must_be("origin_resolve");
    }
    assert_eq!(letter(&proxy, "one.test"), b"a");
    live.must_echo(b"still here");
    let list = proxy.ctl_json(&["origins"]);
    let kept = list["origins"].as_array().unwrap().len();
    assert!(kept <= 257, "{kept} names are kept");
}

#[test]
fn a_reload_keeps_connections_and_uses_the_new_addresses() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origins = LetterOrigin::at_one_port("ab");
    let at = addresses(&origins);
    server.addresses("one.tenants.internal", &at[..1]);
    server.addresses("one.other.internal", &at[1..]);
    let proxy = tenants(&server, &directory, at[0].port()).start();
    let (first, live) = open(&proxy, "one.test");
    assert_eq!(first, b"a");
    let text = proxy.text().replace("tenants.internal", "other.internal");
    proxy.reload(&text);
    eventually("new connections go to the new address", || {
        letter(&proxy, "one.test") == b"b"
    });
    // As for an origin that was renamed: its connections drain, and are not cut.
    live.must_echo(b"still here");
}

#[test]
fn an_address_that_clients_could_lead_anywhere_is_an_error() {
    let good = "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    routes:
      - { name: tenants, match: { sni: \"*.test\" }, mode: passthrough, upstream: tenants }
upstreams:
  tenants:
    origins: [{ address: \"{1}.tenants.internal:443\", under: tenants.internal }]
";
    let check = ConfigCheck::new(good);
    check.must_be_good();
    check
        .explain(&["--sni", "one.test"])
        .must_exit_with(0)
        .must_print("at one.tenants.internal.:443");
    check
        .explain(&["--sni", "a_b.test"])
        .must_exit_with(1)
        .must_print("refused: unknown_sni");
    for (old, new, about, words) in [
        (
            ", under: tenants.internal",
            "",
            "\"{1}",
            &["without `under`", "under: DOMAIN"][..],
        ),
        (
            "under: tenants",
            "under: others",
            "\"{1}",
            &["not below `under`", ".others.internal"],
        ),
        (
            "under: tenants",
            "under: x.tenants",
            "\"{1}",
            &["not below `under`"],
        ),
        (
            "{1}.tenants.internal:443",
            "{1}:443",
            "\"{1}",
            &["choose any domain"],
        ),
        (
            "{1}.tenants.internal:443",
            "{1}-tenants:443",
            "\"{1}",
            &["choose any domain"],
        ),
        (
            "{1}.tenants",
            "{2}.tenants",
            "\"{2}",
            &["not exactly one `{1}`"],
        ),
        (
            "{1}.tenants",
            "{1}.{1}.tenants",
            "\"{1}",
            &["not exactly one `{1}`"],
        ),
        (
            "{1}.tenants",
            "one.tenants",
            "tenants.internal }]",
            &["`under` beside an address without"],
        ),
        (
            "\"*.test\"",
            "one.test",
            "one.test",
            &["this name has no wildcard"],
        ),
        (
            "\"*.test\"",
            "[\"*.test\", one.test]",
            "one.test]",
            &["this name has no wildcard"],
        ),
        (
            "    routes",
            "    default_route: tenants\n    routes",
            "tenants\n",
            &["the default route"],
        ),
        (
            "internal }]",
            "internal }]\n    health: { check: tcp }",
            "tcp",
            &["passive: {}"],
        ),
        (
            "internal }]",
            "internal }, 127.0.0.1:9]",
            "127.0.0.1:9",
            &["a fixed address beside"],
        ),
    ] {
        ConfigCheck::new(&good.replace(old, new)).must_report(about, words);
    }
    let plain = good
        .replace(
            "listen: 127.0.0.1:0",
            "listen: 127.0.0.1:0\n    protocol: tcp",
        )
        .replace(
            "match: { sni: \"*.test\" }, mode: passthrough",
            "mode: forward",
        );
    ConfigCheck::new(&plain).must_report("tenants,", &["send no name"]);
}
