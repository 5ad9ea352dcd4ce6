//! Connections counted in groups.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde_json::{Value, json};

use super::find::{Found, value};
use super::rates::Rates;
use crate::admin::ConnKey;
use crate::observe::access_log::Traffic;
use crate::observe::escape;

#[derive(Default)]
struct Group {
    connections: usize,
    traffic: Traffic,
    rate: Traffic,
}

/// How many groups there are, and those with the most connections as JSON.
pub(super) fn of(
    found: &[Found],
    key: ConnKey,
    rates: Option<&Rates>,
    limit: usize,
) -> (usize, Value) {
    let mut groups: HashMap<Option<String>, Group> = HashMap::new();
    for found in found {
        let group = groups.entry(value(found, key)).or_default();
        group.connections += 1;
        add(&mut group.traffic, found.traffic);
        let rate = rates.map(|rates| rates.of(found.id, found.traffic));
        add(&mut group.rate, rate.unwrap_or_default());
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_unstable_by(|(a, one), (b, other)| {
        (Reverse(one.connections), a).cmp(&(Reverse(other.connections), b))
    });
    // A name of a certificate has an escaped form of its own.
    let escaped = match key {
        ConnKey::Certificate => escape::name,
        _ => escape::text,
    };
    let describe = |(value, group): (Option<String>, Group)| {
        let mut total = json!({
            "value": value.as_deref().map(escaped),
            "connections": group.connections,
            "bytes_up": group.traffic.up,
            "bytes_down": group.traffic.down,
        });
        if rates.is_some() {
            total["rate_up"] = json!(group.rate.up);
            total["rate_down"] = json!(group.rate.down);
        }
        total
    };
    let count = groups.len();
    (
        count,
        groups.into_iter().take(limit).map(describe).collect(),
    )
}

fn add(sum: &mut Traffic, more: Traffic) {
    sum.up = sum.up.saturating_add(more.up);
    sum.down = sum.down.saturating_add(more.down);
}
