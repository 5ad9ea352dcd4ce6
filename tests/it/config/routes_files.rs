//! Files of server names and the upstream that each leads to.

use std::fmt::Write as _;
use std::time::Instant;

use crate::harness::{ConfigCheck, LetterOrigin, Proxy, ProxyBuilder, recorded_hello};

const GOOD: &str = "endpoints:
  - name: edge
    listen: 127.0.0.1:0
    routes:
      - { name: tenants, routes_file: { file: tenants.csv }, mode: passthrough }
      - { name: rest, match: { sni: \"**.rest.test\" }, mode: passthrough, upstream: a }
upstreams:
  a: { origins: [\"127.0.0.1:9\"] }
  b: { origins: [\"127.0.0.1:8\"] }
";

fn check(config: &str, file: impl AsRef<[u8]>) -> ConfigCheck {
    ConfigCheck::new(config).with_file("tenants.csv", file, 0o644)
}

/// An edge whose names are in a file, with the upstreams `a` and `b`.
fn tenants(file: &str, origins: &[LetterOrigin]) -> ProxyBuilder {
    let (a, b) = (&origins[0], &origins[1]);
    Proxy::builder().file("tenants.csv", file).yaml(&format!(
        "log: {{ format: json }}
process: {{ reload: {{ debounce: 50ms }} }}
admin: {{ listen: \"unix:admin.sock\" }}
endpoints:
  - name: edge
    listen: 127.0.0.1:0
    routes:
      - {{ name: tenants, routes_file: {{ file: tenants.csv }}, mode: passthrough }}
      - {{ name: rest, match: {{ sni: \"**.rest.test\" }}, mode: passthrough, upstream: a }}
upstreams: {{ a: {{ origins: [\"{a}\"] }}, b: {{ origins: [\"{b}\"] }} }}
"
    ))
}

/// The letter of the origin that a client's hello is sent to; `?` if it is refused.
#[track_caller]
fn letter(proxy: &Proxy, sni: &str) -> char {
    let client = proxy.dial("edge");
    client.write_raw(&recorded_hello(sni)).unwrap();
    let letter = client.try_receive(1).unwrap_or_default();
    client.end();
    match letter.first() {
        Some(byte) if byte.is_ascii_lowercase() => char::from(*byte),
        _ => '?',
    }
}

#[test]
fn each_name_of_the_file_leads_to_its_upstream() {
    let origins = [LetterOrigin::new('a'), LetterOrigin::new('b')];
    let file = "name,upstream\n# tenants\none.test,a\r\n two.test , b # moved\n\n*.wild.test,b\n**.deep.test,a\n\
                x.deep.test,b\nB\u{fc}cher.test,b\none.rest.test,b\n";
    let proxy = tenants(file, &origins).start();
    for (sni, expected) in [
        ("one.test", 'a'),
        ("TWO.test", 'b'),
        ("x.wild.test", 'b'),
        ("y.x.wild.test", '?'),
        ("y.x.deep.test", 'a'),
        ("x.deep.test", 'b'),
        ("xn--bcher-kva.test", 'b'),
        ("one.rest.test", 'b'),
        ("two.rest.test", 'a'),
        ("three.test", '?'),
    ] {
        assert_eq!(letter(&proxy, sni), expected, "{sni}");
        let record = proxy.outcome();
        match expected {
            '?' => record.must_be("unknown_sni"),
            'a' | 'b' if sni == "two.rest.test" => record.must_have("route", "rest"),
            _ => record
                .must_have("route", "tenants")
                .must_have("upstream", &expected.to_string()),
        };
    }
}

#[test]
fn a_changed_file_is_read_alone_and_a_bad_one_keeps_the_old_content() {
    let origins = [LetterOrigin::new('a'), LetterOrigin::new('b')];
    let proxy = tenants("one.test,a\n", &origins).start();
    assert_eq!(letter(&proxy, "one.test"), 'a');
    let rewrite = |text: &str| {
        let lines = proxy.reloads(|| drop(proxy.directory().write("tenants.csv", text)));
        lines.join("\n")
    };
    let log = rewrite("one.test,b\ntwo.test,a\n");
    assert!(log.contains("route edge/tenants changed"), "{log}");
    assert_eq!(letter(&proxy, "one.test"), 'b');
    assert_eq!(letter(&proxy, "two.test"), 'a');
    for (bad, words) in [
        (
            "one.test,a\ntwo.test,c\n",
            "tenants.csv:2: there is no upstream `c`",
        ),
        ("one.test,a\n\n# x\nno name,b\n", "tenants.csv:4: "),
        (
            "one.test,a\none.test,b\n",
            "tenants.csv:2: `one.test` is in this file already",
        ),
        ("", "tenants.csv: it has no server name"),
    ] {
        let log = rewrite(bad);
        assert!(log.contains(words) && log.contains("stays in use"), "{log}");
        assert_eq!(letter(&proxy, "one.test"), 'b', "{bad}");
    }
    // A reload of the configuration itself refuses what is bad.
    let lines = proxy.reload(proxy.text());
    assert!(
        lines.join("\n").contains("the reload is refused"),
        "{lines:?}"
    );
    assert_eq!(letter(&proxy, "one.test"), 'b');
    rewrite("one.test,a\n");
    assert_eq!(letter(&proxy, "one.test"), 'a');
    assert_eq!(letter(&proxy, "two.test"), '?');
}

#[test]
fn a_live_connection_outlives_its_line() {
    let origins = [LetterOrigin::new('a'), LetterOrigin::new('b')];
    let proxy = tenants("one.test,a\n", &origins).start();
    let (client, hello) = (proxy.dial("edge"), recorded_hello("one.test"));
    client.write_raw(&hello).unwrap();
    assert_eq!(client.receive(1), b"a");
    assert_eq!(client.receive(hello.len()), hello);
    proxy.reloads(|| drop(proxy.directory().write("tenants.csv", "two.test,b\n")));
    client.must_echo(b"still here");
    assert_eq!(letter(&proxy, "one.test"), '?');
    assert_eq!(letter(&proxy, "two.test"), 'b');
}

#[test]
fn a_bad_line_is_an_error_with_its_number() {
    check(GOOD, "one.test,a\ntwo.test,b\n").must_be_good();
    for (file, words) in [
        (
            "one.test,a\ntwo.test,c\n",
            &["tenants.csv:2: there is no upstream `c`"][..],
        ),
        (
            "one.test,a\ntwo.test\n",
            &["tenants.csv:2: `two.test` is not `NAME,UPSTREAM`"],
        ),
        ("one.test,a,b\n", &["tenants.csv:1: `one.test,a,b` is not"]),
        (",a\n", &["tenants.csv:1: `,a` is not"]),
        ("one.test,\n", &["tenants.csv:1: `one.test,` is not"]),
        (
            "one test,a\n",
            &["tenants.csv:1: `one test` is not a host name"],
        ),
        ("10.0.0.1,a\n", &["tenants.csv:1: ", "IP address"]),
        ("a.**.test,a\n", &["tenants.csv:1: ", "host name"]),
        ("one.test,a\nONE.test.,b\n", &["tenants.csv:2: ", "already"]),
        ("# nothing\nname,upstream\n", &["it has no server name"]),
        ("one.test,a\nname,upstream\n", &["tenants.csv:2: "]),
    ] {
        check(GOOD, file).must_report("tenants.csv", words);
    }
    check(GOOD, b"one.test,a\n\xff,b\n")
        .must_report("tenants.csv", &["tenants.csv:2: it is not text"]);
    ConfigCheck::new(GOOD).must_report("tenants.csv", &["cannot be read"]);
}

#[test]
fn what_does_not_go_with_a_file_is_an_error() {
    let file = "one.test,a\n*.two.test,b\n";
    for (old, new, about, words) in [
        (
            "csv }, mode",
            "csv }, upstream: a, mode",
            "a, mode",
            &["`upstream` beside `routes_file`"][..],
        ),
        (
            "csv }, mode",
            "csv }, match: { sni: x.test }, mode",
            "x.test }",
            &["`match.sni` beside"],
        ),
        (
            "    routes:",
            "    default_route: tenants\n    routes:",
            "tenants\n",
            &["`routes_file`, which has nothing"],
        ),
        (
            "[\"127.0.0.1:9\"]",
            "[{ address: \"{1}.x:9\", under: x }]",
            "tenants.csv",
            &["tenants.csv:1: ", "wildcard"],
        ),
        (
            "[\"127.0.0.1:8\"]",
            "[\"127.0.0.1:8\"], tls: { negotiate: smtp }",
            "tenants.csv",
            &["tenants.csv:2: the upstream `b`"],
        ),
    ] {
        let text = good_without_rest().replace(old, new);
        check(&text, file).must_report(about, words);
    }
    let looping = good_without_rest()
        .replace("127.0.0.1:0", "127.0.0.1:18443")
        .replace("127.0.0.1:8\"", "127.0.0.1:18443\"");
    check(&looping, file).must_report("tenants.csv", &["tenants.csv:2: ", "leads back"]);
    let plain = good_without_rest().replace("127.0.0.1:0", "127.0.0.1:0\n    protocol: tcp");
    let plain = plain.replace("mode: passthrough", "mode: forward");
    check(&plain, file).must_report("{ file", &["clients send no name"]);
    check(GOOD, "**.rest.test,b\n")
        .must_warn("\"**.rest.test", &["tenants.csv has this name, too"]);
}

fn good_without_rest() -> String {
    let rest = GOOD.lines().filter(|line| !line.contains("name: rest"));
    rest.collect::<Vec<_>>().join("\n") + "\n"
}

#[test]
fn a_terminating_route_is_told_which_names_have_no_certificate() {
    let text = good_without_rest()
        .replace("mode: passthrough", "mode: terminate")
        .replace(
            "    routes:",
            "    tls: { certificates: [{ cert: good.pem, key: good.key }] }\n    routes:",
        );
    let good = check(&text, "a.test,a\nx.wild.test,b\n");
    good.must_be_good();
    good.check(&[])
        .must_print("(tenants.csv)")
        .must_print("(by file)");
    good.explain(&["--sni", "x.wild.test"])
        .must_exit_with(0)
        .must_print("tenants: wins")
        .must_print("upstream      b");
    check(&text, "a.test,a\nc.test,b\nb.test,b\n")
        .must_warn("{ file", &["covers 2 of its 3 names, such as `b.test`"]);
}

/// Prints how long a large file takes, beside the same configuration without it.
#[test]
fn a_hundred_thousand_lines_are_read_and_looked_up() {
    let mut file = String::new();
    for n in 0..100_000 {
        let _ = writeln!(
            file,
            "tenant-{n}.customers.example.test,{}",
            ["a", "b"][n % 2]
        );
    }
    let few = check(GOOD, "one.test,a\n");
    let start = Instant::now();
    few.check(&[]).must_exit_with(0);
    let base = start.elapsed();
    let many = check(GOOD, &file);
    let start = Instant::now();
    many.check(&[]).must_exit_with(0);
    eprintln!(
        "check with 1 line: {base:?}, with 100 000: {:?}",
        start.elapsed()
    );
    let origins = [LetterOrigin::new('a'), LetterOrigin::new('b')];
    let proxy = tenants(&file, &origins).start();
    for (n, expected) in [(0, 'a'), (1, 'b'), (54_321, 'b'), (99_998, 'a')] {
        let sni = format!("tenant-{n}.customers.example.test");
        assert_eq!(letter(&proxy, &sni), expected);
    }
    assert_eq!(letter(&proxy, "tenant-100000.customers.example.test"), '?');
}
