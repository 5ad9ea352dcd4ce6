//! The lines of the screen.

use serde_json::Value;

use super::view::{Pane, Prompt, View};
use crate::cli::ctl::cells::{Kind, cell, mood, plain, span, written};
use crate::cli::ctl::columns::{Column, list, of_rows};
use crate::cli::ctl::tables::{CONNECTIONS, FAILURES, ORIGINS, ROUTES};
use crate::cli::paint::{Mood, Paint};

/// How many lines a summary of origins or failures has at most.
const SUMMARY: usize = 5;

const KEYS: &str =
    "q quit  s sort  r reverse  / filter  k kill  up/down select  tab pane  space pause";

/// All lines, for a screen of so many columns and lines.
pub(super) fn lines(view: &View, (columns, height): (usize, usize)) -> Vec<String> {
    let paint = Paint::of_stdout();
    let mut out = head(view, columns, paint);
    // On a pane of its own, it is no summary.
    if view.pane == Pane::Connections {
        out.extend(origins_that_fail(view, columns, paint));
        out.extend(reasons(view, columns, paint));
    }
    out.push(title(view, columns, paint));
    // The last line is for keys and questions.
    let room = height.saturating_sub(out.len() + 1);
    out.extend(table(view, columns, room, paint));
    out.truncate(height.saturating_sub(1));
    while out.len() + 1 < height {
        out.push(String::new());
    }
    out.push(foot(view, columns, paint));
    out
}

fn head(view: &View, columns: usize, paint: Paint) -> Vec<String> {
    let state = &view.state;
    let of = |value: &Value, key: &str| cell(value.get(key));
    let phase = of(&state.status, "phase");
    let uptime = state.status.get("uptime_seconds").and_then(Value::as_i64);
    let first = format!(
        "reseal {}  pid {}  up {}  generation {}  ",
        of(&state.status, "version"),
        of(&state.status, "pid"),
        span(uptime.unwrap_or_default()),
        of(&state.status, "generation"),
    );
    let totals = state.stats.get("totals").unwrap_or(&Value::Null);
    let rate = |key: &str, kind: Kind| written(totals.get(key), kind).0;
    let second = format!(
        "live {}  new/s {}  handshakes/s {}  failures/s {}  up {}  down {}",
        of(totals, "live"),
        rate("connections_per_second", Kind::Plain),
        rate("handshakes_per_second", Kind::Plain),
        rate("failures_per_second", Kind::Plain),
        rate("bytes_up_per_second", Kind::Rate),
        rate("bytes_down_per_second", Kind::Rate),
    );
    vec![
        fit(&first, columns.saturating_sub(phase.len())) + &paint.text(&phase, mood(&phase)),
        fit(&second, columns),
    ]
}

/// The origins that are not up; one line says that all are.
fn origins_that_fail(view: &View, columns: usize, paint: Paint) -> Vec<String> {
    let all = list(&view.state.origins, "origins");
    let is_up = |row: &&Value| row.get("state").and_then(Value::as_str) == Some("up");
    let failing: Vec<_> = all.iter().filter(|row| !is_up(row)).collect();
    let mut out = vec![format!(
        "origins {} of {} up",
        all.len() - failing.len(),
        all.len()
    )];
    out.extend(failing.iter().take(SUMMARY).map(|row| {
        let of = |key: &str| cell(row.get(key));
        let text = format!(
            "  {} {} {} {}",
            of("upstream"),
            of("name"),
            of("state"),
            of("check")
        );
        paint.text(&fit(&text, columns), mood(&of("state")))
    }));
    out
}

/// The most frequent reasons of late.
fn reasons(view: &View, columns: usize, paint: Paint) -> Vec<String> {
    let all = list(&view.state.failures, "reasons");
    if all.is_empty() {
        return vec!["failures none".to_owned()];
    }
    let words: Vec<_> = all
        .iter()
        .take(SUMMARY)
        .map(|row| format!("{} {}", cell(row.get("reason")), cell(row.get("count"))))
        .collect();
    let line = fit(&format!("failures {}", words.join("  ")), columns);
    vec![paint.text(&line, Mood::Doubtful)]
}

fn title(view: &View, columns: usize, paint: Paint) -> String {
    let mut title = view.pane.title().to_owned();
    if view.pane == Pane::Connections {
        let matched = cell(view.state.connections.get("matched"));
        let order = if view.is_reversed() { ", reversed" } else { "" };
        title = format!("{title} {matched}, by {}{order}", view.sort());
        if !view.filter.is_empty() {
            title.push_str(&format!(", filter {}", plain(&view.filter)));
        }
    }
    if view.is_paused {
        title.push_str(", paused");
    }
    paint.text(&fit(&title, columns), Mood::Title)
}

