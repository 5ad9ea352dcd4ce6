//! The fields of a request's body: no body, or a JSON object without unknown keys.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Map, Value};

use super::response::ErrorResponse;

/// The longest time that a field may give, in seconds: a hundred years.
const TIME_MAX: f64 = 100.0 * 365.0 * 24.0 * 3600.0;

/// The fields that are not read yet.
pub(super) struct Body(Map<String, Value>);

/// The refusal of a field.
pub(super) fn invalid(message: impl Into<String>) -> ErrorResponse {
    ErrorResponse::new(StatusCode::BAD_REQUEST, message)
}

impl Body {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ErrorResponse> {
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            _ => Err(invalid("the body is no JSON object")),
        }
    }

    /// The value of a field that is there and is not `null`.
    fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key).filter(|value| !value.is_null())
    }

    pub(super) fn maybe_text(&mut self, key: &str) -> Result<Option<String>, ErrorResponse> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(format!("`{key}` must be a text"))),
        }
    }

    pub(super) fn text(&mut self, key: &str) -> Result<String, ErrorResponse> {
        let found = self.maybe_text(key)?;
        found.ok_or_else(|| invalid(format!("`{key}` is missing")))
    }

    /// A text that `read` understands; `what` says what it must be.
    pub(super) fn read<T>(
        &mut self,
        key: &str,
        what: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ErrorResponse> {
        let Some(text) = self.maybe_text(key)? else {
            return Ok(None);
        };
        match read(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(invalid(format!("`{key}` must be {what}"))),
        }
    }

    pub(super) fn switch(&mut self, key: &str) -> Result<bool, ErrorResponse> {
        match self.take(key) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(value),
            Some(_) => Err(invalid(format!("`{key}` must be true or false"))),
        }
    }

    /// A number from 0.
    pub(super) fn number(&mut self, key: &str) -> Result<Option<usize>, ErrorResponse> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let number = value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok());
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(invalid(format!("`{key}` must be a whole number"))),
        }
    }

    /// A time in seconds.
    pub(super) fn seconds(&mut self, key: &str) -> Result<Option<Duration>, ErrorResponse> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let seconds = value.as_f64().filter(|seconds| *seconds <= TIME_MAX);
        match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            Some(time) => Ok(Some(time)),
            None => Err(invalid(format!("`{key}` must be a number of seconds"))),
        }
    }

    /// Refuses keys that the path does not know.
    pub(super) fn end(self) -> Result<(), ErrorResponse> {
        match self.0.keys().next() {
            None => Ok(()),
            // It is not repeated, as it can be anything.
            Some(_) => Err(invalid("the body has a key that this path does not know")),
        }
    }
}
