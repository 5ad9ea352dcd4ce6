//! Responses as text and tables.

use serde_json::{Value, json};

use super::cells::{Kind, cell, mood};
use super::columns::{Column, list, of_rows, table};
use super::facts::facts;
use super::tables::{
    ADMIN_CERTIFICATES, AUTHORITIES, CERTIFICATES, CHANGES, CLIENT_CERTIFICATES, CONNECTIONS,
    ENDPOINTS, FAILURES, FETCHED, LIMITS, LISTS, MANAGED, ORIGINS, TOTALS,
};
use crate::cli::paint::{Mood, Paint};

/// Live connections, or their totals, and how many are left out.
pub(super) fn connections(response: &Value, paint: Paint) -> String {
    let (key, columns, keeps) = match response.get("totals") {
        Some(_) => ("totals", &TOTALS[..], 4),
        None => ("connections", &CONNECTIONS[..], 11),
    };
    let mut text = table(response, key, columns, keeps, paint);
    let shown = list(response, key).len() as u64;
    let all = if key == "totals" { "groups" } else { "matched" };
    let all = response.get(all).and_then(Value::as_u64).unwrap_or(shown);
    if let Some(more @ 1..) = all.checked_sub(shown) {
        text.push_str(&format!("and {more} more: --limit shows them\n"));
    }
    text
}

/// The latest failures, and what their reasons mean.
pub(super) fn failures(response: &Value, paint: Paint) -> String {
    let rows = list(response, "failures");
    if rows.is_empty() {
        return "no failures\n".to_owned();
    }
    let mut text = of_rows(rows, &FAILURES, 5, paint);
    let matched = response.get("matched").and_then(Value::as_u64);
    if let Some(more @ 1..) = matched.and_then(|all| all.checked_sub(rows.len() as u64)) {
        text.push_str(&format!("and {more} more: --limit shows them\n"));
    }
    for reason in list(response, "reasons") {
        let of = |key: &str| cell(reason.get(key));
        let title = format!("{} ({})", of("reason"), of("count"));
        text.push_str(&format!(
            "\n{}: {}\n  {}\n",
            paint.text(&title, Mood::Title),
            of("meaning"),
            of("remedy"),
        ));
    }
    text
}

/// The status: facts, and the endpoints as a table.
pub(super) fn status(response: &Value, paint: Paint) -> String {
    let mut rest = response.clone();
    if let Some(fields) = rest.as_object_mut() {
        fields.remove("listening");
        fields.remove("endpoints");
    }
    let mut rows = Vec::new();
    for endpoint in list(response, "endpoints") {
        let mut row = endpoint.clone();
        let addresses = list(endpoint, "addresses");
        for address in addresses {
            row["address"] = address.clone();
            rows.push(row.clone());
        }
        if addresses.is_empty() {
            rows.push(row);
        }
    }
    format!(
        "{}\n{}",
        facts(&rest, paint),
        of_rows(&rows, &ENDPOINTS, 4, paint)
    )
}

/// Counters and rates.
pub(super) fn stats(response: &Value, paint: Paint) -> String {
    const COUNTED: [(&str, &str, Kind); 5] = [
        ("CONNECTIONS", "connections", Kind::Plain),
        ("HANDSHAKES", "handshakes", Kind::Plain),
        ("ENDED", "ended", Kind::Plain),
        ("FAILURES", "failures", Kind::Faults),
        ("ESTABLISHED", "established", Kind::Plain),
    ];
    let mut columns: Vec<Column> = Vec::new();
    columns.extend([("LIVE", "live", Kind::Plain)]);
    columns.extend(COUNTED);
    columns.extend([
        ("RETRIES", "retries", Kind::Plain),
        ("NEW/S", "connections_per_second", Kind::Plain),
        ("NEW/S", "established_per_second", Kind::Plain),
        ("FAILURES/S", "failures_per_second", Kind::Faults),
        ("UP", "bytes_up", Kind::Bytes),
        ("DOWN", "bytes_down", Kind::Bytes),
        ("UP/S", "bytes_up_per_second", Kind::Rate),
        ("DOWN/S", "bytes_down_per_second", Kind::Rate),
    ]);
    let named = |names: &[Column]| names.iter().chain(&columns).copied().collect::<Vec<_>>();
    let mut totals = response.get("totals").cloned().unwrap_or_else(|| json!({}));
    totals["endpoint"] = json!("all");
    let mut endpoints = vec![totals];
    endpoints.extend(list(response, "endpoints").iter().cloned());
    let tables = [
        of_rows(
            &endpoints,
            &named(&[("ENDPOINT", "endpoint", Kind::Plain)]),
            1,
            paint,
        ),
        table(
            response,
            "routes",
            &named(&[
                ("ENDPOINT", "endpoint", Kind::Plain),
                ("ROUTE", "route", Kind::Plain),
            ]),
            2,
            paint,
        ),
        table(
            response,
            "origins",
            &named(&[
                ("UPSTREAM", "upstream", Kind::Plain),
                ("ORIGIN", "origin", Kind::Plain),
            ]),
            2,
            paint,
        ),
        table(
            response,
            "reasons",
            &[
                ("REASON", "reason", Kind::Plain),
                ("FAULT", "fault", Kind::Plain),
                ("COUNT", "count", Kind::Plain),
                ("FAULTS", "faults", Kind::Faults),
                ("COUNT/S", "count_per_second", Kind::Plain),
                ("MEANING", "meaning", Kind::Plain),
            ],
            3,
            paint,
        ),
    ];
    tables.join("\n")
}

