//! The body of a request: an `ExportLogsServiceRequest` as JSON (OpenTelemetry protocol, "JSON Protobuf
//! Encoding").

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::observe::export::host::host_name;
use crate::observe::export::record::Exported;

/// The severities of OpenTelemetry that correspond to `info` and `notice` of syslog.
const INFO: u8 = 9;
const INFO2: u8 = 10;

/// What sends the records.
#[derive(Debug)]
pub(super) struct Resource(Value);

impl Resource {
    pub(super) fn of_this_process() -> Self {
        let facts = json!({
            "service.name": "reseal",
            "service.version": env!("CARGO_PKG_VERSION"),
            "host.name": host_name(),
            "process.pid": std::process::id(),
        });
        Self(json!({ "attributes": attributes(&facts) }))
    }

    /// The body of a request with these records, which are JSON.
    pub(super) fn payload(&self, records: &[Exported]) -> String {
        let observed = nanoseconds(SystemTime::now());
        let records: Vec<_> = records
            .iter()
            .map(|record| log_record(record, &observed))
            .collect();
        let scope = json!({ "name": "reseal.access_log", "version": env!("CARGO_PKG_VERSION") });
        json!({
            "resourceLogs": [{
                "resource": self.0,
                "scopeLogs": [{ "scope": scope, "logRecords": records }],
            }],
        })
        .to_string()
    }
}

fn log_record(record: &Exported, observed: &str) -> Value {
    let fields = serde_json::from_str(&record.text).unwrap_or(Value::Null);
    let (number, text) = match record.is_fault {
        true => (INFO2, "NOTICE"),
        false => (INFO, "INFO"),
    };
    json!({
        "timeUnixNano": nanoseconds(record.at),
        "observedTimeUnixNano": observed,
        "severityNumber": number,
        "severityText": text,
        "eventName": format!("reseal.connection.{}", record.event),
        "body": { "stringValue": record.text },
        "attributes": attributes(&fields),
    })
}

/// An integer of 64 bits is a text in JSON of protobuf.
fn nanoseconds(at: SystemTime) -> String {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_nanos().to_string()
}

/// The fields of an object as attributes; those of an object in it have its name before theirs.
fn attributes(fields: &Value) -> Value {
    let mut attributes = Vec::new();
    if let Value::Object(fields) = fields {
        flatten("", fields, &mut attributes);
    }
    Value::Array(attributes)
}

fn flatten(prefix: &str, fields: &Map<String, Value>, attributes: &mut Vec<Value>) {
    for (key, value) in fields {
        let key = format!("{prefix}{key}");
        match value {
            Value::Object(inner) => flatten(&format!("{key}."), inner, attributes),
            value => attributes.push(json!({ "key": key, "value": any_value(value) })),
        }
    }
}

fn any_value(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({ "stringValue": text }),
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Number(number) => match number.as_u64() {
            Some(whole) => json!({ "intValue": whole.to_string() }),
            None => json!({ "doubleValue": number }),
        },
        Value::Array(items) => {
            let values: Vec<_> = items.iter().map(any_value).collect();
            json!({ "arrayValue": { "values": values } })
        }
        Value::Null | Value::Object(_) => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_record_has_its_fields_as_attributes_and_itself_as_the_body() {
        let text = r#"{"id":"0a","bytes_up":7,"tls_resumed":false,"ms":{"total":1.5},"client_cert":{"sans":["DNS:a"]}}"#;
        let record = Exported {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            event: "close",
            is_fault: true,
            text: text.to_owned(),
        };
        let payload: Value =
            serde_json::from_str(&Resource::of_this_process().payload(&[record])).unwrap();
        let resource = &payload["resourceLogs"][0];
        let attributes = &resource["resource"]["attributes"];
        let is_named = |attribute: &Value| {
            attribute["key"] == "service.name" && attribute["value"]["stringValue"] == "reseal"
        };
        assert!(
            attributes.as_array().unwrap().iter().any(is_named),
            "{attributes}"
        );
        let found = &resource["scopeLogs"][0]["logRecords"][0];
        assert_eq!(found["timeUnixNano"], "1700000000123000000");
        assert_eq!(found["severityNumber"], 10);
        assert_eq!(found["body"]["stringValue"], text);
        let value = |key: &str| {
            let mut all = found["attributes"].as_array().unwrap().iter();
            all.find(|attribute| attribute["key"] == key).unwrap()["value"].clone()
        };
        assert_eq!(value("id"), json!({ "stringValue": "0a" }));
        assert_eq!(value("bytes_up"), json!({ "intValue": "7" }));
        assert_eq!(value("tls_resumed"), json!({ "boolValue": false }));
        assert_eq!(value("ms.total"), json!({ "doubleValue": 1.5 }));
        let names = json!({ "arrayValue": { "values": [{ "stringValue": "DNS:a" }] } });
        assert_eq!(value("client_cert.sans"), names);
    }
}
