//! The text format of Prometheus (version 0.0.4), as far as counters and gauges need it.

use std::fmt::{Display, Write};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only grows, until the process ends.
    Counter,
    /// It goes up and down.
    Gauge,
}

impl Kind {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// A metric: its series differ in their labels' values alone.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    /// One sentence.
    pub(super) help: &'static str,
}

/// A page in the making.
#[derive(Default)]
pub(super) struct Page(String);

impl Page {
    /// Writes the head of a family, whose samples have to follow.
    pub(super) fn family(&mut self, family: &'static Family) -> Samples<'_> {
        let Family {
            name, kind, help, ..
        } = family;
        let kind = kind.word();
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Samples { page: self, family }
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Where the samples of a family go.
pub(super) struct Samples<'p> {
    page: &'p mut Page,
    family: &'static Family,
}

impl Samples<'_> {
    /// Writes a sample; `labels` are the values for the family's labels, in their order.
    pub(super) fn add(&mut self, labels: &[&str], value: impl Display) {
        let out = &mut self.page.0;
        out.push_str(self.family.name);
        let mut separator = '{';
        for (label, value) in self.family.labels.iter().zip(labels) {
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

#[cfg(test)]
mod tests {
    use super::*;

    static FAMILY: Family = Family {
        name: "f",
        kind: Kind::Gauge,
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
