//! Origins with host names: answers of the resolver, and changed, failed or missing ones.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::harness::{
    Directory, DnsAnswer, End, LetterOrigin, NameServer, Origin, Port, Proxy, at_once, blackhole,
    blackhole_at, eventually,
};

fn addresses(origins: &[LetterOrigin]) -> Vec<SocketAddr> {
    origins.iter().map(LetterOrigin::address).collect()
}

fn hosted(server: &NameServer, directory: &Directory, port: u16) -> crate::harness::ProxyBuilder {
    Proxy::builder()
        .forward(&format!("app.test:{port}"))
        .resolving_by(server, directory)
}

fn sorted(letters: &str) -> String {
    let mut letters: Vec<_> = letters.chars().collect();
    letters.sort_unstable();
    letters.dedup();
    letters.into_iter().collect()
}

#[test]
fn each_address_is_an_origin_and_follows_dns() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origins = LetterOrigin::at_one_port("abc");
    let at = addresses(&origins);
    server.addresses("app.test", &at[..2]);
    let proxy = hosted(&server, &directory, at[0].port()).start();
    assert_eq!(sorted(&proxy.letters(4)), "ab");
    let live: Vec<_> = (0..2).map(|_| proxy.try_letter().unwrap()).collect();
    // A new address counts at once; a missing one is removed after two equal answers.
    server.addresses("app.test", &at[1..]);
    eventually("the new one gets connections", || proxy.letter() == 'c');
    proxy.log_line(|line| line.contains("has left DNS") && line.contains(&at[0].to_string()));
    assert_eq!(sorted(&proxy.letters(6)), "bc");
    // Live connections stay.
    for (_, stream) in &live {
        stream.must_echo(b"still here");
    }
}

#[test]
fn the_last_good_answer_is_kept_while_the_resolver_fails() {
    let troubles = [
        DnsAnswer::NoSuchName,
        DnsAnswer::Failure,
        DnsAnswer::Nothing,
    ];
    at_once(troubles, |trouble| {
        let (server, directory) = (NameServer::new(), Directory::new());
        let origins = LetterOrigin::at_one_port("a");
        server.addresses("app.test", &addresses(&origins));
        let proxy = hosted(&server, &directory, origins[0].address().port()).start();
        assert_eq!(proxy.letter(), 'a');
        server.set_answer("app.test", trouble);
        proxy.log_line(|line| line.contains("cannot be resolved"));
        server.wait_for_queries(2);
        let start = Instant::now();
        assert_eq!(proxy.letters(3), "aaa");
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "a connection waited for the resolver"
        );
    });
}

#[test]
fn an_unresolved_name_delays_nothing_and_joins_once_it_resolves() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origins = LetterOrigin::at_one_port("a");
    let port = origins[0].address().port();
    let proxy = hosted(&server, &directory, port)
        .endpoint("other", "tcp")
        .route("forward", "", &origins[0])
        .origins(&format!("[\"late.test:{port}\", \"{}\"]", origins[0]))
        .admin()
        .start();
    assert_eq!(proxy.dial("other").receive(1), b"a");
    eventually("the status lists it", || {
        let list = proxy.ctl_json(&["origins"]);
        let late = list["origins"].as_array().unwrap().iter();
        let mut late = late.filter(|o| o["address"] == format!("late.test:{port}"));
        late.any(|o| o["state"] == "unresolved" && o["check"] == "there is no such name")
    });
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy
        .outcome_of(&client)
        .must_be("origin_resolve")
        .must_have("stage", "resolve");
    server.addresses("app.test", &addresses(&origins));
    eventually("it gets connections", || proxy.try_letter().is_some());
}

#[test]
fn a_hanging_resolver_blocks_no_connection_that_does_not_need_it() {
    let (server, directory) = (NameServer::new(), Directory::new());
    server.set_answer("app.test", DnsAnswer::Nothing);
    let origins = LetterOrigin::at_one_port("a");
    let port = origins[0].address().port();
    let proxy = hosted(&server, &directory, port)
        .origins(&format!("[\"app.test:{port}\", \"{}\"]", origins[0]))
        .start();
    let start = Instant::now();
    assert_eq!(proxy.letters(5), "aaaaa");
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn an_answer_is_used_for_its_ttl() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origins = LetterOrigin::at_one_port("a");
    let ip = std::net::Ipv4Addr::new(127, 0, 1, 1);
    server.set_answer("app.test", DnsAnswer::Addresses(vec![ip], 3));
    let proxy = hosted(&server, &directory, origins[0].address().port()).start();
    assert_eq!(proxy.letter(), 'a');
    let (start, before) = (Instant::now(), server.queries());
    assert_eq!(proxy.letters(20), "a".repeat(20));
    server.wait_for_queries(1);
    assert!(
        start.elapsed() > Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );
    assert!(server.queries() <= before + 2, "A and AAAA, once");
}

