//! Rules on clients' addresses: who may connect, who may use a route, and who has to leave after a reload.

use std::fs;

use rustix::process::Signal;

use crate::harness::proxy_header::proxied;
use crate::harness::{ConfigCheck, End, Origin, Proxy, Stream, one_route, recorded_hello};

const ACCESS_DENIED: u8 = 49;

/// The client at this address is refused without a byte, and its record says why.
#[track_caller]
fn must_be_denied(proxy: &Proxy, client: &Stream, detail: &str) {
    assert_eq!(client.receive_to_end(), (vec![], End::Reset));
    let record = proxy.outcome_of(client);
    record.must_be("denied_source").must_have("fault", "policy");
    record
        .must_have("stage", "admit")
        .must_have("detail", detail);
}

#[test]
fn an_endpoint_serves_allowed_addresses_and_resets_others_before_any_byte() {
    let origin = Origin::echo();
    let rules = "sources: { allow: [127.0.0.0/28], deny: [127.0.0.6/31] }";
    let proxy = Proxy::builder()
        .passthrough("a.test", &origin)
        .on_endpoint(rules)
        .forward(&origin)
        .on_endpoint(rules)
        .start();
    let hello = recorded_hello("a.test");
    for endpoint in ["edge", "forward"] {
        let place = proxy.listen_addr(endpoint);
        for (source, detail) in [
            ("127.0.0.6", "in 127.0.0.6/31 of `sources.deny`"),
            ("127.0.0.7", "in 127.0.0.6/31 of `sources.deny`"),
            ("127.0.0.16", "in no network of `sources.allow`"),
        ] {
            let client = Stream::dial_from(source, place);
            must_be_denied(&proxy, &client, detail);
        }
        let client = Stream::dial_from("127.0.0.8", place);
        client.must_echo(&hello);
        client.end();
        client.receive_to_end();
        proxy.outcome_of(&client).must_be("ok");
    }
    // The origin was never dialled for those that were denied.
    assert_eq!(origin.accepts(), 2);
}

#[test]
fn both_families_and_mapped_addresses_are_compared_in_one_form() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .listen("\"*:0\"")
        .on_endpoint("sources: { deny: [\"::1\", \"::ffff:127.0.0.0/120\"] }")
        .start();
    let port = proxy.listen_addr("forward").tcp().port();
    for address in ["127.0.0.1", "[::1]"] {
        let stream = std::net::TcpStream::connect(format!("{address}:{port}")).unwrap();
        let client = Stream::tcp(stream);
        assert_eq!(client.receive_to_end(), (vec![], End::Reset), "{address}");
    }
    for record in proxy.outcomes(2) {
        record.must_be("denied_source");
    }
}

#[test]
fn the_rules_see_the_address_of_the_proxy_header() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .on_endpoint("accept_proxy_protocol: { from: [127.0.0.0/8] }")
        .on_endpoint("sources: { allow: [192.0.2.0/24, \"2001:db8::/32\"], deny: [192.0.2.66] }")
        .start();
    for (source, is_allowed) in [
        ("192.0.2.1:9", true),
        ("[2001:db8::1]:9", true),
        ("[::ffff:192.0.2.1]:9", true),
        ("192.0.2.66:9", false),
        ("[::ffff:192.0.2.66]:9", false),
        ("198.51.100.1:9", false),
    ] {
        let destination = if source.starts_with('[') {
            "[::1]:1"
        } else {
            "127.0.0.1:1"
        };
        let client = proxy.dial("forward");
        client
            .write_raw(&proxied(source, destination, &[]))
            .unwrap();
        if is_allowed {
            client.must_echo(b"hello");
            client.end();
            client.receive_to_end();
            proxy.outcome().must_be("ok");
        } else {
            assert_eq!(client.receive_to_end(), (vec![], End::Reset), "{source}");
            proxy.outcome().must_be("denied_source");
        }
    }
}

