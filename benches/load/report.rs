//! The table and the plot.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::peers::Mode;

type Key = (Mode, &'static str);

/// Every figure, by measurement and proxy.
#[derive(Default)]
pub(crate) struct Results {
    order: Vec<Key>,
    figures: BTreeMap<Key, Vec<(&'static str, Vec<f64>)>>,
}

impl Results {
    pub(crate) fn add(&mut self, mode: Mode, work: &'static str, peer: &'static str, figure: f64) {
        let key = (mode, work);
        if !self.order.contains(&key) {
            self.order.push(key);
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

    /// Medians, each with its ratio to Reseal's.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from(
            "| mode | measured on the proxy | medians (ratio to reseal) |\n|---|---|---|\n",
        );
        for key in &self.order {
            let medians = self.medians(key);
            let own = medians
                .iter()
                .find(|(name, _)| *name == "reseal")
                .map_or(f64::NAN, |(_, m)| *m);
            let cells: Vec<_> = medians
                .iter()
                .map(|(name, figure)| format!("{name} {figure:.3} ({:.2})", figure / own))
                .collect();
            let _ = writeln!(
                out,
                "| {} | {} | {} |",
                key.0.word(),
                key.1,
                cells.join(", ")
            );
        }
        out
    }

    /// Bars: one group for each measurement, scaled to its largest figure.
    pub(crate) fn svg(&self) -> String {
        const ROW: usize = 16;
        const COLORS: [&str; 4] = ["#1f77b4", "#999999", "#bbbbbb", "#dddddd"];
        let mut body = String::new();
        let mut y = 24;
        for key in &self.order {
            let medians = self.medians(key);
            let largest = medians
                .iter()
                .map(|(_, m)| *m)
                .fold(f64::MIN_POSITIVE, f64::max);
            let _ = writeln!(
                body,
                r#"<text x="8" y="{}" font-weight="bold">{}: {}</text>"#,
                y,
                key.0.word(),
                key.1
            );
            for (n, (name, figure)) in medians.iter().enumerate() {
                let top = y + 6 + n * ROW;
                let width = 360.0 * figure / largest;
                let color = COLORS[n % COLORS.len()];
                let _ = writeln!(body, r#"<text x="8" y="{}">{name}</text>"#, top + 11);
                let _ = writeln!(
                    body,
                    r#"<rect x="80" y="{top}" width="{width:.1}" height="12" fill="{color}"/>"#
                );
                let _ = writeln!(
                    body,
                    r#"<text x="{:.1}" y="{}">{figure:.3}</text>"#,
                    86.0 + width,
                    top + 11
                );
            }
            y += 6 + medians.len() * ROW + 22;
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"540\" height=\"{y}\" \
             font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" \
             fill=\"white\"/>\n{body}</svg>\n"
        )
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