#[test]
fn srv_records_have_ports_priorities_and_weights() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let [a, b, c] = ['a', 'b', 'c'].map(LetterOrigin::new);
    let service = |origin: &LetterOrigin, priority, weight| {
        (priority, weight, origin.address().port(), "node.test.")
    };
    let all = vec![service(&a, 10, 3), service(&b, 10, 1), service(&c, 20, 1)];
    server.set_answer("_app._tcp.test", DnsAnswer::Services(all, 1));
    server.addresses("node.test", &[a.address()]);
    let proxy = Proxy::builder()
        .forward(&"srv:_app._tcp.test")
        .resolving_by(&server, &directory)
        .start();
    let letters = proxy.letters(8);
    assert_eq!(letters.matches('a').count(), 6, "{letters}");
    assert_eq!(letters.matches('b').count(), 2, "{letters}");
    drop((a, b));
    assert_eq!(
        proxy.letter(),
        'c',
        "the next priority, once the first is gone"
    );
    server.set_answer(
        "_app._tcp.test",
        DnsAnswer::Services(vec![service(&c, 5, 1)], 1),
    );
    proxy.log_line(|line| line.contains("has left DNS"));
    assert_eq!(proxy.letters(3), "ccc");
}

/// RFC 8305: an address that drops SYNs costs 250 ms, not the whole timeout.
#[test]
fn an_address_that_drops_syns_is_raced_by_another_of_its_name() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let (hole, _held) = blackhole();
    let good = LetterOrigin::at(SocketAddr::from(([127, 0, 1, 1], hole.port())), 'a');
    server.addresses("app.test", &[hole, good.address()]);
    let proxy = hosted(&server, &directory, hole.port())
        .on_upstream("connect: { timeout: 8s }")
        .start();
    let start = Instant::now();
    let client = proxy.dial("forward");
    assert_eq!(client.receive(1), b"a");
    assert_eq!(proxy.letters(3), "aaa");
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    client.end();
    client.receive_to_end();
    let origin = format!("app.test:{} ({})", hole.port(), good.address());
    proxy.outcome_of(&client).must_have("origin", &origin);
}

/// Another address of the name has won, but this one counts against its origin all the same.
#[test]
fn an_address_that_refuses_while_others_are_raced_is_a_failure_in_the_metrics() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let (hole, _held) = blackhole();
    let dead = SocketAddr::from(([127, 0, 2, 1], hole.port()));
    let good = LetterOrigin::at(SocketAddr::from(([127, 0, 9, 1], hole.port())), 'a');
    server.addresses("app.test", &[hole, dead, good.address()]);
    let proxy = hosted(&server, &directory, hole.port())
        .on_upstream("balance: first")
        .on_upstream("connect: { timeout: 8s, attempts: 1 }")
        .admin()
        .start();
    assert_eq!(proxy.letter(), 'a');
    proxy.outcome().must_be("ok");
    let labels = [("reason", "origin_refused")];
    let failures = proxy
        .metrics()
        .count("reseal_origin_failures_total", &labels);
    assert_eq!(failures, 1.0);
}

/// RFC 8305: each dead address costs 250 ms, however many there are.
#[test]
fn the_addresses_of_a_name_are_tried_one_after_another_until_one_connects() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let (first, held) = blackhole();
    let holes = [2, 3, 4].map(|n| blackhole_at(SocketAddr::from(([127, 0, n, 1], first.port()))));
    let good = LetterOrigin::at(SocketAddr::from(([127, 0, 9, 1], first.port())), 'a');
    let mut all: Vec<_> = holes.iter().map(|(hole, _)| *hole).collect();
    all.extend([first, good.address()]);
    server.addresses("app.test", &all);
    // One attempt: the next address of the name is no next attempt, and no timeout is waited for.
    let proxy = hosted(&server, &directory, first.port())
        .on_upstream("connect: { timeout: 8s, attempts: 1 }")
        .start();
    // Each begins with another address.
    at_once(0..all.len(), |_| assert_eq!(proxy.letter(), 'a'));
    for record in (0..all.len()).map(|_| proxy.outcome()) {
        record.must_be("ok");
    }
    drop((holes, held));
}