/// The table of the pane, with the marked row within the room.
fn table(view: &View, columns: usize, room: usize, paint: Paint) -> Vec<String> {
    // Columns keep their places while rows come and go, but for the last ones, which few rows have.
    let (shown, keeps): (&[Column], usize) = match view.pane {
        Pane::Connections => (&CONNECTIONS, 13),
        Pane::Origins => (&ORIGINS, 9),
        Pane::Routes => (&ROUTES, ROUTES.len()),
        Pane::Failures => (&FAILURES, FAILURES.len()),
    };
    let text = of_rows(view.rows(), shown, keeps, Paint::PLAIN);
    let mut all = text.lines();
    let heading = all.next().unwrap_or_default();
    let rows: Vec<_> = all.collect();
    let room = room.saturating_sub(1);
    let first = (view.row + 1).saturating_sub(room);
    let heading = fit(&format!(" {heading}"), columns);
    let mut out = vec![paint.text(&heading, Mood::Title)];
    for (n, row) in rows.iter().enumerate().skip(first).take(room) {
        let mark = if n == view.row { ">" } else { " " };
        let line = fit(&format!("{mark}{row}"), columns);
        let state = view.rows().get(n).and_then(|row| row.get("state"));
        let mood = match (view.pane, state.and_then(Value::as_str)) {
            _ if n == view.row => Mood::Title,
            (Pane::Origins, Some(state)) if state != "up" => mood(state),
            _ => Mood::Plain,
        };
        out.push(paint.text(&line, mood));
    }
    out
}

fn foot(view: &View, columns: usize, paint: Paint) -> String {
    match (&view.prompt, &view.error, &view.note) {
        (Some(Prompt::Filter(text)), _, _) => fit(
            &format!(
                "filter (such as route=NAME source=10.0.0.0/8 idle-for=5m): {}_",
                plain(text)
            ),
            columns,
        ),
        (Some(Prompt::Kill { id, client }), _, _) => {
            let question = format!("end connection {id} of {client}? y/n");
            paint.text(&fit(&plain(&question), columns), Mood::Bad)
        }
        (None, Some(error), _) => {
            let line = error.lines().next().unwrap_or_default();
            paint.text(&fit(&plain(line), columns), Mood::Bad)
        }
        (None, None, Some(note)) => fit(&plain(note), columns),
        (None, None, None) => fit(KEYS, columns),
    }
}

/// As much of a text as a line of so many columns has room for.
fn fit(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::feed::{News, State};
    use super::super::input::Key;
    use super::*;

    fn view(connections: usize) -> View {
        let rows: Vec<_> = (0..connections)
            .map(|n| json!({ "id": format!("{n:016x}"), "client": "192.0.2.1:1", "stage": "relay", "seconds": n }))
            .collect();
        let mut view = View::default();
        view.learn(&News::State(Box::new(State {
            status: json!({ "phase": "serving", "version": "1.2.3", "pid": 7, "uptime_seconds": 61, "generation": 1 }),
            stats: json!({ "totals": { "live": 5, "connections_per_second": 2.5, "bytes_up_per_second": 2048 } }),
            connections: json!({ "matched": connections, "connections": rows }),
            origins: json!({ "origins": [
                { "upstream": "u", "name": "a", "state": "up" },
                { "upstream": "u", "name": "b", "state": "down", "check": "origin_refused" },
            ] }),
            failures: json!({ "reasons": [{ "reason": "no_sni", "count": 3 }], "failures": [] }),
        })));
        view
    }

    #[test]
    fn the_screen_is_filled_and_never_exceeded() {
        for size in [(80, 24), (40, 10), (200, 60), (1, 1), (20, 3)] {
            for connections in [0, 3, 1000] {
                let mut view = view(connections);
                for pane in Pane::ALL {
                    assert_eq!(view.pane, pane);
                    let lines = lines(&view, size);
                    assert_eq!(lines.len(), size.1, "{size:?}");
                    let longest = lines.iter().map(|line| line.chars().count()).max();
                    assert!(longest <= Some(size.0), "{size:?} {lines:?}");
                    view.press(Key::Tab);
                }
            }
        }
    }

    #[test]
    fn it_has_rates_origins_that_fail_reasons_and_the_marked_connection() {
        let mut view = view(100);
        let text = lines(&view, (120, 30)).join("\n");
        for part in [
            "reseal 1.2.3  pid 7  up 1m01s",
            "serving",
            "live 5  new/s 2.5",
            "up 2.0 KiB/s",
            "origins 1 of 2 up",
            "u b down origin_refused",
            "failures no_sni 3",
            "connections 100, by rate",
            ">0000000000000000  relay",
            "q quit",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        view.press(Key::End);
        let text = lines(&view, (120, 30)).join("\n");
        assert!(text.contains(">0000000000000063  relay"), "{text}");
        view.press(Key::Char('k'));
        let text = lines(&view, (120, 30)).join("\n");
        assert!(
            text.contains("end connection 0000000000000063 of 192.0.2.1:1? y/n"),
            "{text}"
        );
    }
}
