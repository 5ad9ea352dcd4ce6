//! The JSON Schema of a configuration, derived from the declarations that read it: how structs and
//! variables appear. Knows no key.

use serde_json::{Map, Value, json};

use super::compose::parse;
use super::definitions::Definitions;
use super::expand::has_variable;
use super::problem::Problems;
use super::read::Read;
use super::yaml::{Kind, Node};

/// The schema of a file that holds a `T`.
pub fn of<T: Read>(id: &str, title: &str) -> Value {
    let mut definitions = Definitions::default();
    let root = T::schema(&mut definitions);
    let mut schema = definitions.resolve(&root);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(
            "$schema".into(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        schema.insert("$id".into(), json!(id));
        schema.insert("title".into(), json!(title));
        schema.insert("patternProperties".into(), json!({ "^x-": true }));
        schema.insert("$defs".into(), definitions.into_defs());
    }
    schema
}

/// A map with known keys, defined once under its name. With `short`, a single value for that key may stand
/// for the map.
pub fn map(
    definitions: &mut Definitions,
    name: &str,
    about: &str,
    short: Option<&str>,
    describe: impl FnOnce(&mut Keys<'_>),
) -> Value {
    definitions.define(name, |definitions| {
        let mut keys = Keys {
            definitions,
            properties: Map::new(),
            required: Vec::new(),
        };
        describe(&mut keys);
        let Keys {
            properties,
            required,
            ..
        } = keys;
        let short = short.and_then(|key| properties.get(key)).cloned();
        let mut map = json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        if let Some(short) = short {
            map = json!({ "anyOf": [map, short] });
        }
        describe_as(&mut map, about);
        map
    })
}

/// The keys of one map.
pub struct Keys<'d> {
    definitions: &'d mut Definitions,
    properties: Map<String, Value>,
    required: Vec<String>,
}

impl Keys<'_> {
    /// Adds a key that holds a `T`.
    pub fn add<T: Read>(&mut self, key: &str, doc: &str, required: bool, default: Option<&str>) {
        let mut schema = T::schema(self.definitions);
        describe_as(&mut schema, doc);
        let default = default.and_then(|text| parse(text, &mut Problems::default()));
        if let (Some(schema), Some(default)) = (schema.as_object_mut(), default) {
            schema.insert("default".to_owned(), json_of(&default));
        }
        self.properties.insert(key.to_owned(), schema);
        if required {
            self.required.push(key.to_owned());
        }
    }
}

/// Sets the description. Doc comments come as one line each, with the space after their slashes.
fn describe_as(schema: &mut Value, doc: &str) {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), json!(doc.trim()));
    }
}

/// A node as JSON; plain booleans and numbers become JSON ones. `0600` stays a string: as a number it would
/// lose its zero, and with it its meaning.
fn json_of(node: &Node) -> Value {
    match &node.kind {
        Kind::Null => Value::Null,
        Kind::List(items) => items.iter().map(json_of).collect(),
        Kind::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, node)| (key.text.clone(), json_of(node)));
            Value::Object(entries.collect())
        }
        Kind::Scalar { text, plain: true } if !has_variable(text) => match text.as_str() {
            "true" => json!(true),
            "false" => json!(false),
            text => match text.parse::<u64>() {
                Ok(number) if number.to_string() == text => json!(number),
                _ => json!(text),
            },
        },
        Kind::Scalar { text, .. } => json!(text),
    }
}
