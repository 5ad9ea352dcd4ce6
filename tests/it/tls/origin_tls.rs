//! TLS towards origins: an origin gets no data before it is verified.

use crate::harness::{End, Identity, Leaf, Origin, Proxy, Record, pki};

const TRUSTING: &str = "{ ca: origin-ca.pem, server_name: origin.test }";

/// The record and end of a client whose origin presents `identity`. The origin must not have received a
/// byte of the client.
#[track_caller]
fn failure(identity: &Identity, origin_tls: &str) -> (Record, End) {
    let origin = Origin::tls(identity).echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .origin_tls(origin_tls)
        .start();
    let client = proxy.client("a.test").connect();
    client.send(b"a secret for the real origin");
    let (data, end) = client.receive_to_end();
    assert_eq!((data, end), (vec![], End::Reset));
    let record = proxy.outcome_of(&client);
    record
        .must_have("stage", "origin_tls")
        .must_have("fault", "origin");
    assert_eq!((record.number("bytes_up"), origin.bytes()), (0, 0));
    assert_eq!(origin.accepts(), 1, "a failure of trust is final");
    (record, origin.failed_handshake())
}

#[test]
fn an_origin_of_an_unknown_authority_is_refused_by_default() {
    // Nothing is configured: the public CAs are trusted, and ours is not one of them.
    let (record, seen) = failure(
        &pki().origin(&["origin.test"]),
        "{ server_name: origin.test }",
    );
    record.must_be("origin_tls_untrusted");
    assert_eq!(seen, End::Alert(48), "unknown_ca");
    let stranger = pki().stranger.issue(&Leaf::server(&["origin.test"]));
    failure(&stranger, TRUSTING)
        .0
        .must_be("origin_tls_untrusted");
}

#[test]
fn an_origin_of_another_name_is_refused() {
    let (record, _) = failure(&pki().origin(&["other.test"]), TRUSTING);
    record.must_be("origin_tls_name");
    // Without server_name the origin's host is verified.
    let (record, _) = failure(&pki().origin(&["origin.test"]), "{ ca: origin-ca.pem }");
    record.must_be("origin_tls_name");
}

#[test]
fn an_origin_with_an_expired_certificate_is_refused() {
    let expired = pki()
        .origins
        .issue(&Leaf::server(&["origin.test"]).expired());
    let (record, seen) = failure(&expired, TRUSTING);
    record.must_be("origin_tls_expired");
    assert_eq!(seen, End::Alert(45), "certificate_expired");
    let early = pki().origins.issue(&Leaf::server(&["origin.test"]).early());
    failure(&early, TRUSTING).0.must_be("origin_tls_expired");
}

#[test]
fn a_client_certificate_does_not_identify_an_origin() {
    let identity = pki().origins.issue(&Leaf::client("origin"));
    let tls = "{ ca: origin-ca.pem, server_name: origin.clients.test }";
    failure(&identity, tls).0.must_be("origin_tls_untrusted");
}

/// The server name that is sent to an origin with a certificate for `names`, or the reason of failure.
#[track_caller]
fn name_sent(names: &[&str], origin_tls: &str, sni: &str) -> Result<String, String> {
    let origin = Origin::tls(&pki().origin(names)).serve(|stream| {
        stream.send(stream.server_name().unwrap_or_else(|| "none".to_owned()));
        stream.end();
        stream.receive_to_end();
    });
    let proxy = Proxy::builder()
        .reencrypt(sni, &origin)
        .origin_tls(origin_tls)
        .start();
    let client = proxy.client(sni).connect();
    let (data, _) = client.receive_to_end();
    client.end();
    let record = proxy.outcome_of(&client);
    match record.reason() {
        "ok" => Ok(String::from_utf8(data).unwrap()),
        reason => Err(reason.to_owned()),
    }
}

#[test]
fn the_configured_name_is_sent_and_verified() {
    assert_eq!(
        name_sent(&["origin.test"], TRUSTING, "a.test").as_deref(),
        Ok("origin.test")
    );
}

#[test]
fn an_origin_given_by_address_is_verified_by_address_and_sent_no_name() {
    let sent = name_sent(&["127.0.0.1"], "{ ca: origin-ca.pem }", "a.test");
    assert_eq!(sent.as_deref(), Ok("none"));
}

