//! Reading a file: what is accepted, and the errors for everything else.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod drawing;
mod hostile;
mod reference;
mod schema;
mod values;
mod yaml;

use super::reader::generic::{AutoOr, Limit};
use super::reader::listen::Listen;
use super::reader::read::{Leaf, Read, Reader};
use super::reader::values::{Count, Output};
use super::{Problems, Spec, parse, print, read};

const SMALL: &str = "\
endpoints:
  - name: edge
    listen: '*:443'
    routes:
      - { name: vault, mode: passthrough, upstream: vault }
upstreams:
  vault: { origins: ['10.0.0.11:8200'] }
";

/// All defaults written out, as in the reference.
const DEFAULTS: &str = r#"
process:
  workers: auto
  limits: { connections: auto, handshakes: 1024 }
  drain: { lame_duck: 0s, stop: 20s, removed: 10m, idle_after: 30s }
  key_permissions: refuse
log: { level: info, format: auto, output: stderr }
access_log: { format: json, output: stdout, events: [close] }
endpoints:
  - name: edge
    listen: "*:443"
    protocol: tls
    backlog: 4096
    timeouts: { hello: 5s, client: 10s, origin: 10s, idle: 10m, half_close: 60s, lifetime: none }
    limits: { connections: none, per_source: none, new: none, new_per_source: none, handshakes: none,
      handshakes_per_source: none, source_prefix: { ipv4: 32, ipv6: 64 }, when_full: wait, dry_run: false }
    tcp: { nodelay: true, keepalive: 60s, user_timeout: none,
      send_buffer: none, receive_buffer: none, fast_open: false }
    tls:
      min_version: 1.2
      max_version: 1.3
      alpn: []
      on_truncation: reset
      certificates: []
      client_auth: { mode: off, send_ca_names: true }
    routes:
      - { name: vault, match: {}, mode: passthrough, upstream: vault, timeouts: {} }
upstreams:
  vault:
    origins: [10.0.0.11:8200]
    connect: { timeout: 3s, attempts: 3 }
    tcp: { nodelay: true, keepalive: 60s, user_timeout: none, send_buffer: none, receive_buffer: none }
    tls:
      ca: webpki
      sni: configured
      alpn: forward
      min_version: 1.2
      resumption: { max_age: 12h }
      on_truncation: reset
      verify: full
"#;

/// Every key, in every form.
const FULL: &str = r#"
x-tcp: &tcp { nodelay: no, keepalive: none }
process:
  workers: 8
  limits: { connections: 20000, handshakes: 64 }
  drain: { lame_duck: 250ms, stop: 2m, removed: 1h, idle_after: 90s }
  key_permissions: warn
log: { level: debug, format: logfmt, output: "/var/log/re $$ seal.log" }
access_log: { format: text, output: none, events: [open, close], sample_refused: 1/100 }
endpoints:
  - name: edge
    listen: ["*:443", "[::1]:0", 127.0.0.1:8443, unix:/run/a.sock, systemd:web,
             { unix: /run/b.sock, permissions: "0660", owner: 1000, group: web }]
    backlog: 128
    limits: { connections: 1000, per_source: 10, new: 2000/s, new_per_source: 50/m, handshakes: 9,
      handshakes_per_source: 4, source_prefix: { ipv4: 24 }, when_full: refuse, dry_run: on }
    sources: { allow: [10.0.0.0/8, { file: lists/allowed.txt }], deny: { file: lists/blocked.txt } }
    tcp: { <<: *tcp, fast_open: on, user_timeout: 30s }
    tls:
      min_version: "1.3"
      alpn: [h2, http/1.1]
      certificates:
        - { name: vault, cert: certs/vault.pem, key: certs/vault.key }
        - { cert: certs/wild.pem, names: "*.example.com" }
        - { dir: certs/live }
      client_auth: { mode: optional, ca: [a.pem, b.pem], send_ca_names: false }
    default_route: { route: vault, certificate: vault }
    routes:
      - name: vault
        match: { sni: [vault.example.com], alpn: h2, source: [10.0.0.0/8, "::1", { not: [10.9.0.0/16] }] }
        mode: reencrypt
        sources: { deny: "2001:db8::/32", recheck: log }
        limits: { connections: 100, new_per_source: 5/s }
        alpn: h2
        client_auth: { mode: false }
        upstream: vault
        timeouts: { client: 1s, origin: 2s, idle: none, half_close: 3s, lifetime: 4h }
  - name: plain
    listen: 0.0.0.0:80
    protocol: tcp
    default_route: all
    routes: [{ name: all, mode: forward, upstream: other }]
