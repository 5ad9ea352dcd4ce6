//! Rules for the source that the compiler does not enforce.

mod example;
mod import_parser;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use import_parser::{code, imports, module};

/// The modules that each module may import. Modules that are not listed must not be imported.
const ALLOWED: [(&str, &[&str]); 35] = [
    ("outcome", &[]),
    ("hostname", &[]),
    ("phase", &[]),
    ("sys", &[]),
    ("sync", &[]),
    ("bandwidth", &["sync"]),
    ("revoked", &[]),
    ("sandbox", &["sys"]),
    ("admission", &["bandwidth", "sync"]),
    ("transport", &["outcome", "sys"]),
    ("route", &["hostname"]),
    (
        "upstream",
        &["transport", "hostname", "outcome", "sync", "sys"],
    ),
    (
        "health",
        &[
            "sync",
            "transport",
            "outcome",
            "tls",
            "upstream",
            "negotiate",
        ],
    ),
    (
        "tls",
        &["transport", "hostname", "outcome", "revoked", "sync"],
    ),
    ("state", &[]),
    ("fetch", &["tls", "upstream"]),
    (
        "revocation",
        &["fetch", "observe", "state", "sync", "tls", "upstream"],
    ),
    (
        "vault",
        &["fetch", "observe", "state", "sync", "tls", "upstream"],
    ),
    (
        "acme",
        &[
            "fetch", "hostname", "observe", "state", "sync", "tls", "upstream",
        ],
    ),
    ("negotiate", &["transport", "outcome"]),
    ("proxy_protocol", &[]),
    (
        "relay",
        &["bandwidth", "transport", "phase", "outcome", "sync"],
    ),
    ("observe", &["outcome", "sync", "tls::info", "tls::ja4"]),
    ("fleet", &["observe", "phase", "revoked", "sync", "tls"]),
    (
        "snapshot",
        &[
            "acme",
            "admission",
            "fleet",
            "health",
            "hostname",
            "negotiate",
            "transport",
            "observe",
            "proxy_protocol",
            "relay",
            "revocation",
            "route",
            "sandbox",
            "tls",
            "upstream",
            "vault",
        ],
    ),
    (
        "connection",
        &[
            "acme",
            "admission",
            "bandwidth",
            "transport",
            "phase",
            "hostname",
            "negotiate",
            "observe",
            "outcome",
            "proxy_protocol",
            "relay",
            "revoked",
            "route",
            "snapshot",
            "sync",
            "tls",
            "upstream",
        ],
    ),
    ("takeover", &[]),
    ("listener", &["snapshot", "sys", "takeover"]),
    (
        "admin",
        &[
            "admission",
            "listener",
            "outcome",
            "phase",
            "observe",
            "snapshot::admin",
            "sync",
            "takeover",
        ],
    ),
    (
        "worker",
        &[
            "admission",
            "connection",
            "phase",
            "snapshot",
            "sys",
            "transport",
        ],
    ),
    (
        "control",
        &[
            "acme",
            "admin",
            "admission",
            "config",
            "connection",
            "fleet",
            "health",
            "hostname",
            "listener",
            "observe",
            "outcome",
            "phase",
            "relay",
            "revocation",
            "revoked",
            "sandbox",
            "snapshot",
            "sync",
            "takeover",
            "sys",
            "tls",
            "transport",
            "upstream",
            "vault",
            "worker",
        ],
    ),
    (
        "server",
        &[
            "acme",
            "admin",
            "admission",
            "bandwidth",
            "config",
            "connection",
            "control",
            "fleet",
            "health",
            "listener",
            "observe",
            "phase",
            "revocation",
            "sandbox",
            "snapshot",
            "takeover",
            "tls",
            "upstream",
            "vault",
            "worker",
        ],
    ),
    (
        "config",
        &[
            "acme",
            "admission",
            "bandwidth",
            "fleet",
            "health",
            "negotiate",
            "transport",
            "hostname",
            "listener::preflight",
            "observe",
            "proxy_protocol",
            "relay",
            "revocation",
            "revoked",
            "route",
            "sandbox",
            "snapshot",
            "state",
            "tls",
            "upstream",
            "vault",
        ],
    ),
    (
        "cli",
        &[
            "acme",
            "admission",
            "config",
            "connection",
            "control",
            "fleet",
            "health",
            "observe",
            "outcome",
            "proxy_protocol",
            "revocation",
            "route",
            "sandbox",
            "server",
            "snapshot",
            "state",
            "tls",
            "upstream",
            "hostname",
        ],
    ),
    (
        "internals",
        &[
            "admission",
            "cli",
            "hostname",
            "negotiate",
            "observe",
            "outcome",
            "proxy_protocol",
            "route",
            "tls",
            "transport",
            "upstream",
        ],
    ),
];

