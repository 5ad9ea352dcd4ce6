//! `explain` predicts what a live connection gets.

use crate::harness::{
    Client, Finished, Identity, Leaf, Origin, Proxy, pki, recorded_hello, reseal,
};

fn proxy(origin: &Origin) -> Proxy {
    Proxy::builder()
        .terminate("a.test", origin)
        .on_route("client_auth: { mode: required, ca: client-ca.pem, allow: [{ common_name: [bob] }, { dns: \
            [alice.clients.test] }] }")
        .terminate("*.wild.test", origin)
        .on_route("alpn: [h2]")
        .passthrough("through.test", origin)
        .start()
}

#[track_caller]
fn explain(proxy: &Proxy, arguments: &[&str]) -> Finished {
    let config = proxy.directory().join("config.yaml");
    let config = config.to_str().unwrap();
    let words = ["explain", "--config", config, "--endpoint", "edge"];
    reseal(&[&words[..], arguments].concat())
}

fn client(proxy: &Proxy, sni: &str, alpn: Option<&str>, identity: Option<&Identity>) -> Client {
    let mut client = proxy.client(sni);
    if let Some(alpn) = alpn {
        client = client.alpn(&[alpn]);
    }
    if let Some(identity) = identity {
        client = client.certificate(identity);
    }
    client
}

#[test]
fn explain_and_a_live_connection_give_the_same_reason() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let alice = pki().client("alice");
    let expired = pki().clients.issue(&Leaf::client("alice").expired());
    let stranger = pki().stranger.issue(&Leaf::client("alice"));
    let mallory = pki().client("mallory");
    for (sni, alpn, identity, reason) in [
        ("a.test", None, Some(&alice), None),
        ("A.Test", None, Some(&alice), None),
        ("a.test", None, None, Some("client_cert_missing")),
        ("a.test", None, Some(&expired), Some("client_cert_expired")),
        (
            "a.test",
            None,
            Some(&stranger),
            Some("client_cert_unknown_ca"),
        ),
        (
            "a.test",
            None,
            Some(&mallory),
            Some("client_cert_not_allowed"),
        ),
        ("b.wild.test", None, None, None),
        ("b.wild.test", Some("h2"), None, None),
        ("b.wild.test", Some("spdy"), None, Some("no_common_alpn")),
        ("wild.test", None, None, Some("unknown_sni")),
        ("a.b.wild.test", None, None, Some("unknown_sni")),
    ] {
        let mut arguments = vec!["--sni", sni];
        if let Some(alpn) = alpn {
            arguments.extend(["--alpn", alpn]);
        }
        let file = identity.map(|identity| proxy.directory().write("client.pem", &identity.cert));
        if let Some(file) = &file {
            arguments.extend(["--client-cert", file.to_str().unwrap()]);
        }
        let explained = explain(&proxy, &arguments);
        let live = client(&proxy, sni, alpn, identity);
        match reason {
            None => {
                explained
                    .must_exit_with(0)
                    .must_print("verdict       allowed");
                let stream = live.connect();
                stream.must_echo(b"x");
                stream.end();
                proxy.outcome().must_be("ok");
            }
            Some(reason) => {
                explained
                    .must_exit_with(1)
                    .must_print(&format!("refused: {reason} "));
                live.refusal();
                proxy.outcome().must_be(reason);
            }
        }
    }
}

#[test]
fn explain_prints_the_deciding_rule_and_why_other_routes_lost() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let file = proxy
        .directory()
        .write("client.pem", &pki().client("alice").cert);
    explain(
        &proxy,
        &["--sni", "a.test", "--client-cert", file.to_str().unwrap()],
    )
    .must_exit_with(0)
    .must_print("admitted by rule 2: { dns: [alice.clients.test] }")
    .must_print("a.test: wins")
    .must_print("other routes  2, not for this server name; --all lists them");
    explain(&proxy, &["--sni", "a.test", "--all"])
        .must_print("a.test: wins")
        .must_print("through.test: is not for this server name");
    explain(&proxy, &["--sni", "through.test"])
        .must_exit_with(0)
        .must_print("passthrough");
}

