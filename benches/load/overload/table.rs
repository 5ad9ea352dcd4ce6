//! The table of promises: each with what was seen, its bound, and whether it holds.

use std::fmt::Write as _;
use std::time::Duration;

/// A row for each promise.
#[derive(Default)]
pub(super) struct Table {
    rows: Vec<Row>,
}

struct Row {
    what: &'static str,
    promise: String,
    seen: String,
    bound: String,
    holds: Option<bool>,
}

impl Table {
    /// A figure that must not be above its bound.
    pub(super) fn at_most(&mut self, what: &'static str, promise: &str, seen: f64, bound: f64) {
        let holds = Some(seen <= bound);
        self.add(what, promise, number(seen), number(bound), holds);
    }

    /// A figure that must not be below its bound.
    pub(super) fn at_least(&mut self, what: &'static str, promise: &str, seen: f64, bound: f64) {
        let bound_text = format!("at least {}", number(bound));
        self.add(what, promise, number(seen), bound_text, Some(seen >= bound));
    }

    /// A count that must be exact.
    pub(super) fn exactly(&mut self, what: &'static str, promise: &str, seen: f64, wanted: f64) {
        let holds = Some(seen == wanted);
        let wanted = format!("exactly {}", number(wanted));
        self.add(what, promise, number(seen), wanted, holds);
    }

    /// A figure without a bound.
    pub(super) fn figure(&mut self, what: &'static str, promise: &str, seen: f64) {
        self.add(what, promise, number(seen), "-".to_owned(), None);
    }

    fn add(
        &mut self,
        what: &'static str,
        promise: &str,
        seen: String,
        bound: String,
        holds: Option<bool>,
    ) {
        let row = Row {
            what,
            promise: promise.to_owned(),
            seen,
            bound,
            holds,
        };
        println!("{}", row.line());
        self.rows.push(row);
    }

    /// Whether every promise holds.
    pub(super) fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.holds != Some(false))
    }

    pub(super) fn text(&self) -> String {
        let mut out = "| overload | promise | seen | bound | |\n|---|---|---|---|---|\n".to_owned();
        for row in &self.rows {
            let _ = writeln!(out, "{}", row.line());
        }
        out
    }
}

impl Row {
    fn line(&self) -> String {
        let verdict = match self.holds {
            Some(true) => "holds",
            Some(false) => "**broken**",
            None => "",
        };
        format!(
            "| {} | {} | {} | {} | {verdict} |",
            self.what, self.promise, self.seen, self.bound
        )
    }
}

fn number(figure: f64) -> String {
    // An empty sum is -0.
    let figure = figure + 0.0;
    if figure.fract() == 0.0 || figure.abs() >= 1000.0 {
        format!("{figure:.0}")
    } else {
        format!("{figure:.2}")
    }
}

/// The latency that this part of the sample does not exceed, in milliseconds.
pub(super) fn quantile(latencies: &mut [Duration], part: f64) -> f64 {
    latencies.sort();
    let at = (latencies.len() as f64 * part) as usize;
    let last = latencies.len().saturating_sub(1);
    latencies
        .get(at.min(last))
        .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
}
