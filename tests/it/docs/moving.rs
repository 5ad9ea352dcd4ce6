//! What could not be expressed when other programs were moved from, and now can: each row of the table has a
//! configuration that passes `check`.

use super::page::read;
use super::pieces::whole;
use crate::harness::{Directory, reseal};

/// How the third cell of a row begins, and what it stands for: a piece at its place in a configuration.
const EXAMPLES: [(&str, &str, &str); 17] = [
    (
        "limits: { per_source, new_per_source }",
        "endpoint",
        "limits: { per_source: 20, new_per_source: 10/s }\n",
    ),
    (
        "sources: { deny: … }",
        "endpoint",
        "sources: { deny: [203.0.113.0/24] }\n",
    ),
    (
        "limits: { connections }",
        "endpoint",
        "limits: { connections: 100 }\n",
    ),
    (
        "sni: [\"**.apps.example.com\"]",
        "endpoints",
        "endpoints:\n  - name: a\n    listen: \"*:443\"\n    routes: [{ name: a, match: { sni: \
         [\"**.apps.example.com\"] }, mode: passthrough, upstream: vault }]\n",
    ),
    (
        "health: { check: { http: … } }",
        "upstream",
        "health: { check: { http: { path: /health, expect_body: ready, headers: { X-Check: reseal } } } }\n",
    ),
    (
        "source: { not: … }",
        "endpoints",
        "endpoints:\n  - name: a\n    listen: \"*:443\"\n    routes: [{ name: a, match: { sni: a.example.com, \
         source: { not: 10.0.0.0/8 } }, mode: passthrough, upstream: vault }]\n",
    ),
    (
        "routes_file: { file: tenants.csv }",
        "endpoints",
        "endpoints:\n  - name: a\n    listen: \"*:443\"\n    routes: [{ name: a, routes_file: { file: \
         tenants.csv }, mode: passthrough }]\n",
    ),
    (
        "protocol: any",
        "endpoints",
        "endpoints:\n  - name: a\n    listen: \"*:443\"\n    protocol: any\n    not_tls: ssh\n    routes:\n      \
         - { name: a, match: { sni: a.example.com }, mode: passthrough, upstream: vault }\n      \
         - { name: ssh, mode: forward, upstream: vault }\n",
    ),
    (
        "address: \"{1}.internal:8443\"",
        "file",
        "endpoints:\n  - name: a\n    listen: \"*:443\"\n    routes: [{ name: a, match: { sni: \
         \"*.example.com\" }, mode: passthrough, upstream: made }]\n\
         upstreams: { made: { origins: [{ address: \"{1}.internal:8443\", under: internal }] } }\n",
    ),
    (
        "sni: [\"**.example.com\"]",
        "endpoints",
        "endpoints:\n  - name: a\n    listen: \"*:443\"\n    routes: [{ name: a, match: { sni: [example.com, \
         \"**.example.com\"] }, mode: passthrough, upstream: vault }]\n",
    ),
    (
        "limits: { per_source }",
        "route",
        "limits: { per_source: 20, bandwidth_per_connection: { down: 1MiB/s } }\n\
         sources: { deny: [203.0.113.0/24] }\n",
    ),
    ("negotiate", "upstream", "tls: { negotiate: ldap }\n"),
    (
        "negotiate: { connect: … }",
        "upstream",
        "tls: { negotiate: { connect: { proxy: \"10.0.0.9:3128\", authorization_file: proxy.auth } } }\n",
    ),
    (
        "password_file",
        "tls",
        "certificates: [{ cert: a.p12, password_file: a.password, names: [vault.example.com] }]\n",
    ),
    (
        "process: { sandbox: … }",
        "file",
        "process: { sandbox: required }\n",
    ),
    (
        "acme: { ISSUER: … }",
        "file",
        "acme: { le: { directory: \"https://acme.example.com/directory\", contact: [\"mailto:ops@example.com\"], \
         state: /var/lib/reseal/acme } }\n\
         endpoints:\n  - name: a\n    listen: \"*:443\"\n    tls: { certificates: [{ acme: le, names: \
         [a.example.com] }] }\n    routes: [{ name: a, match: { sni: a.example.com }, mode: terminate, upstream: \
         plain }]\nupstreams: { plain: { origins: [\"10.0.0.11:80\"] } }\n",
    ),
    ("negotiate: postgres", "endpoint", "negotiate: postgres\n"),
];

#[test]
fn what_could_not_be_expressed_and_now_can_passes_check() {
    let page = read("docs/moving/index.md");
    let (_, table) = page.split_once("## What could not be expressed").unwrap();
    let mut used = 0;
    for row in table.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cell = row.split(" | ").nth(2).unwrap();
        let code = cell.trim_start_matches('`').split('`').next().unwrap();
        // tests/it/cli/forward.rs has every flag of it.
        if code.starts_with("forward") {
            continue;
        }
        let mut examples = EXAMPLES.iter();
        let example = examples.find(|(begin, ..)| *begin == code);
        let (_, place, piece) = example.unwrap_or_else(|| panic!("no example of {row}"));
        let text = match *place {
            // It has endpoints of its own.
            "file" if piece.contains("endpoints:") => (*piece).to_owned(),
            place => whole(place, piece),
        };
        let directory = Directory::new();
        let file = directory.write("config.yaml", &text).display().to_string();
        let checked = reseal(&["check", "--no-files", &file]);
        assert_eq!(checked.code, Some(0), "{row}\n{text}{}", checked.text());
        used += 1;
    }
    assert!(used > EXAMPLES.len(), "{used} rows");
}
