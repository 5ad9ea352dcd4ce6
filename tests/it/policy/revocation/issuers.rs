//! Which list is of which issuer.

use rcgen::DnValue;

use super::{
    CERTIFICATE_REVOKED, REVOKED, UNKNOWN_CA, alice, checked, must_admit, must_reject, requiring,
    revoked,
};
use crate::harness::{Authority, Directory, End, Leaf, List, Origin, command, finish, pki};

#[test]
fn a_crl_matches_its_issuer_in_any_string_type_case_and_spacing() {
    let origin = Origin::echo();
    let text = "Client CA";
    for name in [
        DnValue::Utf8String(text.to_owned()),
        DnValue::PrintableString(text.try_into().unwrap()),
        DnValue::TeletexString(text.try_into().unwrap()),
        DnValue::BmpString(text.try_into().unwrap()),
        DnValue::UniversalString(text.try_into().unwrap()),
        DnValue::Utf8String("  CLIENT   ca ".to_owned()),
    ] {
        let what = format!("{name:?}");
        let list = List::of(&[REVOKED]).pem(&pki().clients.under(name));
        for unknown in ["deny", "allow"] {
            let policy = format!("ca: client-ca.pem, crl: a.crl, crl_unknown: {unknown}");
            let proxy = requiring(&origin, &policy).file("a.crl", &list).start();
            let client = proxy.client("a.test").certificate(&revoked());
            assert_eq!(client.refusal(), End::Alert(CERTIFICATE_REVOKED), "{what}");
            must_admit(&proxy, &alice());
            checked(&policy)
                .with_file("a.crl", &list, 0o644)
                .must_be_good();
        }
    }
}

#[test]
fn a_crl_of_no_configured_ca_is_a_warning() {
    let strange = List::of(&[REVOKED]).pem(&pki().stranger);
    let own = List::of(&[]).pem(&pki().clients);
    for policy in [
        "ca: client-ca.pem, crl: strange.crl, crl_unknown: allow",
        "ca: client-ca.pem, crl: [strange.crl, own.crl], crl_unknown: allow",
        "ca: client-ca.pem, crl: strange.crl",
    ] {
        let (_, about) = policy.split_once("crl: ").unwrap();
        checked(policy)
            .with_file("strange.crl", &strange, 0o644)
            .with_file("own.crl", &own, 0o644)
            .must_warn(about, &["strange.crl", "CN=Stranger CA", "none of the CAs"]);
    }
}

#[test]
fn cas_of_the_same_name_have_separate_crls() {
    let origin = Origin::echo();
    let namesake = Authority::new("Client CA");
    let of_namesake = |serial| {
        let leaf = Leaf::client("dora").serial(serial);
        namesake.issue(&leaf)
    };
    let proxy = requiring(
        &origin,
        "ca: [client-ca.pem, namesake.pem], crl: [a.crl, b.crl]",
    )
    .file("namesake.pem", namesake.pem())
    .file(
        "a.crl",
        List::of(&[REVOKED]).made_days_ago(1).pem(&pki().clients),
    )
    .file("b.crl", List::of(&[7]).pem(&namesake))
    .start();
    must_admit(&proxy, &alice());
    must_admit(&proxy, &of_namesake(REVOKED));
    for identity in [revoked(), of_namesake(7)] {
        must_reject(
            &proxy,
            &identity,
            "client_cert_revoked",
            CERTIFICATE_REVOKED,
        );
    }
}

#[test]
fn a_crl_not_signed_by_its_ca_is_reported_before_it_denies() {
    let forged = List::of(&[]).pem(&Authority::new("Client CA"));
    checked("ca: client-ca.pem, crl: forged.crl")
        .with_file("forged.crl", forged, 0o644)
        .must_warn("forged.crl", &["CN=Client CA", "is not signed by"]);
}