#[test]
fn names_in_etc_hosts_need_no_server() {
    let (server, directory) = (NameServer::new(), Directory::new());
    server.set_answer("local_db.test", DnsAnswer::Nothing);
    let origin = LetterOrigin::new('a');
    let (silent, port) = (server.resolv_conf(), origin.address().port());
    for resolv_conf in [&*silent, "nameserver 127.0.0.254\n", ""] {
        let files = [
            ("resolv.conf", resolv_conf),
            ("hosts", "127.0.0.1 other local_db.test\n"),
        ];
        let proxy = Proxy::builder()
            .forward(&format!("Local_DB.test:{port}"))
            .resolving_by_files(&files, &directory)
            .start();
        assert_eq!(proxy.letters(2), "aa", "{resolv_conf}");
    }
    assert_eq!(server.queries(), 0);
}

#[test]
fn a_silent_name_server_leaves_time_for_the_next_one() {
    let (silent, good, directory) = (NameServer::new(), NameServer::new(), Directory::new());
    silent.set_answer("app.test", DnsAnswer::Nothing);
    silent.set_answer("bad.test", DnsAnswer::Failure);
    let origin = LetterOrigin::at(SocketAddr::from(([127, 0, 1, 1], 0)), 'a');
    let port = origin.address().port();
    for name in ["app.test", "bad.test"] {
        good.addresses(name, &[origin.address()]);
        let conf = silent.resolv_conf() + &good.resolv_conf();
        let proxy = Proxy::builder()
            .forward(&format!("{name}:{port}"))
            .resolving_by_files(&[("resolv.conf", &conf)], &directory)
            .start();
        assert_eq!(proxy.letters(2), "aa", "{name}");
    }
}

#[test]
fn localhost_needs_neither_a_server_nor_a_file() {
    let origin = LetterOrigin::new('a');
    let proxy = Proxy::builder()
        .forward(&format!("localhost:{}", origin.address().port()))
        .resolving_by_files(&[("resolv.conf", ""), ("hosts", "")], &Directory::new())
        .start();
    assert_eq!(proxy.letters(2), "aa");
}

#[test]
fn a_server_that_never_answers_for_ipv6_costs_a_name_nothing() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origins = LetterOrigin::at_one_port("ab");
    let at = addresses(&origins);
    let of_one_family = |origin: &SocketAddr| match origin.ip() {
        std::net::IpAddr::V4(ip) => DnsAnswer::AddressesOfOneFamily(vec![ip], 1),
        std::net::IpAddr::V6(_) => panic!("not in this test"),
    };
    server.set_answer("app.test", of_one_family(&at[0]));
    let conf = server.resolv_conf() + "options timeout:30 attempts:5\n";
    let proxy = Proxy::builder()
        .forward(&format!("app.test:{}", at[0].port()))
        .resolving_by_files(&[("resolv.conf", &conf)], &directory)
        .start();
    assert_eq!(proxy.letters(2), "aa");
    // The addresses of the family that answers are followed.
    server.set_answer("app.test", of_one_family(&at[1]));
    proxy.log_line(|line| line.contains("has left DNS"));
    assert_eq!(proxy.letters(2), "bb");
}

#[test]
fn variables_of_the_environment_amend_resolv_conf() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origin = LetterOrigin::at(SocketAddr::from(([127, 0, 1, 1], 0)), 'a');
    server.addresses("app.env.test", &[origin.address()]);
    let conf = server.resolv_conf() + "search file.test\n";
    let proxy = Proxy::builder()
        .forward(&format!("app:{}", origin.address().port()))
        .resolving_by_files(&[("resolv.conf", &conf)], &directory)
        .environment("LOCALDOMAIN", "env.test")
        .environment("RES_OPTIONS", "timeout:1 wat")
        .start();
    assert_eq!(proxy.letters(2), "aa");
    proxy.log_line(|line| line.contains("RES_OPTIONS") && line.contains(r#"option \"wat\""#));
}

#[test]
fn labels_of_origins_may_have_underscores() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origin = LetterOrigin::at(SocketAddr::from(([127, 0, 1, 1], 0)), 'a');
    server.addresses("stack_orders1", &[origin.address()]);
    let proxy = Proxy::builder()
        .forward(&format!("stack_orders1:{}", origin.address().port()))
        .resolving_by(&server, &directory)
        .start();
    assert_eq!(proxy.letters(2), "aa");
}

