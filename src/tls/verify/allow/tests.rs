//! Rules of every kind, met and not met, and what is ambiguous in a certificate.

use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

use super::*;

fn certificate(shape: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    shape(&mut params);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

fn with_san(san: SanType) -> CertificateDer<'static> {
    certificate(|params| params.subject_alt_names.push(san))
}

fn admits(rule: &Rule, certificate: &CertificateDer<'_>) -> bool {
    Rules(vec![rule.clone()]).admitting(certificate).is_some()
}

fn dns(name: &str) -> Rule {
    Rule {
        dns: vec![HostPattern::parse(name).unwrap()],
        ..Rule::default()
    }
}

fn common_name(name: &str) -> Rule {
    Rule {
        common_name: vec![name.to_owned()],
        ..Rule::default()
    }
}

fn uri(pattern: &str) -> Rule {
    Rule {
        uri: vec![UriPattern::parse(pattern).unwrap()],
        ..Rule::default()
    }
}

#[test]
fn a_name_matches_its_own_type_alone() {
    let text = "a.ops.test";
    let as_dns = with_san(SanType::DnsName(text.try_into().unwrap()));
    let as_uri = with_san(SanType::URI(text.try_into().unwrap()));
    let as_email = with_san(SanType::Rfc822Name(text.try_into().unwrap()));
    let as_common_name = certificate(|p| p.distinguished_name.push(DnType::CommonName, text));
    for (rule, own) in [
        (dns(text), &as_dns),
        (dns("*.ops.test"), &as_dns),
        (common_name(text), &as_common_name),
    ] {
        for other in [&as_dns, &as_uri, &as_email, &as_common_name] {
            assert_eq!(admits(&rule, other), std::ptr::eq(own, other), "{rule}");
        }
    }
}

#[test]
fn a_dns_pattern_is_anchored_and_its_star_is_one_label() {
    let holds = |name: &str| with_san(SanType::DnsName(name.try_into().unwrap()));
    for name in [
        "ops.test",
        "a.b.ops.test",
        "a.ops.test.evil.test",
        "aops.test",
        "*.ops.test",
    ] {
        assert!(!admits(&dns("*.ops.test"), &holds(name)), "{name}");
    }
    assert!(admits(&dns("*.ops.test"), &holds("A.ops.TEST")));
}

#[test]
fn a_uri_star_is_one_whole_segment() {
    let holds = |uri: &str| with_san(SanType::URI(uri.try_into().unwrap()));
    let rule = uri("spiffe://example.com/ns/*/sa/web");
    assert!(admits(&rule, &holds("spiffe://example.com/ns/prod/sa/web")));
    for other in [
        "spiffe://example.com/ns/prod/x/sa/web",
        "spiffe://example.com/ns//sa/web",
        "spiffe://example.com/ns/../sa/web",
        "spiffe://example.com/ns/%2e%2e/sa/web",
        "spiffe://example.com/ns/prod/sa/web/",
        "spiffe://example.com/ns/prod/sa/webs",
        "spiffe://EXAMPLE.com/ns/prod/sa/web",
        "xspiffe://example.com/ns/prod/sa/web",
    ] {
        assert!(!admits(&rule, &holds(other)), "{other}");
    }
}

#[test]
fn patterns_that_can_never_match_are_errors() {
    for never in [
        "",
        "example.com/x",
        "spiffe://*/x",
        "spiffe://a/x*",
        "spiffe://a/ä",
        "urn:*",
    ] {
        assert!(UriPattern::parse(never).is_err(), "{never}");
    }
    assert!(Email::parse("nobody").is_none() && Email::parse("@a.test").is_none());
}

#[test]
fn a_mail_domain_has_no_case_and_its_local_part_has() {
    let rule = Rule {
        email: vec![Email::parse("Ops@Example.test").unwrap()],
        ..Rule::default()
    };
    let holds = |mail: &str| with_san(SanType::Rfc822Name(mail.try_into().unwrap()));
    assert!(admits(&rule, &holds("Ops@EXAMPLE.test")));
    assert!(!admits(&rule, &holds("ops@example.test")));
}

#[test]
fn an_address_is_in_a_network_of_its_own_family() {
    let rule = |net: &str| Rule {
        ip: vec![net.parse().unwrap()],
        ..Rule::default()
    };
    let holds = |ip: &str| with_san(SanType::IpAddress(ip.parse().unwrap()));
    assert!(admits(&rule("10.0.0.0/8"), &holds("10.1.2.3")));
    assert!(!admits(&rule("10.0.0.0/8"), &holds("11.1.2.3")));
    assert!(!admits(&rule("10.0.0.0/8"), &holds("::ffff:10.1.2.3")));
}

