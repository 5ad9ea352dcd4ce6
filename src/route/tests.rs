//! Which route wins.

use super::*;

fn sources(within: &[&str], not: &[&str]) -> SourceMatch {
    let nets = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    SourceMatch {
        within: nets(within),
        not: nets(not),
    }
}

fn table() -> RouteTable<&'static str> {
    let mut table = RouteTable::default();
    let h2 = Match {
        alpn: vec![b"h2".to_vec()],
        ..Match::default()
    };
    let lan = Match {
        sources: sources(&["10.0.0.0/8"], &[]),
        ..Match::default()
    };
    table.add(HostPattern::parse("a.test").unwrap(), h2, "a over h2");
    table.add(HostPattern::parse("a.test").unwrap(), lan, "a from lan");
    table.add(
        HostPattern::parse("*.test").unwrap(),
        Match::default(),
        "wildcard",
    );
    table
}

fn choose<'a>(
    table: &'a RouteTable<&'static str>,
    name: &str,
    alpn: &[&str],
    source: &str,
) -> Result<&'a &'static str, Unrouted> {
    let name = HostName::from_wire(name).ok();
    let alpn: Vec<_> = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    table.choose(&Query {
        name: name.as_ref(),
        alpn: &alpn,
        source: source.parse().ok(),
        speaks_tls: true,
    })
}

#[test]
fn file_order_decides_within_one_name() {
    let table = table();
    assert_eq!(
        choose(&table, "a.test", &["h2"], "10.1.1.1"),
        Ok(&"a over h2")
    );
    assert_eq!(
        choose(&table, "a.test", &["http/1.1"], "10.1.1.1"),
        Ok(&"a from lan")
    );
}

#[test]
fn an_owner_without_a_match_never_falls_to_a_wider_pattern_or_the_default() {
    let mut table = table();
    table.add_default(Match::default(), "default");
    assert_eq!(
        choose(&table, "a.test", &[], "192.0.2.1"),
        Err(Unrouted::NoMatch)
    );
    assert_eq!(choose(&table, "b.test", &[], "192.0.2.1"), Ok(&"wildcard"));
    assert_eq!(
        choose(&table, "b.example", &[], "192.0.2.1"),
        Ok(&"default")
    );
    assert_eq!(choose(&table, "", &[], "192.0.2.1"), Ok(&"default"));
}

#[test]
fn without_a_default_route_absent_and_unknown_names_are_distinguished() {
    assert_eq!(
        choose(&table(), "", &[], "192.0.2.1"),
        Err(Unrouted::NoName)
    );
    assert_eq!(
        choose(&table(), "b.example", &[], "192.0.2.1"),
        Err(Unrouted::UnknownName)
    );
}

#[test]
fn a_client_without_tls_and_one_with_it_never_get_each_others_routes() {
    let mut table = table();
    let query = |speaks_tls| Query {
        name: None,
        alpn: &[],
        source: None,
        speaks_tls,
    };
    assert_eq!(table.choose(&query(false)), Err(Unrouted::NoMatch));
    table.add_plain(Match::default(), "plain");
    assert_eq!(table.choose(&query(false)), Ok(&"plain"));
    assert_eq!(table.choose(&query(true)), Err(Unrouted::NoName));
    table.add_default(Match::default(), "default");
    assert_eq!(table.choose(&query(false)), Ok(&"plain"));
    assert_eq!(table.choose(&query(true)), Ok(&"default"));
}