#[test]
fn a_certificate_that_names_no_distribution_point_is_looked_up_on_all_lists() {
    let origin = Origin::echo();
    let (one, two) = ("http://crl.test/1", "http://crl.test/2");
    let start = |first: List, second: List| {
        requiring(&origin, "ca: client-ca.pem, crl: [1.crl, 2.crl]")
            .file("1.crl", first.of_point(one).pem(&pki().clients))
            .file("2.crl", second.of_point(two).pem(&pki().clients))
            .start()
    };
    let older = List::of(&[REVOKED]).made_days_ago(1);
    let proxy = start(List::of(&[]), older);
    must_reject(
        &proxy,
        &revoked(),
        "client_cert_revoked",
        CERTIFICATE_REVOKED,
    );
    must_admit(&proxy, &alice());
    let proxy = start(List::of(&[]), List::of(&[]).expired());
    must_reject(&proxy, &alice(), "client_cert_crl_expired", UNKNOWN_CA);
}

/// A CRL without an authority key identifier, which OpenSSL omits by default.
fn list_without_key(directory: &std::path::Path, ca: &str, serial: Option<u64>) {
    let config = "[ca]\ndefault_ca = this\n[this]\ndatabase = index\ncrlnumber = number\n\
                  default_md = sha256\ndefault_crl_days = 3\n";
    let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
    let line = serial.map(|serial| {
        format!("R\t360101000000Z\t260101000000Z\t{serial:04X}\tunknown\t/CN=revoked\n")
    });
    write("index", &line.unwrap_or_default());
    write("number", "01");
    write("openssl.cnf", config);
    let mut openssl = command("openssl");
    openssl
        .args(["ca", "-gencrl", "-config", "openssl.cnf"])
        .args([
            "-keyfile",
            &format!("{ca}.key"),
            "-cert",
            &format!("{ca}.pem"),
        ])
        .args(["-out", &format!("{ca}.crl")])
        .current_dir(directory);
    finish(openssl, b"").must_exit_with(0);
}

#[test]
fn authorities_of_one_name_have_lists_of_their_own_that_do_not_name_a_key() {
    let origin = Origin::echo();
    let namesake = Authority::new("Client CA");
    let of_namesake = |name: &str, serial| namesake.issue(&Leaf::client(name).serial(serial));
    let directory = Directory::new();
    for (name, authority, serial) in [
        ("other", &namesake, Some(REVOKED)),
        ("clients", &pki().clients, None),
    ] {
        directory.write(&format!("{name}.pem"), authority.pem());
        directory.write(&format!("{name}.key"), authority.key_pem());
        list_without_key(directory.path(), name, serial);
    }
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    for unknown in ["deny", "allow"] {
        let policy =
            format!("ca: [client-ca.pem, o.pem], crl: [c.crl, o.crl], crl_unknown: {unknown}");
        let proxy = requiring(&origin, &policy)
            .file("o.pem", namesake.pem())
            .file("c.crl", read("clients.crl"))
            .file("o.crl", read("other.crl"))
            .start();
        must_admit(&proxy, &alice());
        must_admit(&proxy, &of_namesake("dora", 7));
        let identity = of_namesake("mallory", REVOKED);
        must_reject(
            &proxy,
            &identity,
            "client_cert_revoked",
            CERTIFICATE_REVOKED,
        );
    }
}

#[test]
fn a_ca_with_a_new_key_leaves_the_clients_of_the_old_one_their_list() {
    let origin = Origin::echo();
    let [old, new] = [5, 6].map(|serial| pki().clients.subordinate("Department CA", serial));
    // The CA is an intermediate, and with its old certificate in `ca` a trust anchor, too.
    for ca in ["client-ca.pem", "[client-ca.pem, old.pem]"] {
        let policy = format!("ca: {ca}, crl: [root.crl, old.crl, new.crl]");
        let proxy = requiring(&origin, &policy)
            .file("old.pem", old.pem())
            .file("root.crl", List::of(&[]).pem(&pki().clients))
            .file("old.crl", List::of(&[REVOKED]).made_days_ago(1).pem(&old))
            .file("new.crl", List::of(&[7]).pem(&new))
            .start();
        let below = |ca: &Authority, serial| {
            let leaf = Leaf::client("alice").serial(serial);
            ca.issue(&leaf).below(&[ca])
        };
        // No client of the new key has come yet.
        must_admit(&proxy, &below(&old, 1));
        for revoked in [below(&old, REVOKED), below(&new, 7)] {
            must_reject(&proxy, &revoked, "client_cert_revoked", CERTIFICATE_REVOKED);
        }
        must_admit(&proxy, &below(&new, REVOKED));
    }
}
