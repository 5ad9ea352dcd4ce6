//! The checks of presented certificates and their chains, for clients and for origins.

use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};

use crate::harness::{Authority, ConfigCheck, Identity, Leaf, List, Origin, Proxy, output, pki};

/// An endpoint with this certificate, in `own.pem` and `own.key`.
fn to_clients(identity: &Identity) -> ConfigCheck {
    ConfigCheck::new(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: { certificates: [{ cert: own.pem, key: own.key }] }\n\
         \x20   routes: [{ name: a, mode: terminate, upstream: up, match: { sni: a.test } }]\n\
         upstreams: { up: { origins: [\"127.0.0.1:9\"] } }\n",
    )
    .with_identity("own", identity)
}

/// An upstream that gets this certificate from us.
fn to_origins(identity: &Identity) -> ConfigCheck {
    ConfigCheck::new(
        "endpoints: [{ name: out, listen: 127.0.0.1:4430, protocol: tcp, routes: [{ name: o, \
         mode: originate, upstream: up }] }]\n\
         upstreams:\n\
         \x20 up:\n\
         \x20   origins: [\"127.0.0.1:9\"]\n\
         \x20   tls: { ca: origin-ca.pem, server_name: a.test, client_certificate: { cert: own.pem, \
         key: own.key } }\n",
    )
    .with_identity("own", identity)
}

/// A certificate with the usages of both sides.
fn both() -> Leaf {
    Leaf::server(&["a.test"]).shaped(|params| {
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
    })
}

#[test]
fn certificate_warnings_are_the_same_for_clients_and_origins() {
    let issue = |leaf: Leaf| pki().edge.issue(&leaf);
    let good = issue(both());
    to_clients(&good).must_be_good();
    to_origins(&good).must_be_good();
    let unsigning = both().shaped(|params| {
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    });
    let cases = [
        (issue(both().expired()), "expired on"),
        (issue(both().early()), "not valid before"),
        (issue(both().since_days(87).for_days(3)), "expires soon"),
        (issue(unsigning), "digitalSignature"),
    ];
    for (identity, words) in &cases {
        to_clients(identity).must_warn("own.pem", &["own.pem", words]);
        to_origins(identity).must_warn("own.pem", &["own.pem", words]);
    }
}

/// ACME issues certificates for six days, SPIFFE for an hour.
#[test]
fn a_short_lived_certificate_is_warned_about_in_its_last_third() {
    let issue = |leaf: Leaf| pki().edge.issue(&leaf);
    for young in [
        both().for_days(5),
        both().for_seconds(3600).shaped(|params| {
            params.not_before = OffsetDateTime::now_utc() - Duration::minutes(10);
        }),
    ] {
        let young = issue(young);
        to_clients(&young).must_be_good();
        to_origins(&young).must_be_good();
    }
    for old in [
        both().since_days(5).for_days(1),
        both().for_seconds(3600).since_days(1),
    ] {
        let old = issue(old);
        to_clients(&old).must_warn("own.pem", &["expires soon"]);
        to_origins(&old).must_warn("own.pem", &["expires soon"]);
    }
}

#[test]
fn a_certificate_of_the_wrong_usage_is_warned_about() {
    to_clients(&pki().edge.issue(&Leaf::server(&["a.test"]))).must_be_good();
    to_origins(&pki().clients.issue(&Leaf::client("proxy"))).must_be_good();
    let client = Leaf::server(&["a.test"]).shaped(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    to_clients(&pki().edge.issue(&client)).must_warn(
        "own.pem",
        &["extended key usage is clientAuth, and not serverAuth"],
    );
    to_origins(&pki().edge.issue(&Leaf::server(&["a.test"]))).must_warn(
        "own.pem",
        &["extended key usage is serverAuth, and not clientAuth"],
    );
    let any = Leaf::server(&["a.test"]).shaped(|params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    });
    to_clients(&pki().edge.issue(&any)).must_be_good();
    to_origins(&pki().edge.issue(&any)).must_be_good();
}

#[test]
fn a_pair_is_checked_for_each_of_its_uses() {
    let checked = ConfigCheck::new(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: { certificates: [{ cert: own.pem, key: own.key }] }\n\
         \x20   routes: [{ name: a, mode: reencrypt, upstream: up, match: { sni: a.test } }]\n\
         upstreams:\n\
         \x20 up:\n\
         \x20   origins: [\"127.0.0.1:9\"]\n\
         \x20   tls: { ca: origin-ca.pem, server_name: a.test, client_certificate: { cert: ./own.pem, \
         key: own.key } }\n",
    )
    .with_identity("own", &pki().edge(&["a.test"]));
    checked.must_warn("./own.pem", &["not clientAuth"]);
    checked
        .with_identity("own", &pki().edge.issue(&both().expired()))
        .must_warn("own.pem", &["expired on", "renew it"]);
}

#[test]
fn every_certificate_of_a_chain_is_checked() {
    let ends = |at: OffsetDateTime| {
        pki().edge.subordinate_shaped("Middle CA", |params| {
            params.not_before = OffsetDateTime::now_utc() - Duration::days(30);
            params.not_after = at;
        })
    };
    let now = OffsetDateTime::now_utc();
    let cases = [
        (ends(now - Duration::days(1)), "expired on"),
        (ends(now + Duration::days(3)), "expires soon"),
        (
            pki().edge.subordinate_shaped("Middle CA", |params| {
                params.not_before = now + Duration::days(1);
            }),
            "not valid before",
        ),
        (
            pki().edge.subordinate_shaped("Middle CA", |params| {
                params.is_ca = IsCa::ExplicitNoCa;
            }),
            "is no CA",
        ),
    ];
    for (middle, words) in &cases {
        let identity = middle.issue(&both()).below(&[middle, &pki().edge]);
        let words = ["own.pem", "certificate 2", "CN=Middle CA", words];
        to_clients(&identity).must_warn("own.pem", &words);
        to_origins(&identity).must_warn("own.pem", &words);
    }
}

#[test]
fn a_chain_leads_from_each_certificate_to_the_next() {
    let root = &pki().edge;
    let middle = root.subordinate("Middle CA", 7);
    let leaf = || middle.issue(&both());
    to_clients(&leaf().below(&[&middle])).must_be_good();
    to_clients(&leaf().below(&[&middle, root])).must_be_good();
    // Two CAs have signed the intermediate, so both of its certificates may be in the chain.
    let mut crossed = leaf().below(&[&middle]);
    crossed.cert += &middle.cross_signed("Middle CA", &pki().stranger);
    to_clients(&crossed).must_be_good();
    let stranger = &pki().stranger;
    let namesake = root.subordinate("Middle CA", 8);
    for (identity, words) in [
        (
            leaf().below(&[root, &middle]),
            "stands before a certificate that it has signed",
        ),
        (
            leaf().below(&[&middle, stranger]),
            "has signed none of the certificates before it",
        ),
        (leaf().below(&[&namesake]), "another key"),
        (leaf().below(&[&middle, &middle]), "is there twice"),
    ] {
        to_clients(&identity).must_warn("own.pem", &["own.pem", words]);
        to_origins(&identity).must_warn("own.pem", &["own.pem", words]);
    }
}

#[test]
fn cas_of_a_bundle_are_reported_by_name() {
    let with = |bundle: &str| {
        ConfigCheck::new(
            "endpoints:\n\
             \x20 - name: edge\n\
             \x20   listen: 127.0.0.1:4430\n\
             \x20   tls:\n\
             \x20     certificates: [{ cert: good.pem, key: good.key }]\n\
             \x20     client_auth: { mode: required, ca: many.pem }\n\
             \x20   routes: [{ name: a, mode: reencrypt, upstream: up, match: { sni: a.test } }]\n\
             upstreams: { up: { origins: [\"127.0.0.1:9\"], tls: { ca: ./origin.pem, server_name: a.test } \
             } }\n",
        )
        .with_file("many.pem", pki().clients.pem() + bundle, 0o644)
        .with_file("origin.pem", pki().origins.pem(), 0o644)
    };
    with("").must_be_good();
    let ended = Authority::expired("Old Client Root").pem();
    with(&ended).must_warn(
        "many.pem",
        &["certificate 2 has expired (CN=Old Client Root)"],
    );
    let soon = pki().clients.subordinate_shaped("Late CA", |params| {
        params.not_after = OffsetDateTime::now_utc() + Duration::days(3);
    });
    // The CA that follows is in the file already: nothing has to be done.
    let followed = with(&soon.pem());
    let checked = followed.check(&["--strict"]);
    checked.must_exit_with(0);
    checked.must_print("notice: ");
    checked.must_print("certificate 2 expires within 14 days (CN=Late CA)");
    with("")
        .with_file("origin.pem", soon.pem(), 0o644)
        .must_warn("./origin.pem", &["certificate 1 expires", "CN=Late CA"]);
}

/// A proxy that uses one of everything that expires.
fn proxy_with_everything(origin: &Origin) -> Proxy {
    let middle = pki().clients.subordinate_shaped("Middle CA", |params| {
        params.not_after = OffsetDateTime::now_utc() + Duration::days(30);
    });
    let own = middle.issue(&Leaf::client("proxy")).below(&[&middle]);
    Proxy::builder()
        .reencrypt("a.test", origin)
        .on_tls("client_auth: { mode: optional, ca: client-ca.pem, crl: clients.crl }")
        .origin_tls(
            "{ ca: origin-ca.pem, server_name: origin.test, client_certificate: { cert: own.pem, \
                     key: own.key } }",
        )
        .file("own.pem", &own.cert)
        .file("own.key", &own.key)
        .file("clients.crl", List::of(&[]).pem(&pki().clients))
        .admin()
        .start()
}

#[test]
fn everything_that_expires_has_a_metric_and_is_listed() {
    let origin = Origin::echo();
    let proxy = proxy_with_everything(&origin);
    let metrics = proxy.metrics();
    let count = |name: &str| metrics.sum(name, &[]).unwrap_or_default();
    let (leaf, chain) = (
        count("reseal_client_certificate_expiry_timestamp_seconds"),
        count("reseal_client_certificate_chain_expiry_timestamp_seconds"),
    );
    assert!(0.0 < chain && chain < leaf, "{chain} {leaf}");
    let labels = [("upstream", "upstream-0"), ("certificate", "own")];
    let named = metrics.sum(
        "reseal_client_certificate_expiry_timestamp_seconds",
        &labels,
    );
    assert_eq!(named, Some(leaf));
    let edge = [("endpoint", "edge"), ("certificate", "identity-0")];
    assert_eq!(
        metrics.sum("reseal_certificate_chain_expiry_timestamp_seconds", &edge),
        metrics.sum("reseal_certificate_expiry_timestamp_seconds", &edge)
    );
    for ca in ["CN=Client CA", "CN=Origin CA"] {
        let end = metrics.sum("reseal_ca_expiry_timestamp_seconds", &[("ca", ca)]);
        assert!(end.is_some(), "{ca}");
    }
    assert!(count("reseal_crl_next_update_timestamp_seconds") > 0.0);

    let list = proxy.ctl_json(&["certificates"]);
    let own = &list["client_certificates"][0];
    assert_eq!(own["upstream"], "upstream-0");
    assert_eq!(own["subject"], "CN=proxy");
    assert_eq!(own["chain"][0]["subject"], "CN=Middle CA");
    assert!(own["chain"][0]["seconds_left"].as_i64() > Some(0));
    assert_eq!(list["certificates"][0]["endpoint"], "edge");
    assert_eq!(list["authorities"].as_array().unwrap().len(), 2);
    assert_eq!(list["revocation_lists"][0]["issuer"], "CN=Client CA");
    let config = proxy.directory().join("config.yaml").display().to_string();
    for printed in [
        proxy.ctl(&["certificates"]),
        crate::harness::reseal(&["check", "--config", &config]),
    ] {
        printed.must_exit_with(0);
        for words in ["UPSTREAM", "CN=proxy", "CN=Origin CA", "clients.crl"] {
            printed.must_print(words);
        }
    }
}

/// Certificates for addresses: `tls` of the endpoint, and its default route, if any.
fn by_address(certificates: &str, default: &str) -> ConfigCheck {
    ConfigCheck::new(&format!(
        "endpoints:\n\
         \x20 - name: edge\n\
         \x20   listen: 127.0.0.1:4430\n\
         \x20   tls: {{ certificates: [{certificates}] }}\n{default}\
         \x20   routes: [{{ name: r, mode: terminate, upstream: up }}]\n\
         upstreams: {{ up: {{ origins: [\"127.0.0.1:9\"] }} }}\n"
    ))
    .with_identity("ip", &pki().edge(&["127.0.0.1"]))
}

const DEFAULT: &str = "\x20   default_route: r\n";

#[test]
fn a_certificate_that_only_a_default_route_presents_needs_no_name() {
    by_address("{ cert: ip.pem, key: ip.key }", DEFAULT).must_be_good();
    // A name that no route has is never looked up in its certificate.
    by_address(
        "{ cert: ip.pem, key: ip.key, names: [any.invalid] }",
        DEFAULT,
    )
    .must_be_good();
    by_address(
        "{ cert: ip.pem, key: ip.key, names: [\"127.0.0.1\"] }",
        DEFAULT,
    )
    .must_report("\"127.0.0.1\"", &["IP address", "default route"]);
    let named = "\x20   default_route: { route: r, certificate: ip }\n";
    let two = "{ cert: good.pem, key: good.key }, { cert: ip.pem, key: ip.key }";
    by_address(two, named).must_be_good();
    let other = "\x20   default_route: { route: r, certificate: good }\n";
    by_address(two, other).must_report(
        "ip.pem",
        &[
            "ip.pem",
            "names addresses and no host",
            "default_route: { route: ROUTE, certificate: ip }",
        ],
    );
}

#[test]
fn a_certificate_without_a_name_does_not_refuse_its_directory() {
    let with = |default: &str| {
        by_address("{ dir: live }", default)
            .with_identity("live/ip", &pki().edge(&["127.0.0.1"]))
            .with_identity("live/w", &pki().edge(&["w.test"]))
    };
    with("\x20   default_route: { route: r, certificate: ip }\n").must_be_good();
    with("\x20   default_route: { route: r, certificate: w }\n")
        .must_warn("live", &["live/ip.pem", "it is left out", "default route"]);
}

#[test]
fn clients_that_dial_an_address_verify_it() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .endpoint("edge", "tls")
        .route("terminate", "", &origin)
        .on_endpoint("default_route: terminate")
        .identity(&pki().edge(&["127.0.0.1"]))
        .start();
    let address = proxy.listen_addr("edge").to_string();
    let ca = proxy.directory().join("edge-ca.pem").display().to_string();
    let arguments = [
        "s_client",
        "-connect",
        &address,
        "-noservername",
        "-CAfile",
        &ca,
    ];
    let verified = ["-verify_ip", "127.0.0.1", "-verify_return_error"];
    output("openssl", &[&arguments[..], &verified[..]].concat(), "")
        .must_exit_with(0)
        .must_print("Verify return code: 0");
}