#[test]
fn a_broken_line_costs_that_line_alone_and_is_told() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origin = LetterOrigin::at(SocketAddr::from(([127, 0, 1, 1], 0)), 'a');
    server.addresses("app.sub.test", &[origin.address()]);
    let conf = format!(
        "nameserver 10.0.0.999\nfrobnicate\n{}search b..d sub.test\noptions wat timeout:0\n",
        server.resolv_conf()
    );
    let files = [
        ("resolv.conf", &*conf),
        ("hosts", "127.0.0.300 app\n127.0.1.1 near\n"),
    ];
    let port = origin.address().port();
    let proxy = Proxy::builder()
        .forward(&format!("app:{port}"))
        .endpoint("near", "tcp")
        .route("forward", "", &format!("near:{port}"))
        .resolving_by_files(&files, &directory)
        .start();
    assert_eq!(proxy.letters(2), "aa");
    assert_eq!(proxy.dial("near").receive(1), b"a");
    for (line, why) in [
        (1, r#"\"10.0.0.999\" is no IP address"#),
        (2, r#"\"frobnicate\" is not known"#),
        (5, r#"\"b..d\" is no domain"#),
        (6, r#"option \"wat\" is not known"#),
        (1, r#"\"127.0.0.300\" is no IP address"#),
    ] {
        let number = format!("\"line\":{line},");
        proxy.log_line(|text| text.contains(why) && text.contains(&number));
    }
}

#[test]
fn a_reload_that_changes_the_port_keeps_the_addresses_while_the_resolver_fails() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let [a, b] = ["a", "b"].map(|letter| LetterOrigin::at_one_port(letter).remove(0));
    server.addresses("app.test", &[a.address()]);
    let [old, new] = [&a, &b].map(|origin| format!("app.test:{}", origin.address().port()));
    let proxy = hosted(&server, &directory, a.address().port()).start();
    assert_eq!(proxy.letter(), 'a');
    server.set_answer("app.test", DnsAnswer::Failure);
    proxy.log_line(|line| line.contains("cannot be resolved"));
    proxy.reload(&proxy.text().replace(&old, &new));
    assert_eq!(proxy.letters(2), "bb");
}

#[test]
fn a_name_that_resolves_to_our_own_endpoint_is_not_dialled() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let port = Port::reserve();
    server.addresses("app.test", &[port.address()]);
    let proxy = hosted(&server, &directory, port.number())
        .listen(&port.address().to_string())
        .start();
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    proxy
        .outcome_of(&client)
        .must_be("origin_loop")
        .must_have("fault", "proxy")
        .must_have("stage", "connect");
    assert_eq!(proxy.records_left(), Vec::<String>::new());
}

#[test]
fn a_name_with_the_port_of_an_ipv6_endpoint_of_ours_is_dialled_over_ipv4() {
    let (server, directory) = (NameServer::new(), Directory::new());
    let origin = Origin::echo();
    let port = origin.listen_addr().port();
    server.addresses("app.test", &[origin.listen_addr().tcp()]);
    let proxy = hosted(&server, &directory, port)
        .listen(&format!("\"[::]:{port}\""))
        .start();
    proxy.dial("forward").must_echo(b"the other family");
}

#[test]
fn a_link_to_a_unix_endpoint_of_ours_is_not_dialled() {
    let draft = Proxy::builder();
    let (socket, alias) = (draft.path("edge.sock"), draft.path("alias.sock"));
    std::os::unix::fs::symlink(&socket, &alias).unwrap();
    let proxy = draft
        .forward(&format!("unix:{alias}"))
        .listen(&format!("unix:{socket}"))
        .start();
    let client = proxy.dial("forward");
    assert_eq!(client.receive_to_end(), (vec![], End::Clean));
    proxy.outcome().must_be("origin_loop");
    assert_eq!(proxy.records_left(), Vec::<String>::new());
}

#[test]
fn a_chain_of_endpoints_by_address_is_dialled() {
    let origin = Origin::echo();
    let port = Port::reserve();
    let proxy = Proxy::builder()
        .endpoint("last", "tcp")
        .listen(&port.address().to_string())
        .route("forward", "", &origin)
        .forward(&port.address())
        .start();
    proxy.dial("forward").must_echo(b"x");
}
