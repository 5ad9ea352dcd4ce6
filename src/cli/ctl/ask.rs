//! One request to the process.

use std::time::Duration;

use serde_json::Value;

use super::cells::plain;
use super::client::Response;
use super::place::Place;

/// Sends a request, a POST if it has a body, and reads the answer.
pub(super) fn send(
    place: &Place,
    path: &str,
    body: Option<&Value>,
    limit: Duration,
) -> Result<Value, String> {
    let admin = place.resolve()?;
    let Response { status, body } = admin.send(path, body, limit)?;
    let response: Value = serde_json::from_slice(&body).map_err(|_| {
        let address = &admin.address;
        format!("{address} did not respond as Reseal does (status {status})")
    })?;
    if status != 200 {
        let reason = response.get("error").and_then(Value::as_str);
        return Err(reason.map_or_else(|| format!("refused with status {status}"), plain));
    }
    Ok(response)
}