#[test]
fn sni_none_sends_no_name_and_still_verifies_it() {
    let tls = "{ ca: origin-ca.pem, server_name: origin.test, sni: none }";
    assert_eq!(
        name_sent(&["origin.test"], tls, "a.test").as_deref(),
        Ok("none")
    );
    assert_eq!(
        name_sent(&["other.test"], tls, "a.test").unwrap_err(),
        "origin_tls_name"
    );
}

#[test]
fn sni_client_sends_and_verifies_the_clients_name() {
    let tls = "{ ca: origin-ca.pem, sni: client }";
    assert_eq!(
        name_sent(&["a.test"], tls, "a.test").as_deref(),
        Ok("a.test")
    );
    assert_eq!(
        name_sent(&["origin.test"], tls, "a.test").unwrap_err(),
        "origin_tls_name"
    );
    let tls = "{ ca: origin-ca.pem, sni: client, server_name: origin.test }";
    assert_eq!(
        name_sent(&["origin.test"], tls, "a.test").as_deref(),
        Ok("a.test")
    );
}

#[test]
fn an_origin_can_have_its_own_name() {
    let origin = Origin::tls(&pki().origin(&["one.test"])).echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .origins(&format!(
            "[{{ address: \"{origin}\", server_name: one.test, name: first }}]"
        ))
        .start();
    let client = proxy.client("a.test").connect();
    client.must_echo(b"x");
    client.end();
    client.receive_to_end();
    let record = proxy.outcome_of(&client);
    record
        .must_be("ok")
        .must_have("origin", &format!("first ({origin})"));
}

#[test]
fn our_certificate_is_presented_to_an_origin_that_requests_one() {
    let origin = Origin::with_tls().requiring_certificate().serve(|stream| {
        let received = stream.peer_certificate().unwrap();
        stream.send(received);
        stream.end();
        stream.receive_to_end();
    });
    let own = pki().client("proxy");
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .file("own.pem", &own.cert)
        .file("own.key", &own.key)
        .origin_tls(
            "{ ca: origin-ca.pem, server_name: origin.test, client_certificate: { cert: own.pem, \
             key: own.key } }",
        )
        .start();
    let client = proxy.client("a.test").connect();
    let (received, end) = client.receive_to_end();
    assert_eq!((received, end), (own.chain()[0].to_vec(), End::Clean));
    client.end();
    proxy.outcome_of(&client).must_be("ok");
}

#[test]
fn an_origin_that_requires_a_certificate_and_gets_none_has_its_own_reason() {
    for draft in [Origin::with_tls(), Origin::with_tls().tls12()] {
        let origin = draft.requiring_certificate().echo();
        let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
        let client = proxy.client("a.test").connect();
        client.send(b"hello?");
        assert_eq!(client.receive_to_end(), (vec![], End::Reset));
        let record = proxy.outcome_of(&client);
        record
            .must_be("origin_rejected_certificate")
            .must_have("stage", "origin_tls");
        record.must_have("fault", "origin");
        assert_eq!(origin.bytes(), 0);
    }
}

#[test]
fn verification_can_be_turned_off_and_is_warned_about() {
    let stranger = pki()
        .stranger
        .issue(&Leaf::server(&["other-name.test"]).expired());
    let origin = Origin::tls(&stranger).echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .origin_tls("{ verify: danger-none }")
        .start();
    let warning = proxy.log_line(|line| line.contains("danger-none"));
    assert!(
        warning.contains("\"level\":\"warn\"") && warning.contains("config.yaml:"),
        "{warning}"
    );
    proxy.client("a.test").connect().must_echo(b"to whomever");
}

#[test]
fn a_second_connection_resumes_the_first_ones_session() {
    for draft in [Origin::with_tls(), Origin::with_tls().tls12()] {
        let origin = draft.echo();
        let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
        for resumed in [false, true] {
            let client = proxy.client("a.test").connect();
            client.must_echo(b"x");
            client.end();
            client.receive_to_end();
            let record = proxy.outcome_of(&client);
            assert_eq!(
                record.must_be("ok")["origin_tls_resumed"],
                resumed,
                "{record:?}"
            );
        }
    }
}

