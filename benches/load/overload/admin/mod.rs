//! The admin listener and the dashboard beside many connections, and under attack.

mod attack;
mod live;
mod page;
mod tokens;

use super::{Bench, Part};

pub(super) const PARTS: [(&str, Part); 3] = [
    ("live", live::measure),
    ("attack", attack::measure),
    ("tokens", tokens::measure),
];

/// A token of the right length.
const TOKEN: &str = "0b5e1e0f6a7c49d2b1a8c3d4e5f60718";

/// Writes the file of the token, and returns its path.
fn token_file(bench: &Bench<'_>) -> std::path::PathBuf {
    use std::os::unix::fs::OpenOptionsExt;
    let path = bench.scratch.join("token");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = file.open(&path).expect("a file for the token");
    std::io::Write::write_all(&mut file, TOKEN.as_bytes()).expect("a token");
    path
}

/// A proxy that terminates TLS.
fn config(bench: &Bench<'_>) -> String {
    format!(
        "access_log: {{ output: none }}
endpoints:
  - name: edge
    listen: \"@EDGE@\"
    tls: {{ certificates: [{{ cert: \"@CERTS@/bench.test.pem\", key: \"@CERTS@/bench.test.key\" }}] }}
    routes: [{{ name: r, match: {{ sni: bench.test }}, mode: terminate, upstream: origin }}]
upstreams: {{ origin: {{ origins: [\"{}\"] }} }}
",
        bench.origins.plain
    )
}
