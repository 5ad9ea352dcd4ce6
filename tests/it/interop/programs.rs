//! `openssl s_client` as a client, against every kind of response.

use crate::harness::{Leaf, Origin, Proxy, output, pki};

/// Runs `openssl s_client` for `sni` with this text as its input.
#[track_caller]
fn s_client(proxy: &Proxy, sni: &str, more: &[&str], typed: &str) -> crate::harness::Finished {
    let address = proxy.listen_addr("edge").to_string();
    let ca = proxy.directory().join("edge-ca.pem").display().to_string();
    let mut arguments = vec![
        "s_client",
        "-connect",
        &address,
        "-servername",
        sni,
        "-CAfile",
        &ca,
        "-verify_return_error",
        "-brief",
    ];
    arguments.extend(more);
    output("openssl", &arguments, typed)
}

/// An origin that answers one line and then ends.
fn answering() -> Origin {
    Origin::plain().serve(|stream| {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            match stream.read() {
                Ok(data) => line.extend(data),
                Err(_) => return,
            }
        }
        stream.send([b"you said ".as_slice(), &line].concat());
        stream.end();
        stream.receive_to_end();
    })
}

#[test]
fn openssl_connects_with_both_versions_in_terminate() {
    let origin = answering();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let finished = s_client(&proxy, "a.test", &[flag, "-ign_eof"], "hello\n");
        assert!(
            finished.stdout.contains("you said hello"),
            "{}",
            finished.text()
        );
        finished.must_print(version).must_print("Verification: OK");
        let record = proxy.outcome();
        record
            .must_have("tls_version", version)
            .must_have("sni", "a.test");
    }
}

#[test]
fn openssl_presents_its_certificate() {
    let origin = answering();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("client_auth: { mode: required, ca: client-ca.pem }")
        .start();
    for (name, identity, reason) in [
        ("alice", pki().client("alice"), None),
        (
            "late",
            pki().clients.issue(&Leaf::client("late").expired()),
            Some("client_cert_expired"),
        ),
    ] {
        let cert = proxy
            .directory()
            .write(&format!("{name}.pem"), &identity.cert)
            .display()
            .to_string();
        let key = proxy
            .directory()
            .write(&format!("{name}.key"), &identity.key)
            .display()
            .to_string();
        for version in ["-tls1_2", "-tls1_3"] {
            let arguments = [version, "-ign_eof", "-cert", &cert, "-key", &key];
            let finished = s_client(&proxy, "a.test", &arguments, "hello\n");
            let record = proxy.outcome();
            assert_eq!(
                record["client_cert"]["subject"],
                format!("CN={name}").as_str()
            );
            match reason {
                None => assert!(
                    finished.stdout.contains("you said hello"),
                    "{}",
                    finished.text()
                ),
                Some(reason) => {
                    record.must_be(reason);
                    finished.must_print("alert certificate expired");
                    assert!(!finished.stdout.contains("you said"), "{}", finished.text());
                }
            }
        }
    }
    let finished = s_client(&proxy, "a.test", &["-ign_eof"], "hello\n");
    finished.must_print("alert certificate required");
    proxy.outcome().must_be("client_cert_missing");
}

#[test]
fn openssl_receives_the_alert_of_each_refusal() {
    let origin = answering();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_tls("alpn: [h2]")
        .start();
    let cases: [(&str, &[&str], &str, &str); 3] = [
        ("b.test", &[], "unrecognized name", "unknown_sni"),
        (
            "a.test",
            &["-alpn", "acme"],
            "no application protocol",
            "no_common_alpn",
        ),
        (
            "a.test",
            &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
            "protocol version",
            "no_common_version",
        ),
    ];
    for (sni, more, words, reason) in cases {
        let finished = s_client(&proxy, sni, more, "");
        assert_ne!(finished.code, Some(0), "{}", finished.text());
        finished.must_print(words);
        proxy.outcome().must_be(reason);
    }
    assert_eq!(origin.accepts(), 0);
}

#[test]
fn openssl_resumes_its_session() {
    let origin = answering();
    let proxy = Proxy::builder().terminate("a.test", &origin).start();
    for version in ["-tls1_2", "-tls1_3"] {
        let file = proxy
            .directory()
            .join(&format!("session{version}"))
            .display()
            .to_string();
        // It stays until the end, because tickets follow the handshake.
        s_client(
            &proxy,
            "a.test",
            &[version, "-ign_eof", "-sess_out", &file],
            "one\n",
        )
        .must_print("you said one");
        s_client(
            &proxy,
            "a.test",
            &[version, "-ign_eof", "-sess_in", &file],
            "two\n",
        )
        .must_print("you said two");
        let [first, second] = <[_; 2]>::try_from(proxy.outcomes(2)).unwrap();
        assert_eq!(
            (&first["tls_resumed"], &second["tls_resumed"]),
            (&false.into(), &true.into()),
            "{version}"
        );
    }
}
