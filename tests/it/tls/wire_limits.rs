//! Material that does not fit on the wire is reported when it is loaded, with a fix.

use rcgen::CustomExtension;

use crate::harness::{Authority, ConfigCheck, Identity, Leaf, Origin, Proxy, pki};

/// The names of these CAs take 219 bytes each; the limit is 64 511 bytes.
const MOST: usize = 294;

fn requesting(more: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: {{ certificates: [{{ cert: good.pem, key: good.key }}] }}\n\
         \x20   routes: [{{ name: a, mode: terminate, upstream: up, match: {{ sni: a.test }}, \
         client_auth: {{ mode: required, ca: many.pem{more} }} }}]\n\
         upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
    ))
}

#[test]
fn more_ca_names_than_a_request_holds_are_refused_with_a_fix() {
    let many = Authority::crowd(MOST + 1);
    requesting("")
        .with_file("many.pem", &many, 0o644)
        .must_report("many.pem", &["many.pem", "send_ca_names: false"]);
    requesting(", send_ca_names: false")
        .with_file("many.pem", &many, 0o644)
        .must_be_good();
    requesting("")
        .with_file("many.pem", Authority::crowd(150), 0o644)
        .must_warn("many.pem", &["Java", "send_ca_names: false"]);
    requesting("")
        .with_file("many.pem", Authority::crowd(140), 0o644)
        .must_be_good();
}

#[test]
fn the_longest_accepted_list_of_ca_names_can_be_read() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_route("client_auth: { mode: required, ca: many.pem }")
        .file("many.pem", pki().clients.pem() + &Authority::crowd(MOST))
        .start();
    let alice = pki().client("alice");
    let client = || proxy.client("a.test").certificate(&alice);
    client().tls12().connect().must_echo(b"1.2");
    client().tls13().connect().must_echo(b"1.3");
}

/// A certificate for `a.test` with an extension of this many bytes.
fn padded(bytes: usize) -> Identity {
    let padding = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![0; bytes]);
    let leaf = Leaf::server(&["a.test"]).extension(padding);
    pki().edge.issue(&leaf.shaped(|params| {
        params
            .extended_key_usages
            .push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    }))
}

#[test]
fn a_chain_too_long_for_peers_is_reported_for_clients_and_origins() {
    let text = |client_certificate: &str, certificate: &str| {
        format!(
            "endpoints:\n\
             \x20 - name: edge\n\
             \x20   listen: 127.0.0.1:4430\n\
             \x20   tls: {{ certificates: [{{ cert: {certificate}.pem, key: {certificate}.key }}] }}\n\
             \x20   routes: [{{ name: a, mode: reencrypt, upstream: up, match: {{ sni: a.test }} }}]\n\
             upstreams:\n\
             \x20 up:\n\
             \x20   origins: [\"127.0.0.1:9\"]\n\
             \x20   tls: {{ ca: origin-ca.pem, server_name: a.test{client_certificate} }}\n"
        )
    };
    let own = ", client_certificate: { cert: own.pem, key: own.key }";
    for (text, what) in [(text("", "own"), "own.pem"), (text(own, "good"), "own.pem")] {
        let with = |bytes| ConfigCheck::new(&text).with_identity("own", &padded(bytes));
        with(30 * 1024).must_be_good();
        with(40 * 1024).must_warn(what, &["own.pem", "Java"]);
        with(110 * 1024).must_report(what, &["own.pem", "OpenSSL takes no more"]);
    }
}

#[test]
fn duplicates_are_reported_and_protocols_must_fit() {
    let with = |tls: &str, upstream: &str| {
        ConfigCheck::new(&format!(
            "endpoints:\n\
             \x20 - name: edge\n\
             \x20   listen: 127.0.0.1:4430\n\
             \x20   tls: {{ certificates: [{{ cert: good.pem, key: good.key }}]{tls} }}\n\
             \x20   routes: [{{ name: a, mode: reencrypt, upstream: up, match: {{ sni: a.test }} }}]\n\
             upstreams:\n\
             \x20 up:\n\
             \x20   origins: [\"127.0.0.1:9\"]\n\
             \x20   tls:\n\
             \x20     ca: origin-ca.pem\n\
             \x20     server_name: a.test\n{upstream}"
        ))
    };
    let groups = |list: &str| format!("\x20     groups: [{list}]\n");
    let twice = "`X25519` is in this list already";
    with(", groups: [X25519, secp256r1]", &groups("X25519")).must_be_good();
    with(", groups: [secp256r1, secp256r1]", "")
        .must_warn("secp256r1] }", &["`secp256r1` is in this list already"]);
    with("", &groups("X25519, secp384r1, X25519")).must_warn("X25519]", &[twice]);
    let alpn = |protocols: Vec<String>| {
        let lines = protocols
            .iter()
            .map(|name| format!("\x20       - \"{name}\"\n"));
        format!("\x20     alpn:\n{}", lines.collect::<String>())
    };
    with("", &alpn(vec!["h2".to_owned(), "h2".to_owned()]))
        .check(&["--strict"])
        .must_exit_with(1)
        .must_print("`h2` is in this list already");
    let many = (0..40).map(|n| format!("{n:0>250}")).collect();
    with("", &alpn(many))
        .check(&[])
        .must_exit_with(1)
        .must_print("these protocols take 10040 bytes of the ClientHello");
}

#[test]
fn ca_names_that_outgrow_the_request_in_a_renewal_keep_the_old_cas() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .top("process: { reload: { debounce: 50ms } }")
        .terminate("a.test", &origin)
        .on_route("client_auth: { mode: required, ca: many.pem }")
        .file("many.pem", pki().clients.pem())
        .start();
    let alice = pki().client("alice");
    // The second change, too, is compared with what is in use, not with the first change.
    for more in [MOST + 1, MOST + 2] {
        let many = pki().clients.pem() + &Authority::crowd(more);
        proxy.directory().write("many.pem", many);
        let count = format!("the names of {} CAs", more + 1);
        proxy.log_line(|line| {
            line.contains(&count) && line.contains("its previous content stays in use")
        });
        let client = proxy.client("a.test").certificate(&alice);
        client.connect().must_echo(b"as before");
    }
}
