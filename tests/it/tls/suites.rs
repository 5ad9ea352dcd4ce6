//! Cipher suites and groups: which are used, and which side chooses.

use crate::harness::{Origin, Proxy, Record, output};

/// How a connection of `openssl s_client` with these arguments ended.
fn outcome(proxy: &Proxy, arguments: &[&str]) -> Record {
    let address = proxy.listen_addr("edge").to_string();
    let mut all = vec!["s_client", "-connect", &address, "-servername", "a.test"];
    all.extend(arguments);
    output("openssl", &all, "");
    proxy.outcome()
}

fn start(tls: &[&str]) -> Proxy {
    let origin = Origin::echo();
    let draft = Proxy::builder().terminate("a.test", &origin);
    let proxy = tls
        .iter()
        .fold(draft, |draft, line| draft.on_tls(line))
        .start();
    // The origin is not needed again: no test here sends data.
    std::mem::forget(origin);
    proxy
}

const AES_256: &str = "TLS_AES_256_GCM_SHA384";
const AES_128: &str = "TLS_AES_128_GCM_SHA256";
const CHACHA: &str = "TLS_CHACHA20_POLY1305_SHA256";

#[test]
fn aes_128_comes_first_unless_the_client_puts_chacha_first() {
    let proxy = start(&[]);
    for (offered, chosen) in [
        (vec![AES_256, CHACHA, AES_128], AES_128),
        (vec![AES_128, CHACHA], AES_128),
        (vec![CHACHA, AES_128, AES_256], CHACHA),
        (vec![AES_256], AES_256),
    ] {
        let record = outcome(&proxy, &["-tls1_3", "-ciphersuites", &offered.join(":")]);
        record.must_be("ok").must_have("tls_cipher", chosen);
    }
    for (offered, chosen) in [
        (
            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ),
        (
            "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
    ] {
        let record = outcome(&proxy, &["-tls1_2", "-cipher", offered]);
        record.must_be("ok").must_have("tls_cipher", chosen);
    }
    let record = outcome(&proxy, &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"]);
    record.must_be("no_common_cipher");
}

#[test]
fn only_listed_suites_are_used_in_their_order() {
    let list =
        format!("cipher_suites: [{AES_256}, {AES_128}, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]");
    let proxy = start(&[&list]);
    let all = [CHACHA, AES_128, AES_256].join(":");
    outcome(&proxy, &["-tls1_3", "-ciphersuites", &all])
        .must_be("ok")
        .must_have("tls_cipher", AES_256);
    outcome(&proxy, &["-tls1_3", "-ciphersuites", CHACHA]).must_be("no_common_cipher");
    outcome(&proxy, &["-tls1_2"])
        .must_have("tls_cipher", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
}

#[test]
fn only_listed_groups_are_used() {
    let proxy = start(&["groups: [secp384r1, X25519]"]);
    for version in ["-tls1_2", "-tls1_3"] {
        // The client's order counts.
        for (offered, chosen) in [
            ("P-256:P-384:X25519", "secp384r1"),
            ("X25519:P-384:P-256", "x25519"),
        ] {
            outcome(&proxy, &[version, "-groups", offered])
                .must_be("ok")
                .must_have("tls_group", chosen);
        }
        outcome(&proxy, &[version, "-groups", "P-256"]).must_be("no_common_group");
    }
    let proxy = start(&[]);
    for (offered, chosen) in [
        ("P-256", "secp256r1"),
        ("P-384", "secp384r1"),
        ("X25519", "x25519"),
    ] {
        outcome(&proxy, &["-groups", offered]).must_have("tls_group", chosen);
    }
    outcome(&proxy, &["-groups", "P-521"]).must_be("no_common_group");
}
