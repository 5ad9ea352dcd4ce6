//! YAML: documents, syntax, duplicate keys, anchors.

use super::{SMALL, good, lines, only};
use crate::config::reader::read::Leaf;

#[test]
fn a_file_that_is_not_a_single_map_is_refused() {
    let empty =
        "f: error: the file holds no configuration (it needs at least `endpoints` and `upstreams`)";
    for text in ["", "# nothing\n", "---\n", "~", "\u{feff}"] {
        assert_eq!(only(text), empty);
    }
    assert!(only("- a\n- b\n").starts_with("f:1:1: error: expected a map, found a list"));
    assert!(only("words").starts_with("f:1:1: error: expected a map, found `words`"));
    let two = format!("{SMALL}---\n{SMALL}");
    assert_eq!(
        only(&two),
        "f:8:1: error: a second YAML document in the same file (leave `---` out: the configuration is one document)"
    );
    assert_eq!(
        lines("endpoints: []\nupstreams: {}\n"),
        ["f:1:12: error: at least one endpoint is needed"]
    );
}

#[test]
fn a_yaml_syntax_error_is_reported_with_its_position() {
    for (text, place) in [
        ("a: b: c\n", "f:1:5: error: this is not valid YAML"),
        ("a:\n\tb: 1\n", "f:2:1: error: this is not valid YAML"),
        ("a: [1, 2\n", "f:1:4: error: this is not valid YAML"),
        ("a: *b\n", "f:1:4: error: this is not valid YAML"),
        ("a: !!str b\n", "f:1:"),
    ] {
        let line = only(text);
        assert!(line.starts_with(place), "{line}");
    }
    assert!(only("a: !!str b\n").ends_with("the YAML tag `!!str` has no meaning here"));
}

#[test]
fn a_variable_that_breaks_a_flow_map_gets_a_hint_about_quotes() {
    let line = only("log: { level: ${LEVEL} }\n");
    assert!(
        line.ends_with("(quote it inside { }: `key: \"${VARIABLE}\"`)"),
        "{line}"
    );
}

#[test]
fn a_duplicate_key_is_refused_at_its_second_position() {
    let text = format!("{SMALL}log: {{ level: info, level: warn }}\nlog: {{}}\n");
    assert_eq!(
        lines(&text),
        [
            "f:8:21: error: `level` is given twice, the first one at 8:8 (leave one of them out)",
            "f:9:1: error: `log` is given twice, the first one at 8:1 (leave one of them out)"
        ]
    );
    assert_eq!(
        lines(&format!("{SMALL}x-a: {{ [a]: b, ~: c }}\n")),
        [
            "f:8:8: error: expected a key, found a list (a bare `[` begins a list: an IPv6 address with its port is put in quotes)",
            "f:8:16: error: expected a key, found nothing"
        ]
    );
}

#[test]
fn ten_thousand_routes_with_certificates_of_their_own_are_read() {
    let mut routes = String::new();
    let mut certificates = String::new();
    for n in 0..10_000 {
        certificates += &format!("        - {{ cert: {n}.pem, key: {n}.key }}\n");
        routes += &format!(
            "      - {{ name: r{n}, match: {{ sni: h{n}.test, source: 10.0.0.0/8 }}, mode: terminate, upstream: up }}\n"
        );
    }
    let text = format!(
        "endpoints:\n  - name: edge\n    listen: '*:443'\n    tls:\n      certificates:\n{certificates}    \
         routes:\n{routes}upstreams: {{ up: {{ origins: ['127.0.0.1:9'] }} }}\n"
    );
    assert_eq!(good(&text).endpoints[0].value.routes.len(), 10_000);
}

#[test]
fn anchors_and_merges_work_and_own_keys_win() {
    let text = format!(
        "x-a: &a {{ nodelay: off, keepalive: 5s }}\nx-b: &b {{ keepalive: 7s, user_timeout: 9s }}\n{}",
        SMALL.replace(
            "    routes",
            "    tcp: { keepalive: 6s, <<: [*a, *b] }\n    routes"
        ),
    );
    let tcp = &good(&text).endpoints[0].value.tcp.value.clone();
    assert!(!tcp.nodelay.value);
    assert_eq!(Leaf::render(&tcp.keepalive.value), "6s");
    assert_eq!(Leaf::render(&tcp.user_timeout.value), "9s");
    assert_eq!(
        only(&format!("{SMALL}x-c: {{ <<: 5 }}\n")),
        "f:8:12: error: `<<` takes a map or a list of maps, found a single value"
    );
    assert_eq!(
        only(&format!("{SMALL}x-c: &c [*c]\n")),
        "f:8:10: error: this alias refers to a node that contains it"
    );
}

#[test]
fn an_error_in_an_anchor_is_reported_once_at_the_anchor() {
    let tcp = "    tcp: *a\n    routes";
    let text = format!(
        "x-a: &a {{ keepalive: 5 }}\n{}",
        SMALL.replace("    routes", tcp)
    )
    .replace("'] }", "'], tcp: *a }");
    assert_eq!(
        only(&text),
        "f:1:22: error: the duration `5` has no unit (add a unit: `5s`)"
    );
}