/// The origins; with `history` what is known of their past.
pub(super) fn origins(response: &Value, history: bool, paint: Paint) -> String {
    let rows: Vec<_> = list(response, "origins")
        .iter()
        .map(with_last_failure)
        .collect();
    let mut text = of_rows(&rows, &ORIGINS, 9, paint);
    for origin in list(response, "origins").iter().filter(|_| history) {
        let name = |key: &str| cell(origin.get(key));
        let title = format!("{} {} {}", name("upstream"), name("name"), name("address"));
        text.push_str(&format!("\n{}\n", paint.text(&title, Mood::Title)));
        for check in list(origin, "checks") {
            let result = cell(check.get("result"));
            let result = paint.text(&result, mood_of_check(&result));
            text.push_str(&format!("  {}  check: {result}\n", cell(check.get("time"))));
        }
        for failure in list(origin, "failures") {
            text.push_str(&format!(
                "  {}  {}\n",
                cell(failure.get("time")),
                paint.text(&failed(failure), Mood::Bad)
            ));
        }
    }
    text
}

fn mood_of_check(result: &str) -> Mood {
    match mood(result) {
        Mood::Plain => Mood::Bad,
        known => known,
    }
}

fn with_last_failure(origin: &Value) -> Value {
    let mut row = origin.clone();
    if let Some(failure) = list(origin, "failures").first() {
        row["last_failure"] = json!(format!("{} {}", cell(failure.get("time")), failed(failure)));
    }
    row
}

/// A failure of connections to an origin on one line.
fn failed(failure: &Value) -> String {
    let mut text = cell(failure.get("reason"));
    if let Some(count @ 2..) = failure.get("count").and_then(Value::as_u64) {
        text.push_str(&format!(" ×{count}"));
    }
    if let Some(detail) = failure.get("detail") {
        text.push_str(&format!(": {}", cell(Some(detail))));
    }
    text
}

/// The certificates in use and the trusted CAs and CRLs, one table for each kind.
pub(super) fn certificates(response: &Value, paint: Paint) -> String {
    let mut tables = vec![table(response, "certificates", &CERTIFICATES, 5, paint)];
    for (key, columns) in [
        ("managed", &MANAGED[..]),
        ("client_certificates", &CLIENT_CERTIFICATES),
        ("admin_certificates", &ADMIN_CERTIFICATES),
        ("authorities", &AUTHORITIES),
        ("revocation_lists", &LISTS),
        ("fetched", &FETCHED),
    ] {
        if !list(response, key).is_empty() {
            tables.push(table(response, key, columns, columns.len(), paint));
        }
    }
    tables.join("\n")
}

/// How full limits are.
pub(super) fn limits(response: &Value, paint: Paint) -> String {
    table(response, "limits", &LIMITS, LIMITS.len(), paint)
}

/// What a reload has changed, or would change.
pub(super) fn changes(response: &Value, none: &str, paint: Paint) -> String {
    let mut rest = response.clone();
    if let Some(rest) = rest.as_object_mut() {
        rest.remove("changes");
    }
    let text = if list(response, "changes").is_empty() {
        format!("{none}\n")
    } else {
        table(response, "changes", &CHANGES, CHANGES.len(), paint)
    };
    text + &facts(&rest, paint)
}

/// The latest reloads: when, how each has ended, what for, and what it has changed.
pub(super) fn reloads(response: &Value, paint: Paint) -> String {
    let mut text = String::new();
    for reload in list(response, "reloads") {
        let of = |key: &str| cell(reload.get(key));
        let (result, scope) = (of("result"), of("scope"));
        let scope = match &*scope {
            "materials" => "changed files",
            "all" => "configuration and files",
            other => other,
        };
        let result = paint.text(&result, mood(&result));
        text.push_str(&format!("{}  {result}  {scope}\n", of("time")));
        for change in list(reload, "changes") {
            let of = |key: &str| cell(change.get(key));
            text.push_str(&format!(
                "  {} {}: {}\n",
                of("what"),
                of("name"),
                of("change")
            ));
        }
        for line in list(reload, "reasons")
            .iter()
            .chain(list(reload, "warnings"))
        {
            text.push_str(&format!("  {}\n", cell(Some(line))));
        }
    }
    match text.is_empty() {
        true => "no reload since the start\n".to_owned(),
        false => text,
    }
}

/// What was done to connections or an endpoint.
pub(super) fn done(response: &Value) -> String {
    match response.get("count").and_then(Value::as_u64) {
        Some(count) if response.get("ids").is_some() => format!("{count} connections ended\n"),
        _ => {
            let mut shown = response.clone();
            if let Some(fields) = shown.as_object_mut() {
                fields.remove("count");
            }
            facts(&shown, Paint::PLAIN)
        }
    }
}