const BANNED: [&str; 9] = [
    "backend",
    "frontend",
    "downstream",
    "util",
    "utils",
    "helper",
    "common",
    "misc",
    "manager",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[test]
fn modules_import_only_what_they_may() {
    let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    let mut broken = Vec::new();
    let mut unused: BTreeSet<_> = ALLOWED
        .iter()
        .flat_map(|(own, allowed)| allowed.iter().map(|other| (own.to_string(), *other)))
        .collect();
    for file in rust_files(&root().join("src")) {
        let own = module(&file);
        let Some(own) = own.first() else { continue };
        let Some(allowed) = allowed.get(own.as_str()) else {
            broken.push(format!("{}: `{own}` is not in the table", file.display()));
            continue;
        };
        for path in imports(&file) {
            let name = path.split("::").next().unwrap_or_default();
            let mut grants = allowed
                .iter()
                .filter(|a| **a == name || path == **a || path.starts_with(&format!("{a}::")));
            let known = grants.next();
            if let Some(grant) = known {
                unused.remove(&(own.clone(), *grant));
            }
            let known = known.is_some();
            if name != own && !known {
                broken.push(format!("{} names {path}", file.display()));
            }
        }
    }
    // A permission that is not needed would hide the next violation.
    broken.extend(
        unused
            .into_iter()
            .map(|(own, other)| format!("`{own}` may name {other}, and does not")),
    );
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_architecture_page_lists_every_module_below_those_that_it_uses() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, modules) = page.split_once("\n## Modules\n").unwrap();
    let rows = modules.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    let place = |module: &str| rows.iter().position(|row| *row == module);
    for (own, used) in ALLOWED {
        // What is exported for tests is no part of the program.
        if own == "internals" {
            continue;
        }
        let below = place(own).unwrap_or_else(|| panic!("`{own}` has no row"));
        for used in used {
            let used = used.split("::").next().unwrap_or_default();
            let above = place(used).unwrap_or_else(|| panic!("`{used}` has no row"));
            assert!(
                above < below,
                "the row of `{used}` is not above that of `{own}`"
            );
        }
    }
}

#[test]
fn the_file_format_is_known_in_config_alone() {
    for file in rust_files(&root().join("src")) {
        if module(&file).first().is_some_and(|own| own == "config") {
            continue;
        }
        let code = code(&file);
        for word in ["serde::", "granit_parser", "yaml::"] {
            assert!(!code.contains(word), "{} names {word}", file.display());
        }
    }
}

#[test]
fn unsafe_is_in_one_file() {
    for file in rust_files(&root().join("src")) {
        if module(&file) == ["sys"] {
            continue;
        }
        let code = code(&file);
        for word in ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code)"] {
            assert!(!code.contains(word), "{} has {word}", file.display());
        }
    }
}

/// A trace and a search by id find what has the id alone.
#[test]
fn the_lines_about_a_connection_have_its_id() {
    let mut broken = Vec::new();
    for file in rust_files(&root().join("src/connection")) {
        let text = fs::read_to_string(&file).unwrap();
        let calls = ["debug!(", "trace!("]
            .iter()
            .flat_map(|call| text.match_indices(call));
        for (at, call) in calls {
            let arguments = &text[at + call.len()..];
            let end = arguments.find(");").unwrap();
            let is_id = |argument: &str| argument == "%id" || argument.starts_with("id = ");
            if !arguments[..end].split(',').map(str::trim).any(is_id) {
                broken.push(format!("{}: {}", file.display(), &arguments[..end]));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_file_has_a_meaningless_name() {
    for directory in ["src", "tests"] {
        for file in rust_files(&root().join(directory)) {
            let relative = file.strip_prefix(root()).unwrap().with_extension("");
            for part in relative.iter() {
                let part = part.to_string_lossy();
                assert!(
                    !part.split('_').any(|word| BANNED.contains(&word)),
                    "{}",
                    file.display()
                );
            }
        }
    }
}
