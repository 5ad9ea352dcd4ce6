//! The table and the plot.

use std::collections::BTreeMap;
use std::fmt::Write;

/// What is measured, with its unit, and the case in which it is.
type Key = (&'static str, String);

/// The proxy that the others are compared with.
const OWN: &str = "reseal";
/// What it is no peer of: it is not a proxy that somebody could use.
const FLOOR: &str = "floor";

/// Every figure, by measurement, case and proxy. Less is better in each.
#[derive(Default)]
pub(crate) struct Results {
    order: Vec<Key>,
    figures: BTreeMap<Key, Vec<(&'static str, Vec<f64>)>>,
}

impl Results {
    pub(crate) fn add(&mut self, what: &'static str, case: &str, peer: &'static str, figure: f64) {
        println!("{case:32} {peer:8} {what:24} {figure:.2}");
        let key = (what, case.to_owned());
        if !self.order.contains(&key) {
            self.order.push(key.clone());
        }
        let peers = self.figures.entry(key).or_default();
        match peers.iter_mut().find(|(name, _)| *name == peer) {
            Some((_, figures)) => figures.push(figure),
            None => peers.push((peer, vec![figure])),
        }
    }

    fn medians(&self, key: &Key) -> Vec<(&'static str, f64)> {
        let peers = self.figures.get(key).map(Vec::as_slice).unwrap_or_default();
        peers
            .iter()
            .map(|(name, figures)| (*name, median(figures)))
            .collect()
    }

    /// The keys, all cases of a measurement one after another.
    fn keys(&self) -> Vec<&Key> {
        let mut keys: Vec<&Key> = self.order.iter().collect();
        let first = |key: &Key| self.order.iter().position(|other| other.0 == key.0);
        keys.sort_by_key(|key| first(key));
        keys
    }

    fn peers(&self) -> Vec<&'static str> {
        let mut peers = Vec::new();
        for (name, _) in self.order.iter().flat_map(|key| self.medians(key)) {
            if !peers.contains(&name) {
                peers.push(name);
            }
        }
        peers
    }

    /// Medians, and the ratio of Reseal to the best peer of each row.
    pub(crate) fn table(&self) -> String {
        let peers = self.peers();
        let mut out = format!(
            "| measured | case | {} | reseal / best peer |\n|---|---|{}---|\n",
            peers.join(" | "),
            "---|".repeat(peers.len()),
        );
        for key in self.keys() {
            let medians = self.medians(key);
            let figure = |name| medians.iter().find(|(n, _)| *n == name).map(|(_, m)| *m);
            let cells: Vec<_> = peers
                .iter()
                .map(|peer| figure(*peer).map_or_else(|| "-".to_owned(), short))
                .collect();
            let best = medians
                .iter()
                .filter(|(name, _)| *name != OWN && *name != FLOOR)
                .min_by(|(_, a), (_, b)| a.total_cmp(b));
            let ratio = match (figure(OWN), best) {
                (Some(own), Some((name, best))) if *best > 0.0 => {
                    format!("**{:.2}** ({name})", own / best)
                }
                _ => "-".to_owned(),
            };
            let _ = writeln!(
                out,
                "| {} | {} | {} | {ratio} |",
                key.0,
                key.1,
                cells.join(" | ")
            );
        }
        out
    }

    /// Bars: one block for each measurement, scaled to its largest figure.
    pub(crate) fn svg(&self) -> String {
        const COLUMN: usize = 620;
        const HEIGHT: usize = 1300;
        let mut body = String::new();
        let (mut left, mut y, mut lowest) = (0, 24, 0);
        let keys = self.keys();
        for block in keys.chunk_by(|a, b| a.0 == b.0) {
            let bars: usize = block.iter().map(|key| self.medians(key).len()).sum();
            let height = 30 + bars * 14 + block.len() * 4;
            if y > 24 && y + height > HEIGHT {
                (left, y) = (left + COLUMN, 24);
            }
            self.draw(&mut body, block, left, y);
            y += height;
            lowest = lowest.max(y);
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{lowest}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"white\"/>\n{body}</svg>\n",
            left + COLUMN
        )
    }

    fn draw(&self, body: &mut String, block: &[&Key], left: usize, mut y: usize) {
        const COLORS: [&str; 4] = ["#1f77b4", "#999999", "#c8a060", "#80b080"];
        let peers = self.peers();
        let what = block.first().map_or("", |key| key.0);
        let _ = writeln!(
            body,
            r#"<text x="{}" y="{y}" font-weight="bold">{what}</text>"#,
            left + 8
        );
        y += 6;
        let largest = block
            .iter()
            .flat_map(|key| self.medians(key))
            .fold(f64::MIN_POSITIVE, |most, (_, figure)| most.max(figure));
        for key in block {
            let _ = writeln!(
                body,
                r#"<text x="{}" y="{}">{}</text>"#,
                left + 8,
                y + 10,
                key.1
            );
            for (name, figure) in self.medians(key) {
                let color = peers.iter().position(|peer| *peer == name).unwrap_or(0) % COLORS.len();
                let width = 220.0 * figure / largest;
                let _ = writeln!(
                    body,
                    r#"<text x="{}" y="{}">{name}</text><rect x="{}" y="{y}" width="{width:.1}" height="11" fill="{}"/><text x="{:.1}" y="{}">{}</text>"#,
                    left + 240,
                    y + 10,
                    left + 295,
                    COLORS[color],
                    left as f64 + 300.0 + width,
                    y + 10,
                    short(figure)
                );
                y += 14;
            }
            y += 4;
        }
    }
}

/// Three digits that mean something.
fn short(figure: f64) -> String {
    match figure {
        large if large >= 100.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
