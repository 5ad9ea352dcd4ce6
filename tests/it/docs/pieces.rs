//! Configurations of the documentation pass `reseal check`, pieces of them at their place in a whole one.

use super::page::{Block, blocks, pages, read};
use crate::harness::{Directory, reseal};

const UPSTREAMS: &str = "upstreams:\n  vault: { origins: [\"10.0.0.11:8200\"] }\n";
const ENDPOINTS: &str = "endpoints:\n  - name: edge\n    listen: \"*:8443\"\n    routes:\n      - \
    { name: vault, match: { sni: vault.example.com }, mode: passthrough, upstream: vault }\n";

/// The text, each line behind so many spaces.
fn indented(text: &str, spaces: usize) -> String {
    let start = text.lines().find(|line| !line.trim().is_empty());
    let own = start.map_or(0, |line| line.len() - line.trim_start().len());
    let lines = text.lines().map(|line| match line.get(own..) {
        Some(rest) if !rest.is_empty() => format!("{:spaces$}{rest}\n", ""),
        _ => "\n".to_owned(),
    });
    lines.collect()
}

/// A route that ends TLS, with something at its place.
fn terminating(tls: &str, route: &str) -> String {
    let certificates = match tls.contains("certificates:") {
        true => "",
        false => {
            "      certificates:\n        - { cert: certs/vault.example.com.pem, key: \
             certs/vault.example.com.key, names: [vault.example.com] }\n"
        }
    };
    format!(
        "endpoints:\n  - name: edge\n    listen: \"*:8443\"\n    tls:\n{certificates}{tls}    \
         routes:\n      - name: vault\n        match: {{ sni: vault.example.com }}\n        mode: \
         terminate\n        upstream: vault\n{route}{UPSTREAMS}"
    )
}

/// A whole configuration with this piece in it.
pub fn whole(place: &str, piece: &str) -> String {
    match place {
        "file" => format!("{piece}{ENDPOINTS}{UPSTREAMS}"),
        "endpoints" => format!("{piece}{UPSTREAMS}"),
        "endpoint" => format!(
            "{}{UPSTREAMS}",
            ENDPOINTS.replacen(
                "    routes:",
                &format!("{}    routes:", indented(piece, 4)),
                1,
            )
        ),
        "tls" => terminating(&indented(piece, 6), ""),
        "route" => terminating("", &indented(piece, 8)),
        "client_auth" => terminating(
            "",
            &format!(
                "        client_auth:\n          mode: required\n          ca: certs/ca.pem\n{}",
                indented(piece, 10)
            ),
        ),
        "upstreams" => format!("{ENDPOINTS}{piece}"),
        "upstream" => format!("{ENDPOINTS}{UPSTREAMS}").replacen(
            "  vault: { origins: [\"10.0.0.11:8200\"] }\n",
            &format!(
                "  vault:\n    origins: [\"10.0.0.11:8200\"]\n{}",
                indented(piece, 4)
            ),
            1,
        ),
        _ => panic!("`part of: {place}` is unknown"),
    }
}

/// Whether a block is a configuration of Reseal, and not one of another program.
fn is_configuration(block: &Block) -> bool {
    block.language == "yaml" && block.mark("not run").is_none() && block.mark("of").is_none()
}

#[test]
fn every_configuration_passes_check() {
    let mut count = 0;
    for page in pages() {
        for block in blocks(&read(&page)) {
            if !is_configuration(&block) {
                continue;
            }
            let text = match block.mark("part of") {
                Some(place) => whole(place, &block.text),
                None => block.text.clone(),
            };
            let directory = Directory::new();
            let file = directory.write("config.yaml", &text).display().to_string();
            let checked = reseal(&["check", "--no-files", "--config", &file]);
            assert_eq!(
                checked.code,
                Some(0),
                "{page}:{}: {}\n{text}",
                block.line,
                checked.text()
            );
            count += 1;
        }
    }
    assert!(count > 10, "{count} configurations");
}
