//! How the dashboard behaves in Chromium, where it is installed (scripts/test.sh installs it).

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::super::subject::{Subject, program};
use super::super::table::Table;

/// The figures of tests/browser/pace.mjs.
const FIGURES: [(&str, &str); 6] = [
    ("open_ms", "until the page shows connections, ms"),
    ("filter_ms", "a filter until its rows show, ms"),
    ("sort_ms", "another order until its rows show, ms"),
    ("frame_p99_ms", "p99 of a frame, ms"),
    ("task_longest_ms", "longest task of the page, ms"),
    ("busy_percent", "of a core for the page, percent"),
];

pub(super) fn measure(subject: &Subject, table: &mut Table) {
    let what = "the page in Chromium";
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = root.join("target/browser");
    if !modules.join("node_modules/playwright-core").is_dir() {
        println!("{what}: skipped, it needs Chromium and target/browser (scripts/test.sh)");
        return;
    }
    let mut dashboard = Command::new(program())
        .args(["ctl", "dashboard", "--config"])
        .arg(subject.config())
        .stdout(Stdio::piped())
        .spawn()
        .expect("ctl dashboard");
    let mut url = String::new();
    let stdout = dashboard.stdout.take().expect("its output");
    let _ = BufReader::new(stdout).read_line(&mut url);
    let output = Command::new("node")
        .arg(root.join("tests/browser/pace.mjs"))
        .env("URL_OF_PAGE", url.trim())
        .env("MODULES", &modules)
        .env("CHROMIUM", "/usr/bin/chromium")
        .stderr(Stdio::inherit())
        .output()
        .expect("node");
    let _ = dashboard.kill();
    let _ = dashboard.wait();
    let figures: Value = serde_json::from_slice(&output.stdout).expect("figures");
    for (key, promise) in FIGURES {
        table.figure(what, promise, figures[key].as_f64().expect("a figure"));
    }
}
