//! What a resolv.conf means.

use super::*;

fn parse(text: &str) -> (ResolvConf, Vec<String>) {
    let (conf, unused) = ResolvConf::parse(text.as_bytes(), "host");
    (
        conf,
        unused
            .into_iter()
            .map(|u| format!("{}: {}", u.line, u.why))
            .collect(),
    )
}

#[test]
fn lines_and_options_mean_what_the_manual_page_says() {
    let (conf, unused) = parse(
        "; a comment\n# another\nnameserver 10.0.0.1 # trailing words\n\tnameserver 127.1\r\n\
         nameserver ::1\ndomain old.test\nsearch a.test b_c.test. .\n\
         options timeout:0 attempts:0 ndots:99 rotate use-vc edns0 no-aaaa trust-ad single-request\n",
    );
    assert_eq!(unused, [""; 0]);
    let expected = ResolvConf {
        servers: ["10.0.0.1", "127.0.0.1", "::1"]
            .map(|ip| ip.parse().unwrap())
            .into(),
        search: vec!["a.test".into(), "b_c.test".into()],
        ndots: 15,
        timeout: Duration::from_secs(1),
        attempts: 1,
        rotate: true,
        tcp: true,
        edns0: true,
        aaaa: false,
        tld_query: true,
    };
    assert_eq!(conf, expected);
}

#[test]
fn what_cannot_be_used_is_told_and_costs_nothing_else() {
    let long = "x".repeat(64);
    let (conf, unused) = parse(&format!(
        "nameserver\nnameserver 10.0.0.999\nnameserver fe80::1%eth0\nnameserver 10.0.0.1\n\
         sortlist 10.0.0.0/8\nsearch good.test {long} b..d\noptions timeout:x attempts:3 wat\n\
         nameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n"
    ));
    assert_eq!(conf.servers.len(), 3);
    assert_eq!(conf.search, ["good.test"]);
    assert_eq!((conf.attempts, conf.timeout.as_secs()), (3, 5));
    let lines: Vec<_> = unused
        .iter()
        .map(|told| told.split(':').next().unwrap())
        .collect();
    assert_eq!(lines, ["1", "2", "3", "5", "6", "6", "7", "7", "10"]);
    assert_eq!(
        unused[2],
        "3: name servers at addresses with a zone are not asked"
    );
}

#[test]
fn the_environment_has_the_last_word_as_in_the_c_library() {
    let file = "search a.test\noptions ndots:3 timeout:9\n";
    let amended = |localdomain: Option<&str>, options: Option<&str>| {
        let (mut conf, _) = parse(file);
        let unused = conf.amend(|name| match name {
            "LOCALDOMAIN" => localdomain.map(str::to_owned),
            _ => options.map(str::to_owned),
        });
        (conf, unused)
    };
    assert_eq!(amended(None, None).0, parse(file).0);
    let (conf, unused) = amended(Some("b.test c.test"), Some("ndots:0 no-aaaa"));
    assert_eq!(conf.search, ["b.test", "c.test"]);
    assert_eq!(
        (conf.ndots, conf.timeout.as_secs(), conf.aaaa),
        (0, 9, false)
    );
    assert!(unused.is_empty(), "{unused:?}");
    assert_eq!(
        amended(Some(""), None).0.search,
        [""; 0],
        "none is searched"
    );
    let (conf, unused) = amended(Some("b..d good.test"), Some("wat attempts:4"));
    assert_eq!(
        (&*conf.search, conf.attempts),
        (&["good.test".to_owned()][..], 4)
    );
    let variables: Vec<_> = unused.iter().map(|(variable, _)| *variable).collect();
    assert_eq!(variables, ["LOCALDOMAIN", "RES_OPTIONS"]);
}

#[test]
fn an_empty_file_means_a_server_on_this_machine_and_the_domain_of_its_host_name() {
    let (conf, unused) = ResolvConf::parse(b"\xff\n", "web1.corp.test");
    assert_eq!(unused.len(), 1);
    assert_eq!(conf.servers, [IpAddr::from(Ipv4Addr::LOCALHOST)]);
    assert_eq!(conf.search, ["corp.test"]);
}

#[test]
fn relative_names_are_searched_and_absolute_ones_are_not() {
    let (conf, _) = parse("search a.test b.test\noptions ndots:2");
    assert_eq!(conf.candidates("db"), ["db.a.test", "db.b.test", "db"]);
    assert_eq!(
        conf.candidates("db.x"),
        ["db.x.a.test", "db.x.b.test", "db.x"]
    );
    assert_eq!(
        conf.candidates("db.x.y"),
        ["db.x.y", "db.x.y.a.test", "db.x.y.b.test"]
    );
    assert_eq!(conf.candidates("db.x."), ["db.x"]);
    let (conf, _) = parse("search a.test\noptions no-tld-query");
    assert_eq!(conf.candidates("db"), ["db.a.test"]);
    assert_eq!(parse("search .").0.candidates("db"), ["db"]);
}

#[test]
fn ipv4_addresses_have_the_forms_of_inet_aton() {
    let of = |text| short_ipv4(text).map(|ip| ip.to_string());
    assert_eq!(of("127.1").as_deref(), Some("127.0.0.1"));
    assert_eq!(of("10.1.258").as_deref(), Some("10.1.1.2"));
    assert_eq!(of("0x7f.0.0.010").as_deref(), Some("127.0.0.8"));
    assert_eq!(of("2130706433").as_deref(), Some("127.0.0.1"));
    for text in [
        "",
        ".",
        "256.1",
        "1.2.3.256",
        "1.2.3.4.5",
        "0x",
        "+1",
        "1.-2",
        "08",
    ] {
        assert_eq!(of(text), None, "{text}");
    }
}
