//! The part of the text format of Prometheus (version 0.0.4) that counters, gauges and histograms need.

use std::fmt::{Display, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use super::histogram::HistogramTotals;

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricKind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many times fell below each bound.
    Histogram,
}

impl MetricKind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric. Its series differ only in the values of their labels.
#[derive(Debug)]
pub(super) struct MetricFamily {
    pub(super) name: &'static str,
    pub(super) kind: MetricKind,
    pub(super) labels: &'static [&'static str],
    /// One sentence of documentation.
    pub(super) help: &'static str,
}

/// A page under construction.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// Writes the header of a family; its samples must follow.
    pub(super) fn family(&mut self, family: &'static MetricFamily) -> SampleWriter<'_> {
        let MetricFamily {
            name, kind, help, ..
        } = family;
        let kind = kind.word();
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        SampleWriter { page: self, family }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Writes the samples of a family.
pub(super) struct SampleWriter<'p> {
    page: &'p mut Page,
    family: &'static MetricFamily,
}

impl SampleWriter<'_> {
    /// Writes a sample; `labels` are the label values in the family's order.
    pub(super) fn add(&mut self, labels: &[&str], value: impl Display) {
        self.sample("", labels, None, value);
    }

    /// Writes the samples of a histogram, if something was observed.
    pub(super) fn add_histogram(&mut self, labels: &[&str], totals: &HistogramTotals) {
        if totals.count() == 0 {
            return;
        }
        for (bound, count) in totals.cumulative() {
            self.sample("_bucket", labels, Some(bound), count);
        }
        self.sample("_sum", labels, None, totals.seconds());
        self.sample("_count", labels, None, totals.count());
    }

    fn sample(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>, value: impl Display) {
        let out = &mut self.page.0;
        let _ = write!(out, "{}{suffix}", self.family.name);
        let mut separator = '{';
        let own = self
            .family
            .labels
            .iter()
            .copied()
            .zip(labels.iter().copied());
        for (label, value) in own.chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(out, "{separator}{label}=\"");
            push_escaped(out, value);
            out.push('"');
            separator = ',';
        }
        if separator == ',' {
            out.push('}');
        }
        let _ = writeln!(out, " {value}");
    }
}

fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// Seconds of unix time.
pub(super) fn unix(time: SystemTime) -> impl Display {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{:.3}", since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    static FAMILY: MetricFamily = MetricFamily {
        name: "f",
        kind: MetricKind::Gauge,
        labels: &["a", "b"],
        help: "About f.",
    };

    #[test]
    fn a_label_cannot_end_its_own_quotes() {
        let mut page = Page::default();
        page.family(&FAMILY).add(&["x\"} 1\n", "\\"], 2);
        assert_eq!(
            page.finish(),
            "# HELP f About f.\n# TYPE f gauge\nf{a=\"x\\\"} 1\\n\",b=\"\\\\\"} 2\n"
        );
    }
}
