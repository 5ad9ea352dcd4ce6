//! A connection as JSON.

use serde_json::{Map, Value, json};

use super::find::Found;
use super::rates::Rates;
use crate::observe::access_log::AccessRecord;
use crate::observe::escape;
use crate::observe::format::timestamp;
use crate::outcome::Stage;

/// One connection as JSON. Bytes from the wire are escaped. The first keys are always there, and `null` where
/// nothing is known yet; others are absent then.
pub(super) fn describe(found: &Found, rates: Option<&Rates>) -> Value {
    let mut row = found.with(of_record);
    let mut add = |key: &str, value: Value| {
        row.insert(key.to_owned(), value);
    };
    add("stage", json!(found.stage.word()));
    add("seconds", json!(found.age.as_secs()));
    add("idle_seconds", json!(found.idle.as_secs()));
    add("bytes_up", json!(found.traffic.up));
    add("bytes_down", json!(found.traffic.down));
    let rate = rates.filter(|_| found.stage == Stage::Relay);
    if let Some(rate) = rate.map(|rates| rates.of(found.id, found.traffic)) {
        add("rate_up", json!(rate.up));
        add("rate_down", json!(rate.down));
    }
    if let Some(generation) = found.generation() {
        add("generation", json!(generation));
    }
    if let Some(leaving) = found.leaving() {
        add("leaving", json!(leaving));
    }
    Value::Object(row)
}

fn of_record(record: &AccessRecord) -> Map<String, Value> {
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| {
        row.insert(key.to_owned(), value);
    };
    put("id", json!(record.id()));
    put("endpoint", json!(&*record.endpoint));
    put("client", json!(record.client.to_string()));
    put("sni", json!(record.sni.as_deref().map(escape::text)));
    put("route", json!(record.route.as_deref()));
    put("started", json!(timestamp(record.time)));
    let mut maybe = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            row.insert(key.to_owned(), json!(value));
        }
    };
    maybe("peer", record.peer.as_ref().map(ToString::to_string));
    maybe("mode", record.mode.map(str::to_owned));
    maybe("upstream", record.upstream.as_deref().map(str::to_owned));
    maybe("origin", record.origin.as_deref().map(str::to_owned));
    let address = record.origin_address.as_ref();
    let address = address.map(|address| std::net::SocketAddr::from(address).to_string());
    maybe("origin_address", address);
    if let Some(tls) = &record.tls {
        maybe("tls_version", tls.version.map(str::to_owned));
        maybe("alpn", tls.alpn.as_deref().map(escape::bytes));
    }
    if let Some(cert) = &record.client_cert {
        maybe("client_cert", Some(escape::name(&cert.subject)));
        maybe("client_cert_serial", Some(escape::text(&cert.serial)));
    }
    row
}