#[test]
fn texts_with_a_nul_or_in_another_encoding_equal_nothing() {
    let rule = common_name("deployer");
    let named =
        |value: DnValue| certificate(|p| p.distinguished_name.push(DnType::CommonName, value));
    assert!(admits(
        &rule,
        &named(DnValue::Utf8String("deployer".into()))
    ));
    assert!(admits(
        &rule,
        &named(DnValue::PrintableString("deployer".try_into().unwrap()))
    ));
    assert!(!admits(
        &rule,
        &named(DnValue::BmpString("deployer".try_into().unwrap()))
    ));
    assert!(!admits(
        &rule,
        &named(DnValue::Utf8String("deployer\0.evil".into()))
    ));
    assert!(!admits(
        &rule,
        &named(DnValue::Utf8String("Deployer".into()))
    ));
    assert!(!admits(
        &rule,
        &named(DnValue::Utf8String("deployer ".into()))
    ));
}

#[test]
fn keys_are_anded_values_and_rules_ored() {
    let names = certificate(|p| {
        p.distinguished_name
            .push(DnType::OrganizationalUnitName, "platform");
        p.subject_alt_names
            .push(SanType::DnsName("a.ops.test".try_into().unwrap()));
    });
    let both = |unit: &str| Rule {
        organizational_unit: vec!["other".to_owned(), unit.to_owned()],
        ..dns("*.ops.test")
    };
    assert!(admits(&both("platform"), &names));
    assert!(!admits(&both("platforms"), &names));
    let rules = Rules(vec![both("nobody"), dns("a.ops.test")]);
    assert_eq!(rules.admitting(&names), Some(1));
    assert!(
        !admits(&Rule::default(), &names),
        "an empty rule admits nobody"
    );
}

#[test]
fn fingerprints_are_of_the_certificate_and_of_its_key() {
    let names = certificate(|_| {});
    let other = certificate(|_| {});
    let by_certificate = Rule {
        sha256: vec![sha256(&names)],
        ..Rule::default()
    };
    let by_key = Rule {
        spki_sha256: vec![spki_sha256(&names).unwrap()],
        ..Rule::default()
    };
    for rule in [by_certificate, by_key] {
        assert!(admits(&rule, &names) && !admits(&rule, &other));
    }
}

#[test]
fn a_spiffe_id_beside_another_uri_is_none() {
    let with = |uris: &[&str]| {
        certificate(|params| {
            let san = |uri: &&str| SanType::URI((*uri).try_into().unwrap());
            params.subject_alt_names.extend(uris.iter().map(san));
        })
    };
    let spiffe = "spiffe://example.com/ns/a";
    let rule = uri(spiffe);
    assert!(admits(&rule, &with(&[spiffe])));
    for more in ["spiffe://example.com/ns/b", "https://a.test/", spiffe] {
        assert!(!admits(&rule, &with(&[spiffe, more])), "{more}");
        assert!(!admits(&rule, &with(&[more, spiffe])), "{more}");
    }
    let upper = with(&["https://a.test/", "SPIFFE://example.com/ns/b"]);
    assert!(!admits(&uri("https://a.test/"), &upper));
    // Other URIs may be several.
    let several = with(&["urn:a", "urn:b"]);
    assert!(admits(&uri("urn:a"), &several) && admits(&uri("urn:b"), &several));
}

#[test]
fn a_certificate_with_a_non_ascii_alternative_name_is_not_admitted() {
    const SUBJECT_ALT_NAME: &[u64] = &[2, 5, 29, 17];
    for (tag, text) in [
        (0x82, "ä.test".as_bytes()),
        (0x82, b"\xe4.test"),
        (0x86, "urn:ä".as_bytes()),
        (0x81, b"\xe4@a.test"),
    ] {
        let names = certificate(|params| {
            params.distinguished_name.push(DnType::CommonName, "ops");
            let name = [&[tag, text.len() as u8], text].concat();
            let names = [&[0x30, name.len() as u8], &name[..]].concat();
            let names = rcgen::CustomExtension::from_oid_content(SUBJECT_ALT_NAME, names);
            params.custom_extensions.push(names);
        });
        assert!(!admits(&common_name("ops"), &names), "{text:?}");
    }
}

#[test]
fn a_malformed_certificate_is_not_admitted() {
    let names = with_san(SanType::DnsName("a.ops.test".try_into().unwrap()));
    let cut = CertificateDer::from(names[..names.len() - 1].to_vec());
    let longer = CertificateDer::from([&names[..], b"x"].concat());
    assert!(!admits(&dns("a.ops.test"), &cut));
    assert!(!admits(&dns("a.ops.test"), &longer));
}