#[test]
fn explain_reads_a_captured_hello() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let hello = recorded_hello("through.test");
    let file = proxy.directory().write("hello.bin", &hello);
    let file = file.to_str().unwrap();
    explain(&proxy, &["--hello", file])
        .must_exit_with(0)
        .must_print("through.test: wins");
    proxy
        .directory()
        .write("hello.bin", &hello[..hello.len() - 1]);
    explain(&proxy, &["--hello", file])
        .must_exit_with(1)
        .must_print("hello_malformed");
}

#[test]
fn explain_lists_known_names_for_an_unknown_one() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let config = proxy.directory().join("config.yaml");
    let words = [
        "explain",
        "--config",
        config.to_str().unwrap(),
        "--endpoint",
        "egde",
    ];
    reseal(&words).must_exit_with(2).must_print("`edge`");
    explain(
        &proxy,
        &["--sni", "a.test", "--client-cert", "/nowhere.pem"],
    )
    .must_exit_with(2)
    .must_print("/nowhere.pem");
}

#[test]
fn explain_names_the_failing_part_of_each_rule() {
    let origin = Origin::echo();
    let proxy = proxy(&origin);
    let mallory = proxy
        .directory()
        .write("client.pem", &pki().client("mallory").cert);
    explain(
        &proxy,
        &[
            "--sni",
            "a.test",
            "--client-cert",
            mallory.to_str().unwrap(),
        ],
    )
    .must_exit_with(1)
    .must_print("no rule of `allow` admits")
    .must_print("mallory.clients.test")
    .must_print("not met: common_name")
    .must_print("not met: dns");
}

#[test]
fn explain_does_not_guess_the_source_address() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .passthrough("a.test", &origin)
        .matching("source: [10.0.0.0/8]")
        .start();
    explain(&proxy, &["--sni", "a.test"])
        .must_exit_with(2)
        .must_print("--source IP");
    explain(&proxy, &["--sni", "a.test", "--source", "10.1.1.1"])
        .must_exit_with(0)
        .must_print("a.test: wins");
    explain(&proxy, &["--sni", "a.test", "--source", "11.1.1.1"])
        .must_exit_with(1)
        .must_print("no_route");
}

#[test]
fn explain_prints_the_alpn_offered_to_the_origin() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("t.test", &origin)
        .on_tls("alpn: [h2, http/1.1]")
        .reencrypt("f.test", &origin)
        .reencrypt("l.test", &origin)
        .origin_tls("{ ca: origin-ca.pem, server_name: origin.test, alpn: [http/1.1] }")
        .reencrypt("n.test", &origin)
        .origin_tls("{ ca: origin-ca.pem, server_name: origin.test, alpn: none }")
        .start();
    for (sni, said) in [
        ("t.test", "plaintext without ALPN: it must expect h2"),
        ("f.test", "is offered h2, and must select it"),
        ("l.test", "is offered http/1.1, and not h2"),
        ("n.test", "is offered no ALPN, and must expect h2"),
    ] {
        explain(&proxy, &["--sni", sni, "--alpn", "h2"])
            .must_exit_with(0)
            .must_print(said);
    }
    let without = explain(&proxy, &["--sni", "f.test"]);
    assert!(
        !without.text().contains("origin ALPN"),
        "{}",
        without.text()
    );
}

#[test]
fn explain_names_the_pattern_that_owns_the_name() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.wild.test", &origin)
        .matching("source: [10.0.0.0/8]")
        .terminate("*.wild.test", &origin)
        .passthrough("through.test", &origin)
        .on_endpoint("default_route: { route: through.test }")
        .start();
    let arguments = ["--sni", "a.wild.test", "--source", "192.0.2.1"];
    explain(&proxy, &arguments)
        .must_exit_with(1)
        .must_print("a.wild.test: the client's address is not in its match.source")
        .must_print("any.wild.test: matches, but `a.wild.test` is more specific and owns the name")
        .must_print("through.test: is the default route, but `a.wild.test` owns the name")
        .must_print("no_route");
}