upstreams:
  vault:
    origins:
      - vault.internal:8200
      - { address: "dns:vault-2.internal:8200", name: two, server_name: vault.internal }
      - unix:/run/vault.sock
    tls:
      ca: [origin.pem]
      server_name: "${SERVER_NAME:-vault.internal}"
      sni: none
      client_certificate: { cert: a.pem, key: a.key }
      alpn: [h2]
      resumption: off
      verify: danger-none
  other: { origins: [10.0.0.1:80], tls: { ca: system, alpn: none, resumption: {} } }
"#;

fn no_variables(_: &str) -> Option<String> {
    None
}

fn some_variables(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some("hunter2".to_owned()),
        "PORT" => Some("8443".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn good(text: &str) -> Spec {
    let (spec, problems) = read(text, &some_variables);
    assert!(
        problems.is_empty(),
        "{}",
        problems.render("config.yaml", text)
    );
    spec.unwrap()
}

/// The problems of a text, one line each.
fn lines(text: &str) -> Vec<String> {
    let (_, problems) = read(text, &some_variables);
    problems
        .sorted()
        .iter()
        .map(|problem| problem.to_line("f"))
        .collect()
}

/// The single problem of a text.
fn only(text: &str) -> String {
    let lines = lines(text);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.into_iter().next().unwrap()
}

/// The message about one value, read as a `T`.
fn error_of<T: Read>(value: &str) -> String {
    let mut problems = Problems::default();
    let node = parse(value, &mut problems).unwrap();
    let mut reader = Reader::new(&some_variables, problems);
    let read = reader.located::<T>(&node);
    let problems = reader.into_problems();
    assert!(read.is_none(), "{value} was accepted");
    let problem = problems.sorted()[0].clone();
    match problem.help {
        Some(help) => format!("{} ({help})", problem.message),
        None => problem.message,
    }
}

/// A value read as a `T` and printed again.
fn printed<T: Leaf>(value: &str) -> String {
    match T::parse(value) {
        Ok(parsed) => parsed.render(),
        Err(invalid) => panic!("{value}: {invalid:?}"),
    }
}

#[test]
fn a_file_with_every_form_is_read() {
    let spec = good(FULL);
    let edge = &spec.endpoints[0];
    assert_eq!(edge.listen.len(), 6);
    assert!(matches!(edge.listen[5].value, Listen::Unix(ref unix) if unix.owner.is_some()));
    assert_eq!(*edge.tcp.keepalive, Limit::None);
    assert!(!*edge.tcp.nodelay);
    assert!(*edge.tcp.fast_open);
    assert_eq!(spec.process.workers.value, AutoOr::Set(Count(8)));
    assert!(matches!(&*spec.log.output, Output::File(path) if path.ends_with("re $ seal.log")));
    let vault = spec.upstreams.get("vault").unwrap();
    assert_eq!(
        Leaf::render(&vault.tls.server_name.as_ref().unwrap().value),
        "vault.internal"
    );
    assert_eq!(
        vault.origins[1].address.to_string(),
        "vault-2.internal:8200"
    );
    assert_eq!(
        spec.endpoints[1]
            .default_route
            .as_ref()
            .unwrap()
            .route
            .as_str(),
        "all"
    );
}

#[test]
fn every_default_written_out_is_the_same_as_leaving_it_out() {
    assert_eq!(good(SMALL), good(DEFAULTS));
}

#[test]
fn a_default_is_distinguished_from_a_given_value() {
    let spec = good(DEFAULTS);
    assert!(spec.endpoints[0].tls.given_in(&spec.endpoints[0]));
    let spec = good(SMALL);
    assert!(!spec.endpoints[0].tls.given_in(&spec.endpoints[0]));
    assert_eq!(spec.endpoints[0].tls.at, spec.endpoints[0].at);
}

#[test]
fn the_printed_configuration_reads_back_as_the_same() {
    for text in [SMALL, DEFAULTS, FULL] {
        let spec = good(text);
        let printed = print(&spec);
        assert_eq!(good(&printed), spec, "{printed}");
        assert_eq!(print(&good(&printed)), printed);
    }
}

#[test]
fn all_errors_of_a_file_are_reported_at_once_and_in_order() {
    let text = "\
procss: {}
process:
  workers: 5000
  drain: { stop: 20, lameduck: 5s }
  user: 'a b'
log: [info]
admin: { tls: {} }
endpoints:
  - name: bad name
    listen: [443, { unix: /x, permission: \"0660\" }]
    tls:
      certificates:
        - { cert: a.pem, dir: b }
        - { key: a.key }
    routes:
      - name: a
        mode: passthru
        match: { source: 10.1.2.3/8 }
        timeouts: { idle: 0s }
  - listen: '${PORTT}'
    routes: []
upstreams:
  a b: { origins: [x:0] }
";
    let expected = [
        "f:1:1: error: unknown key `procss` (did you mean `process`?)",
        "f:3:12: error: `5000` is out of bounds (write a number from 1 to 1024 or `auto`)",
        "f:4:18: error: the duration `20` has no unit (add a unit: `20s`)",
        "f:4:22: error: unknown key `lameduck` (did you mean `lame_duck`?)",
        "f:5:9: error: `a b` is not a user (write `USER` or `USER:GROUP`)",
        "f:6:6: error: expected a map, found a list (write it as a map, such as `{ level: info }`)",
        "f:7:15: error: missing key `cert` (add `cert: PATH`)",
        "f:9:11: error: `bad name` is not a name (write `bad-name`: a name is 1 to 64 letters, digits, `.`, `_` or `-`)",
        "f:10:14: error: `443` is a port without an address (`*:443` listens on every address)",
        "f:10:31: error: unknown key `permission` (did you mean `permissions`?)",
        "f:13:11: error: `cert` and `dir` exclude each other",
        "f:14:11: error: missing key `cert` or `dir` (add `cert: FILE`, or `dir: DIRECTORY` for every pair in a directory)",
        "f:16:9: error: missing key `upstream` (add `upstream: NAME`; there is `a b`)",
        "f:17:15: error: unknown mode `passthru` (did you mean `passthrough`?)",
        "f:18:26: error: `10.1.2.3/8` has bits set beyond its prefix (did you mean `10.0.0.0/8`?)",
        "f:19:27: error: the limit `0s` would let nothing through (write `none` for no limit)",
        "f:20:5: error: missing key `name` (add `name: NAME`)",
        "f:20:13: error: the variable `PORTT` is not set (set it, or give a default: `${NAME:-default}`)",
        "f:23:3: error: `a b` is not a name (write `a-b`: a name is 1 to 64 letters, digits, `.`, `_` or `-`)",
        "f:23:20: error: `x:0`: port 0 cannot be connected to",
    ];
    let found = lines(text);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn variables_expand_in_plain_and_quoted_values_but_not_in_keys() {
    let listen = |value: &str| {
        let text = SMALL.replace("'*:443'", value);
        good(&text).endpoints[0].listen[0].to_string()
    };
    assert_eq!(listen("127.0.0.1:${PORT}"), "127.0.0.1:8443");
    assert_eq!(listen("'*:${PORT}'"), "*:8443");
    assert_eq!(listen("\"*:${EMPTY:-1}${NONE:-2}${EMPTY}\""), "*:12");
    assert!(lines(&format!("{SMALL}${{PORT}}: a\n"))[0].contains("unknown key `${PORT}`"));
}

#[test]
fn a_printed_configuration_has_the_variables_of_the_file() {
    for (value, printed) in [
        ("127.0.0.1:${PORT}", "[\"127.0.0.1:${PORT}\"]"),
        ("'*:${PORT}'", "[\"*:${PORT}\"]"),
        ("['*:${NONE:-7}', '*:8']", "[\"*:${NONE:-7}\", \"*:8\"]"),
    ] {
        let spec = good(&SMALL.replace("'*:443'", value));
        let text = print(&spec);
        assert!(text.contains(&format!("listen: {printed}\n")), "{text}");
        assert!(!text.contains("8443"), "{text}");
        assert_eq!(good(&text), spec);
    }
}

#[test]
fn errors_are_reported_even_after_too_many_warnings() {
    let mut problems = Problems::default();
    for n in 0..1000 {
        problems.warning(None, format!("doubt {n}"));
    }
    problems.error(None, "refused");
    problems.error(None, "refused, too");
    let report = problems.render("f", "");
    assert!(report.contains("error: refused\n") && report.contains("error: refused, too"));
    assert!(problems.has_errors());
}