#[test]
fn a_route_denies_by_an_alert_what_its_endpoint_admits() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .terminate("a.test", &origin)
        .on_route("sources: { deny: [127.0.0.1] }")
        .passthrough("b.test", &origin)
        .on_route("sources: { allow: [192.0.2.0/24] }")
        .terminate("c.test", &origin)
        .on_endpoint("sources: { allow: [127.0.0.0/8] }")
        .forward(&origin)
        .on_route("sources: { deny: [127.0.0.1] }")
        .start();
    for name in ["a.test", "b.test"] {
        let end = proxy.client(name).refusal();
        assert_eq!(end, End::Alert(ACCESS_DENIED), "{name}");
        let record = proxy.outcome();
        record.must_be("denied_source").must_have("stage", "route");
        record.must_have("route", name);
    }
    let plain = proxy.dial("forward");
    assert_eq!(plain.receive_to_end(), (vec![], End::Reset));
    proxy
        .outcome()
        .must_be("denied_source")
        .must_have("route", "forward");
    proxy.client("c.test").connect().must_echo(b"admitted");
}

#[test]
fn clients_of_unix_sockets_are_not_subject_to_rules_on_addresses() {
    let origin = Origin::echo();
    let proxy = Proxy::builder()
        .forward(&origin)
        .listen("[\"127.0.0.1:0\", \"unix:in.sock\"]")
        .on_endpoint("sources: { allow: [192.0.2.0/24] }")
        .without_waiting()
        .start();
    let path = proxy.directory().join("in.sock");
    let mut stream = None;
    crate::harness::eventually("it listens", || {
        stream = std::os::unix::net::UnixStream::connect(&path).ok();
        stream.is_some()
    });
    let stream = stream.unwrap();
    Stream::unix(stream).must_echo(b"local");
}

#[test]
fn a_match_excludes_networks() {
    let origin = Origin::echo();
    let other = Origin::plain().serve(|stream| stream.send(b"other"));
    let proxy = Proxy::builder()
        .forward(&origin)
        .named("most")
        .matching("source: [127.0.0.0/8, { not: [127.0.0.9, 127.1.0.0/16] }]")
        .route("forward", "", &other)
        .named("rest")
        .start();
    let place = proxy.listen_addr("forward");
    Stream::dial_from("127.0.0.8", place).must_echo(b"most");
    for source in ["127.0.0.9", "127.1.2.3"] {
        assert_eq!(
            Stream::dial_from(source, place).receive(5),
            b"other",
            "{source}"
        );
    }
}

/// The address that each test of lists dials from; the list in the file `list` decides.
const SOURCE: &str = "127.0.0.9";

fn with_file(rules: &str, list: &str, origin: &Origin) -> Proxy {
    Proxy::builder()
        .top("process: { reload: { debounce: 50ms } }")
        .file("list.txt", list)
        .forward(origin)
        .on_endpoint(rules)
        .admin()
        .start()
}

fn dial(proxy: &Proxy) -> Stream {
    Stream::dial_from(SOURCE, proxy.listen_addr("forward"))
}

#[test]
fn a_changed_list_is_read_by_itself_and_ends_the_connections_that_it_denies() {
    let origin = Origin::echo();
    let rules = "sources: { deny: [{ file: list.txt }] }";
    let proxy = with_file(rules, "# nobody yet\n", &origin);
    let (denied, other) = (dial(&proxy), proxy.dial("forward"));
    denied.must_echo(b"before");
    other.must_echo(b"before");
    // The text of the configuration is not read again.
    fs::write(proxy.directory().join("config.yaml"), "broken").unwrap();
    proxy.reloads(|| {
        let list = "\u{feff}192.0.2.0/24\r\n\n127.0.0.9 # that one\n";
        drop(proxy.directory().write("list.txt", list));
    });
    assert_eq!(denied.receive_to_end(), (vec![], End::Reset));
    let record = proxy.outcome_of(&denied);
    record.must_be("denied_source").must_have("stage", "relay");
    must_be_denied(&proxy, &dial(&proxy), "in 127.0.0.9/32 of list.txt");
    other.must_echo(b"after");
}

