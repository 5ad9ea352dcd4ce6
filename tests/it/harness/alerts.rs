//! Evaluates the alerts of packaging/prometheus with Prometheus' `promtool`, on scrapes of a proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::SystemTime;

use super::{Directory, Exposition, output};

/// How many minutes the first scrape lasts: it is there before the longest window of the rules begins.
const BEFORE: usize = 11;

const RULES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/packaging/prometheus/reseal.rules.yml"
);

/// The alerts that fire after these scrapes, the oldest first. For `promtool`, the first was the same for
/// minutes, and the others came at intervals of a minute.
#[track_caller]
pub fn firing(scrapes: &[Exposition]) -> BTreeSet<String> {
    let directory = Directory::new();
    let test = directory
        .write("test.yml", test_file(scrapes))
        .display()
        .to_string();
    let finished = output("promtool", &["test", "rules", &test], "");
    let text = finished.text();
    if finished.code == Some(0) {
        return BTreeSet::new();
    }
    let (_, fired) = text.split_once("got: ").unwrap_or_else(|| panic!("{text}"));
    let names = fired.split("alertname=\"").skip(1);
    names
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

/// A test file that expects no alert, so that `promtool` prints those that fire.
fn test_file(scrapes: &[Exposition]) -> String {
    let minutes = BEFORE + scrapes.len() - 1;
    let mut series: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (minute, scrape) in scrapes.iter().enumerate() {
        for ((name, labels), value) in scrape.samples() {
            let labels: Vec<_> = labels
                .iter()
                .map(|(key, v)| format!("{key}={v:?}"))
                .collect();
            let values = series.entry(format!("{name}{{{}}}", labels.join(", ")));
            let values = values.or_insert_with(|| vec!["_".to_owned(); scrapes.len()]);
            values[minute] = on_the_clock_of_a_test(name, value, minutes).to_string();
        }
    }
    let mut text =
        format!("rule_files: [\"{RULES}\"]\ntests:\n  - interval: 1m\n    input_series:\n");
    for (series, values) in series {
        let before = [values[0].as_str(); BEFORE].join(" ");
        let series = series.replace('\'', "''");
        let _ = writeln!(text, "      - series: '{series}'");
        let _ = writeln!(text, "        values: '{before} {}'", values[1..].join(" "));
    }
    text + &format!(
        "    promql_expr_test:\n      - expr: ALERTS{{alertstate=\"firing\"}}\n        \
         eval_time: {minutes}m\n"
    )
}

/// The clock of a test begins at 0, so points in time are moved.
fn on_the_clock_of_a_test(name: &str, value: f64, minutes: usize) -> f64 {
    if !name.ends_with("_timestamp_seconds") {
        return value;
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    value - now + 60.0 * f64::from(u32::try_from(minutes).unwrap())
}
