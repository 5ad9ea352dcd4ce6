//! A strict parser of Prometheus' text format, written from its specification.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// A page of metrics.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// Each family and its type.
    pub families: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Exposition {
    /// Parses a page; fails on anything that a scraper or `promtool check metrics` would reject.
    #[track_caller]
    pub fn parse(page: &str) -> Self {
        let mut read = Self::default();
        let mut family = None;
        let mut lines = page.lines();
        while let Some(line) = lines.next() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, text) = help.split_once(' ').unwrap();
                assert!(is_name(name) && !text.is_empty(), "{line}");
                let kind = lines.next().unwrap_or_default();
                let kind = kind.strip_prefix(&format!("# TYPE {name} "));
                let kind = kind.unwrap_or_else(|| panic!("no TYPE after {line}"));
                let kinds = ["counter", "gauge", "histogram"];
                assert!(kinds.contains(&kind), "{line}: {kind}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                let before = read.families.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} twice");
                family = Some(name.to_owned());
                continue;
            }
            let (name, labels, value) = sample(line);
            let of_family = family
                .as_deref()
                .and_then(|family| name.strip_prefix(family));
            let is_histogram = family
                .as_ref()
                .is_some_and(|f| read.families[f] == "histogram");
            let suffixes: &[&str] = match is_histogram {
                true => &["_bucket", "_sum", "_count"],
                false => &[""],
            };
            let suffix = of_family.unwrap_or_else(|| panic!("out of its family: {line}"));
            assert!(suffixes.contains(&suffix), "out of its family: {line}");
            assert_eq!(suffix == "_bucket", labels.contains_key("le"), "{line}");
            let before = read.samples.insert((name.to_owned(), labels), value);
            assert_eq!(before, None, "a series twice: {line}");
        }
        read.check_histograms();
        assert!(page.ends_with('\n') || page.lines().count() > 0, "{page}");
        read
    }

    /// Each histogram has rising buckets, and the last one has all observations.
    #[track_caller]
    fn check_histograms(&self) {
        let histograms = self
            .families
            .iter()
            .filter(|(_, kind)| *kind == "histogram");
        for (name, _) in histograms {
            let mut buckets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
            for (labels, count) in self.samples_of(&format!("{name}_bucket")) {
                let mut labels = labels.clone();
                let bound = labels.remove("le").unwrap().parse().unwrap();
                buckets.entry(labels).or_default().push((bound, count));
            }
            for (labels, mut buckets) in buckets {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(
                    buckets.is_sorted_by(|a, b| a.1 <= b.1),
                    "{name}: {buckets:?}"
                );
                let (last, count) = *buckets.last().unwrap();
                assert_eq!(last, f64::INFINITY, "{name}");
                let key = (format!("{name}_count"), labels.clone());
                assert_eq!(self.samples.get(&key), Some(&count), "{name}");
                assert!(self.samples.contains_key(&(format!("{name}_sum"), labels)));
            }
        }
    }

    /// The sum of the samples of `name` that have these labels; `None` when there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let matching: Vec<_> = self
            .samples
            .iter()
            .filter(|((sample, own), _)| {
                let has = |(key, value): &(&str, &str)| own.get(*key).is_some_and(|v| v == value);
                sample == name && labels.iter().all(has)
            })
            .map(|(_, value)| *value)
            .collect();
        (!matching.is_empty()).then(|| matching.iter().sum())
    }

    /// That sum, or 0 without samples.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels).unwrap_or(0.0)
    }

    /// The samples of one metric.
    fn samples_of(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        let own = self
            .samples
            .iter()
            .filter(move |((sample, _), _)| sample == name);
        own.map(|((_, labels), value)| (labels, *value))
    }

    /// Every series with its value.
    pub fn samples(&self) -> impl Iterator<Item = ((&str, &Labels), f64)> {
        let samples = self.samples.iter();
        samples.map(|((name, labels), value)| ((name.as_str(), labels), *value))
    }

    /// Every series, without its value.
    pub fn series(&self) -> BTreeSet<(String, Labels)> {
        self.samples.keys().cloned().collect()
    }
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[track_caller]
fn sample(line: &str) -> (&str, Labels, f64) {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (key, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(is_name(key), "{line}");
            let (value, after) = quoted(value).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(labels.insert(key.to_owned(), value), None, "{line}");
            if let Some(after) = after.strip_prefix(',') {
                rest = after;
                continue;
            }
            rest = after.strip_prefix('}').unwrap_or_else(|| panic!("{line}"));
            break;
        }
    }
    let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    (
        name,
        labels,
        value.parse().unwrap_or_else(|_| panic!("{line}")),
    )
}

/// The text up to the closing quote, and the text behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => out.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => out.push(c),
        }
    }
    None
}