#[test]
fn a_live_connection_that_is_denied_later_is_logged_once_or_left_alone_as_configured() {
    let origin = Origin::echo();
    for recheck in ["log", "off"] {
        let rules = format!("sources: {{ deny: [{{ file: list.txt }}], recheck: {recheck} }}");
        let proxy = with_file(&rules, "", &origin);
        let (client, last) = (dial(&proxy), proxy.dial("forward"));
        client.must_echo(b"before");
        last.must_echo(b"before");
        for list in ["127.0.0.9\n", "127.0.0.9\n192.0.2.1\n", "127.0.0.0/8\n"] {
            proxy.reloads(|| drop(proxy.directory().write("list.txt", list)));
            let refused = dial(&proxy);
            assert_eq!(refused.receive_to_end(), (vec![], End::Reset));
        }
        let is_about = |line: &str, stream: &Stream| {
            line.contains("no longer admitted") && line.contains(&stream.local().to_string())
        };
        if recheck == "log" {
            proxy.log_line(|line| is_about(line, &last));
        }
        client.must_echo(b"after");
        let log = proxy.log();
        let told = log.iter().filter(|line| is_about(line, &client)).count();
        assert_eq!(told, usize::from(recheck == "log"), "{log:?}");
    }
}

#[test]
fn a_bad_or_emptied_allow_list_keeps_its_old_content() {
    let origin = Origin::echo();
    let rules = "sources: { allow: [{ file: list.txt }] }";
    let proxy = with_file(rules, "127.0.0.9\n", &origin);
    dial(&proxy).must_echo(b"before");
    for (list, why) in [
        ("127.0.0.9\n127.0.0.300\n", "list.txt:2: "),
        ("# all gone\n", "it has no network, so nobody could connect"),
    ] {
        let log = proxy.reloads(|| drop(proxy.directory().write("list.txt", list)));
        let is_told = |line: &String| line.contains(why) && line.contains("stays in use");
        assert!(log.iter().any(is_told), "{why}: {log:?}");
        dial(&proxy).must_echo(b"as before");
        // HUP reads everything anew and refuses it.
        let log = proxy.reloads(|| proxy.signal(Signal::HUP));
        let is_refused = |line: &String| line.contains("refused") && line.contains(why);
        assert!(log.iter().any(is_refused), "{why}: {log:?}");
        dial(&proxy).must_echo(b"as before");
    }
    proxy.reloads(|| drop(proxy.directory().write("list.txt", "127.0.0.1\n")));
    must_be_denied(&proxy, &dial(&proxy), "in no network of `sources.allow`");
}

#[test]
fn a_plan_counts_the_connections_that_new_rules_would_end() {
    let origin = Origin::echo();
    let proxy = Proxy::builder().forward(&origin).admin().start();
    let clients = [proxy.dial("forward"), proxy.dial("forward")];
    clients.iter().for_each(|client| client.must_echo(b"x"));
    let rules = "    protocol: tcp\n    sources: { deny: [127.0.0.0/8] }";
    let text = proxy.text().replace("    protocol: tcp", rules);
    proxy.directory().write("config.yaml", text);
    let plan = proxy.ctl_json(&["reload", "--plan"]);
    assert_eq!(plan["closed_by_sources"], 2, "{plan:#}");
    clients.iter().for_each(|client| client.must_echo(b"x"));
}

#[test]
fn refusals_can_be_sampled() {
    for (sample, records) in [("1/1", 6), ("1/3", 2), ("off", 0)] {
        let origin = Origin::echo();
        let proxy = Proxy::builder()
            .top(&format!("access_log: {{ sample_refused: {sample} }}"))
            .forward(&origin)
            .on_endpoint("sources: { deny: [127.0.0.1] }")
            .admin()
            .start();
        for _ in 0..6 {
            proxy.dial("forward").receive_to_end();
        }
        crate::harness::eventually("all are counted", || {
            let refused = [("reason", "denied_source")];
            proxy.metrics().sum("reseal_outcomes_total", &refused) == Some(6.0)
        });
        // The output has a thread of its own.
        crate::harness::eventually(sample, || proxy.records_left().len() == records);
    }
}

fn checked(sources: &str, list: &str) -> ConfigCheck {
    let text = one_route(&format!("sources: {sources}"), "");
    ConfigCheck::new(&text).with_file("list.txt", list, 0o644)
}