#[test]
fn resumption_towards_origins_can_be_turned_off() {
    let origin = Origin::with_tls().echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .origin_tls("{ ca: origin-ca.pem, server_name: origin.test, resumption: off }")
        .start();
    for _ in 0..2 {
        let client = proxy.client("a.test").connect();
        client.must_echo(b"x");
        client.end();
        client.receive_to_end();
        assert_eq!(proxy.outcome_of(&client)["origin_tls_resumed"], false);
    }
}

#[test]
fn an_origin_older_than_the_configured_version_is_refused() {
    let origin = Origin::with_tls().tls12().echo();
    let proxy = Proxy::builder()
        .reencrypt("a.test", &origin)
        .origin_tls("{ ca: origin-ca.pem, server_name: origin.test, min_version: 1.3 }")
        .start();
    let client = proxy.client("a.test").connect();
    assert_eq!(client.receive_to_end().1, End::Reset);
    proxy
        .outcome_of(&client)
        .must_be("origin_tls_error")
        .must_have("stage", "origin_tls");
}

#[test]
fn an_origin_without_tls_is_named_with_the_way_out() {
    let banners: [(&'static [u8], &str, &str); 6] = [
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "SSH", "`mode: forward`"),
        (
            b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
            "HTTP without TLS",
            "https",
        ),
        (b"220 mail.test ESMTP ready\r\n", "SMTP or FTP", "465"),
        (
            b"\x4a\0\0\0\x0a8.0.36\0",
            "MySQL's greeting",
            "`mode: forward`",
        ),
        // Shorter than the header of a record.
        (b"N", "PostgreSQL", "`ssl = on`"),
        (b"OK\n", "text without TLS (\"OK\")", "`mode: terminate`"),
    ];
    for (banner, what, way_out) in banners {
        let origin = Origin::plain().serve(move |stream| {
            stream.send(banner);
            stream.receive_to_end();
        });
        let proxy = Proxy::builder()
            .reencrypt("a.test", &origin)
            .originate(&origin)
            .start();
        let client = proxy.client("a.test").connect();
        assert_eq!(
            client.receive_to_end(),
            (vec![], End::Reset),
            "a banner is never relayed"
        );
        let outcome = proxy.outcome_of(&client);
        outcome
            .must_be("origin_not_tls")
            .must_have("stage", "origin_tls");
        let detail = outcome.text("detail");
        assert!(
            detail.contains(what) && detail.contains(way_out),
            "{detail}"
        );
        let client = proxy.dial("originate");
        assert_eq!(client.receive_to_end(), (vec![], End::Reset));
        proxy.outcome_of(&client).must_be("origin_not_tls");
    }
}

#[test]
fn an_origin_that_answers_nothing_is_told_as_such() {
    let silent = Origin::plain().serve(|stream| {
        stream.receive_to_end();
    });
    let closing = Origin::plain().serve(|stream| {
        stream.read().ok();
    });
    let proxy = Proxy::builder()
        .reencrypt("silent.test", &silent)
        .on_upstream("connect: { timeout: 300ms, attempts: 1 }")
        .reencrypt("closing.test", &closing)
        .on_upstream("connect: { timeout: 300ms, attempts: 1 }")
        .start();
    for (name, reason) in [
        ("silent.test", "origin_tls_timeout"),
        ("closing.test", "origin_closed"),
    ] {
        let client = proxy.client(name).connect();
        assert_eq!(client.receive_to_end(), (vec![], End::Reset));
        let outcome = proxy.outcome_of(&client);
        outcome.must_be(reason);
        let detail = outcome.text("detail");
        assert!(detail.contains("sent nothing"), "{detail}");
    }
}

#[test]
fn a_banner_before_the_tls_of_a_real_origin_is_never_relayed() {
    // An attacker in between injects a line; the handshake then continues normally.
    let inner = Origin::with_tls().echo();
    let place = inner.listen_addr().clone();
    let origin = Origin::plain().serve(move |stream| {
        stream.send(b"HTTP/1.1 200 OK\r\n\r\nforged");
        let real = crate::harness::Stream::dial(&place).unwrap();
        while let Ok(data) = stream.read() {
            if real.try_send(&data).is_err() {
                return;
            }
        }
    });
    let proxy = Proxy::builder().reencrypt("a.test", &origin).start();
    let client = proxy.client("a.test").connect();
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy.outcome_of(&client).must_be("origin_not_tls");
    assert_eq!(inner.bytes(), 0);
}
