//! Names, patterns and their table.

use super::*;

fn name(text: &str) -> HostName {
    HostName::from_wire(text).unwrap()
}

#[test]
fn case_and_one_trailing_dot_are_ignored() {
    assert_eq!(name("Vault.Example.COM."), name("vault.example.com"));
}

#[test]
fn malformed_names_and_addresses_are_refused() {
    for text in [
        "", ".", "a..b", "a..", "-a.x", "a-.x", "*.x", "a b", "a\0b", "a.b:443", "ü.x", "[::1]",
    ] {
        assert_eq!(
            HostName::from_wire(text),
            Err(HostNameError::Malformed),
            "{text:?}"
        );
    }
    for text in ["10.0.0.1", "::1", "10.0.0.1."] {
        assert_eq!(
            HostName::from_wire(text),
            Err(HostNameError::Address),
            "{text:?}"
        );
    }
    assert!(HostName::from_wire(&"a".repeat(64)).is_err());
    assert!(HostName::from_wire(&format!("{}a", "a.".repeat(126))).is_ok());
    assert!(HostName::from_wire(&format!("{}aa", "a.".repeat(126))).is_err());
}

#[test]
fn u_labels_of_the_configuration_are_converted() {
    assert_eq!(
        HostName::from_config("Bücher.example").unwrap().as_str(),
        "xn--bcher-kva.example"
    );
}

#[test]
fn a_wildcard_matches_one_label_and_an_exact_name_precedes_it() {
    let mut table = HostTable::<u8>::default();
    *table.entry(HostPattern::parse("*.example.com").unwrap()) = 1;
    *table.entry(HostPattern::parse("a.example.com").unwrap()) = 2;
    assert_eq!(table.owner(&name("a.example.com")), Some(&2));
    assert_eq!(table.owner(&name("b.example.com")), Some(&1));
    assert_eq!(table.owner(&name("example.com")), None);
    assert_eq!(table.owner(&name("a.b.example.com")), None);
}

#[test]
fn a_wildcard_of_any_depth_gives_way_to_all_others_and_to_longer_ones() {
    let mut table = HostTable::<&str>::default();
    for text in ["**.x.org", "**.b.x.org", "*.b.x.org", "a.b.x.org"] {
        *table.entry(HostPattern::parse_deep(text).unwrap()) = text;
    }
    for (sent, owner) in [
        ("a.b.x.org", Some("a.b.x.org")),
        ("c.b.x.org", Some("*.b.x.org")),
        ("d.c.b.x.org", Some("**.b.x.org")),
        ("b.x.org", Some("**.x.org")),
        ("e.d.y.x.org", Some("**.x.org")),
        ("x.org", None),
        ("yx.org", None),
    ] {
        assert_eq!(table.owner(&name(sent)).copied(), owner, "{sent}");
    }
    for (sent, taken) in [
        ("a.b.x.org", None),
        ("c.b.x.org", Some("c")),
        ("d.c.b.x.org", Some("d.c")),
        ("e.d.y.x.org", Some("e.d.y")),
        ("b.x.org", Some("b")),
        ("x.org", None),
        ("y.net", None),
    ] {
        let (sent, owner) = (name(sent), table.owning_pattern(&name(sent)));
        assert_eq!(owner.and_then(|owner| owner.taken(&sent)), taken, "{sent}");
    }
    for text in [
        "**", "**.", "a.**.x", "**.*.x", "***.x", "**x.org", "*.**.x",
    ] {
        assert!(HostPattern::parse_deep(text).is_err(), "{text}");
    }
    assert!(HostPattern::parse("**.x.org").is_err());
}

/// The table finds what a comparison of all pairs of patterns finds.
#[test]
fn the_table_finds_every_pattern_that_overlaps() {
    let texts = [
        "a.x.org",
        "b.x.org",
        "*.x.org",
        "x.org",
        "*.a.x.org",
        "*.org",
        "y.org",
        "**.x.org",
        "**.org",
        "**.a.x.org",
        "**.y.org",
    ];
    let patterns = texts.map(|text| HostPattern::parse_deep(text).unwrap());
    let mut table = HostTable::<Option<&HostPattern>>::default();
    for pattern in &patterns {
        *table.entry(pattern.clone()) = Some(pattern);
    }
    for pattern in &patterns {
        let mut found: Vec<_> = table
            .overlapping(pattern)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        let mut expected: Vec<_> = patterns.iter().filter(|p| p.overlaps(pattern)).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{pattern}");
    }
}
