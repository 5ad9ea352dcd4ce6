//! Damaged files are refused at the start with the file's name, whatever their purpose. Trust never fails
//! open.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{ConfigCheck, Identity, Leaf, List, noise, pki};

/// A configuration that uses every kind of file; the damaged one is named `bad`.
const TEXT: &str = "process: { ticket_secret: SECRET }
endpoints:
  - name: edge
    listen: 127.0.0.1:4430
    tls:
      certificates: [{ cert: CERT, key: KEY, ocsp: OCSP }]
      client_auth: { mode: required, ca: CA, crl: CRL }
    routes: [{ name: a, mode: reencrypt, upstream: up, match: { sni: a.test } }]
upstreams:
  up:
    origins: [\"127.0.0.1:9\"]
    tls: { ca: ORIGIN_CA, server_name: a.test, crl: ORIGIN_CRL,
      client_certificate: { cert: OWN_CERT, key: OWN_KEY } }
";

/// The kinds of files, with a valid one of each.
fn parts() -> Vec<(&'static str, Vec<u8>)> {
    let edge = pki().edge.issue(&Leaf::server(&["a.test"]));
    let own: Identity = pki().client("proxy");
    vec![
        ("ORIGIN_CA", pki().origins.pem().into()),
        ("ORIGIN_CRL", List::of(&[]).pem(&pki().origins).into()),
        ("OWN_CERT", own.cert.into()),
        ("OWN_KEY", own.key.into()),
        ("SECRET", noise(48, 1)),
        ("CERT", edge.cert.into()),
        ("KEY", edge.key.into()),
        ("OCSP", Vec::new()),
        ("CA", pki().clients.pem().into()),
        ("CRL", List::of(&[]).der(&pki().clients)),
    ]
}

/// Writes a damaged file to a path; `false` if this damage does not apply to this kind of file.
fn spoil(kind: &str, part: &str, good: &[u8], path: &Path) -> bool {
    let _ = fs::remove_file(path);
    // Any bytes are a valid secret, if there are enough of them.
    let bytes_matter = part != "SECRET";
    let is_pem = good.starts_with(b"-----BEGIN");
    match kind {
        "missing" => {}
        "empty" => fs::write(path, "").unwrap(),
        "a directory" => fs::create_dir(path).unwrap(),
        // Root ignores permissions, but cannot read a link to itself.
        "unreadable" => symlink(path, path).unwrap(),
        "garbage" if bytes_matter => fs::write(path, noise(2000, 7)).unwrap(),
        "text" if bytes_matter => fs::write(path, "nothing of use\n".repeat(9)).unwrap(),
        "another kind" if bytes_matter => {
            fs::write(
                path,
                "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            )
            .unwrap();
        }
        "garbage in PEM" if bytes_matter => {
            let kind = match part {
                "CRL" | "ORIGIN_CRL" => "X509 CRL",
                "KEY" | "OWN_KEY" => "PRIVATE KEY",
                _ => "CERTIFICATE",
            };
            let text = format!("-----BEGIN {kind}-----\nAAAABBBBCCCC\n-----END {kind}-----\n");
            fs::write(path, text).unwrap();
        }
        "glued" if is_pem => {
            let glued = [good.trim_ascii_end(), good].concat();
            fs::write(path, glued).unwrap();
        }
        "with a broken block behind" if is_pem => {
            let broken = "-----BEGIN CERTIFICATE-----\nAAAABBBBCCCC\n-----END CERTIFICATE-----\n";
            fs::write(path, [good, broken.as_bytes()].concat()).unwrap();
        }
        "with an unfinished block behind" if is_pem => {
            let half = good.get(..good.len() / 2).unwrap();
            fs::write(path, [good, half].concat()).unwrap();
        }
        "with a damaged boundary behind" if is_pem => {
            fs::write(path, [good, b"----BEGIN CERTIFICATE----\n"].concat()).unwrap();
        }
        "with a block of another kind behind" if is_pem => {
            let other =
                "-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n";
            fs::write(path, [good, other.as_bytes()].concat()).unwrap();
        }
        "in UTF-16" if is_pem => {
            let text = String::from_utf8(good.to_vec()).unwrap();
            let wide: Vec<_> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            fs::write(path, wide).unwrap();
        }
        "truncated" if !good.is_empty() => {
            let half = good.get(..good.len() / 2).unwrap();
            fs::write(path, half).unwrap();
        }
        _ => return false,
    }
    let link = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    if link {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    true
}

const KINDS: [&str; 15] = [
    "missing",
    "empty",
    "a directory",
    "unreadable",
    "garbage",
    "text",
    "another kind",
    "garbage in PEM",
    "truncated",
    "glued",
    "with a broken block behind",
    "with an unfinished block behind",
    "with a damaged boundary behind",
    "with a block of another kind behind",
    "in UTF-16",
];

#[test]
fn a_damaged_file_of_any_kind_is_refused_with_its_name() {
    let parts = parts();
    let mut refused = 0;
    for (bad, good) in &parts {
        let mut text = TEXT.to_owned();
        let mut checked_files = Vec::new();
        // Longer names first, because one is part of another.
        let mut names: Vec<_> = parts.iter().collect();
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        for (name, contents) in names {
            let file = if name == bad {
                "bad".to_owned()
            } else {
                name.to_lowercase()
            };
            let key = format!(": {name}");
            text = match *name {
                "OCSP" if name != bad => text.replace(", ocsp: OCSP", ""),
                _ => text.replace(&key, &format!(": {file}.file")),
            };
            checked_files.push((format!("{file}.file"), contents.clone()));
        }
        for kind in KINDS {
            let checked = checked_files
                .iter()
                .fold(ConfigCheck::new(&text), |checked, (name, contents)| {
                    checked.with_file(name, contents, 0o600)
                });
            let path = checked.path().with_file_name("bad.file");
            if !spoil(kind, bad, good, &path) {
                continue;
            }
            checked.must_report("bad.file", &["bad.file"]);
            refused += 1;
        }
    }
    println!("{refused} bad files were refused");
    assert!(refused >= 115, "{refused}");
}