#[test]
fn names_of_files_are_owned_by_the_most_specific_pattern_of_all() {
    let mut table = table();
    let file = |names: &[(&str, u32)]| {
        let mut file = HostTable::default();
        for (pattern, number) in names {
            file.insert(HostPattern::parse_deep(pattern).unwrap(), *number);
        }
        Arc::new(file)
    };
    let routes = |names: [&'static str; 2]| names.map(|name| (Match::default(), name)).to_vec();
    let first = file(&[
        ("b.test", 0),
        ("a.test", 0),
        ("**.deep.test", 1),
        ("c.test", 1),
    ]);
    let second = file(&[("b.test", 1), ("*.other.test", 0), ("x.deep.test", 1)]);
    table.add_file(first, routes(["first 0", "first 1"]));
    table.add_file(second, routes(["second 0", "second 1"]));
    for (name, expected) in [
        ("b.test", Ok(&"first 0")),
        ("c.test", Ok(&"first 1")),
        ("d.test", Ok(&"wildcard")),
        ("x.deep.test", Ok(&"second 1")),
        ("y.deep.test", Ok(&"first 1")),
        ("y.other.test", Ok(&"second 0")),
        ("y.z.test", Err(Unrouted::UnknownName)),
        // Its owner is the route that names it, which no match of holds.
        ("a.test", Err(Unrouted::NoMatch)),
    ] {
        assert_eq!(choose(&table, name, &[], "192.0.2.1"), expected, "{name}");
    }
    let owner = |name: &str| {
        let owner = table.owning_pattern(&HostName::from_wire(name).unwrap());
        owner.map(|owner| owner.to_string())
    };
    assert_eq!(owner("y.deep.test").as_deref(), Some("**.deep.test"));
    assert_eq!(owner("d.test").as_deref(), Some("*.test"));
    assert_eq!(table.iter().count(), 7);
}

#[test]
fn an_ipv4_mapped_address_is_in_ipv4_networks() {
    assert_eq!(
        choose(&table(), "a.test", &[], "::ffff:10.1.1.1"),
        Ok(&"a from lan")
    );
}

#[test]
fn a_wider_match_includes_a_narrower_one() {
    let net = |n: &str| Match {
        sources: sources(&[n], &[]),
        ..Match::default()
    };
    assert!(net("10.0.0.0/8").includes(&net("10.1.0.0/16")));
    assert!(!net("10.1.0.0/16").includes(&net("10.0.0.0/8")));
    assert!(Match::default().includes(&net("10.0.0.0/8")));
    assert!(!net("10.0.0.0/8").includes(&Match::default()));
}

#[test]
fn an_excluded_network_does_not_match_and_a_peer_without_address_is_in_none() {
    let ip = |text: &str| Some(text.parse().unwrap());
    let lan = sources(&["10.0.0.0/8"], &["10.9.0.0/16"]);
    assert!(lan.holds(ip("10.1.1.1")) && lan.holds(ip("::ffff:10.1.1.1")));
    assert!(!lan.holds(ip("10.9.1.1")) && !lan.holds(ip("::ffff:10.9.1.1")));
    assert!(!lan.holds(ip("192.0.2.1")) && !lan.holds(None));
    let others = sources(&[], &["10.9.0.0/16"]);
    assert!(others.holds(ip("192.0.2.1")) && others.holds(ip("2001:db8::1")));
    assert!(!others.holds(ip("10.9.1.1")) && others.holds(None));
}

#[test]
fn what_excludes_less_includes_and_what_excludes_the_rest_does_not_meet() {
    let all = SourceMatch::default();
    let lan = sources(&["10.0.0.0/8"], &[]);
    let holed = sources(&["10.0.0.0/8"], &["10.9.0.0/16"]);
    let hole = sources(&["10.9.0.0/16"], &[]);
    let outside = sources(&[], &["10.0.0.0/8"]);
    assert!(all.meets(&all) && outside.meets(&sources(&[], &["0.0.0.0/1"])));
    assert!(lan.includes(&holed) && !holed.includes(&lan));
    assert!(all.includes(&outside) && !outside.includes(&all));
    assert!(!holed.includes(&hole) && holed.includes(&sources(&["10.1.0.0/16"], &[])));
    assert!(holed.includes(&sources(&["10.0.0.0/8"], &["10.8.0.0/15"])));
    assert!(!holed.meets(&hole) && !outside.meets(&lan) && !outside.meets(&hole));
    assert!(lan.meets(&hole) && all.meets(&outside) && outside.meets(&all));
    assert!(sources(&["10.9.0.0/16"], &["10.0.0.0/8"]).is_impossible());
    assert!(sources(&[], &["0.0.0.0/0", "::/0"]).is_impossible());
    assert!(!holed.is_impossible() && !outside.is_impossible() && !all.is_impossible());
}