#[test]
fn mistakes_in_rules_and_lists_are_told() {
    checked("{ allow: [] }", "").must_report("[] }", &["an empty `allow` would let nobody in"]);
    checked("{ deny: [] }", "").must_report("[] }", &["an empty `deny` denies nobody"]);
    checked("{ deny: [10.0.0.1/8] }", "").must_report("10.0.0.1/8", &["did you mean `10.0.0.0/8`"]);
    checked("{ allow: [{ file: list.txt }] }", "#\n").must_report(
        "list.txt",
        &["list.txt: it has no network, so nobody could connect"],
    );
    for (list, words) in [
        ("10.0.0.0/8\nten\n", "list.txt:2: `ten` is not a network"),
        (
            "\n\n10.0.0.1/8",
            "list.txt:3: `10.0.0.1/8` has bits set beyond its prefix",
        ),
        (
            "10.0.0.0/8 ; drop",
            "list.txt:1: `10.0.0.0/8 ; drop` is more than one network",
        ),
        (
            "a\nb\nc",
            "list.txt:1: `a` is not a network; 2 more lines are bad",
        ),
        ("\u{1b}[2J", "list.txt:1: "),
    ] {
        checked("{ deny: { file: list.txt } }", list).must_report("list.txt", &[words]);
    }
    checked("{ deny: { file: none.txt } }", "").must_report("none.txt", &["none.txt"]);
}

#[test]
fn rules_without_effect_are_warned_about() {
    checked("{ deny: [10.0.0.0/8, 10.0.0.0/8] }", "")
        .must_warn("10.0.0.0/8]", &["in this list already"]);
    checked(
        "{ deny: { file: list.txt } }",
        "10.0.0.0/8\n::ffff:10.0.0.0/104\n",
    )
    .must_warn(
        "list.txt",
        &["list.txt:2: 10.0.0.0/8 is in this file already, in line 1"],
    );
    checked("{ recheck: log }", "").must_warn("{ recheck", &["denies nobody"]);
    checked("{ allow: [10.1.0.0/16], deny: [10.0.0.0/8] }", "")
        .must_warn("{ allow", &["nobody can connect"]);
    checked(
        "{ allow: [10.1.0.0/16], deny: [{ file: list.txt }] }",
        "# empty\n",
    )
    .must_be_good();
}

#[test]
fn a_route_that_excludes_all_its_addresses_is_refused() {
    let matching = |source: &str| {
        let text = one_route("", "");
        ConfigCheck::new(&text.replace("sni: a.test", &format!("sni: a.test, source: {source}")))
    };
    let source = "[10.1.0.0/16, { not: 10.0.0.0/8 }]";
    matching(source).must_report(source, &["can never match"]);
    matching("{ not: [] }").must_report("[]", &["an empty `not` excludes nothing"]);
    matching("{ not: [10.0.0.0/8] }").must_be_good();
    let finished = matching("[10.0.0.0/8, { not: 10.9.0.0/16 }]").check(&[]);
    finished
        .must_exit_with(0)
        .must_print("10.0.0.0/8 !10.9.0.0/16");
}

#[test]
fn explain_names_the_network_that_refuses() {
    let rules = one_route(
        "sources: { allow: [10.0.0.0/8], deny: [{ file: list.txt }] }",
        "sources: { deny: [10.7.0.0/16] }",
    );
    let config = ConfigCheck::new(&rules).with_file("list.txt", "10.6.6.0/24\n", 0o644);
    let explain = |source: &str| config.explain(&["--sni", "a.test", "--source", source]);
    for (source, said) in [
        (
            "10.6.6.6",
            "endpoint: 10.6.6.6 is denied: in 10.6.6.0/24 of list.txt",
        ),
        ("::ffff:10.6.6.6", "is denied: in 10.6.6.0/24 of list.txt"),
        (
            "192.0.2.1",
            "192.0.2.1 is denied: in no network of `sources.allow`",
        ),
        (
            "10.7.0.1",
            "route: 10.7.0.1 is denied: in 10.7.0.0/16 of `sources.deny`",
        ),
    ] {
        let explained = explain(source);
        explained.must_exit_with(1).must_print(said);
        explained.must_print("refused: denied_source");
    }
    explain("10.1.1.1")
        .must_exit_with(0)
        .must_print("10.1.1.1 is admitted");
    config
        .explain(&["--sni", "a.test"])
        .must_exit_with(2)
        .must_print("add --source IP");
}
