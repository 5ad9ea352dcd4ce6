//! The definitions that a schema refers to.

use serde_json::{Map, Value, json};

/// The `$defs` of a schema.
#[derive(Default)]
pub struct Definitions {
    known: Map<String, Value>,
}

impl Definitions {
    /// The schema of a single value, or of a text with a variable in its place.
    pub fn or_variable(&mut self, schema: Value) -> Value {
        self.known.entry("variable").or_insert_with(|| {
            json!({
                "type": "string",
                "pattern": r"\$\{",
                "description": "A text with environment variables: `${NAME}` or `${NAME:-default}`.",
            })
        });
        json!({ "anyOf": [schema, { "$ref": "#/$defs/variable" }] })
    }

    /// A reference to a definition, which is made on first use.
    pub(super) fn define(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.known.contains_key(name) {
            let schema = make(self);
            self.known.insert(name.to_owned(), schema);
        }
        json!({ "$ref": format!("#/$defs/{name}") })
    }

    /// Removes and returns the definition that a reference points to.
    pub(super) fn resolve(&mut self, schema: &Value) -> Value {
        let name = schema.get("$ref").and_then(Value::as_str);
        let name = name.and_then(|path| path.strip_prefix("#/$defs/"));
        name.and_then(|name| self.known.remove(name))
            .unwrap_or_else(|| schema.clone())
    }

    /// All definitions, as the `$defs` of a schema.
    pub(super) fn into_defs(self) -> Value {
        Value::Object(self.known)
    }
}
